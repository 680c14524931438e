# SPDX-License-Identifier: MIT
"""Who knows whom in the C code: by what a file includes, and by the functions,
types and tables that it uses and another file defines.

    python tests/arrows.py

draws the arrows between the rooms, as csrc/README.md has them."""

import re
from collections import defaultdict
from pathlib import Path

CSRC = Path(__file__).parent.parent / "csrc"

# From the ground to the roof. Arrows go down; rooms of one floor do not know
# each other.
FLOORS = [
    ["core/error"],
    ["core/os"],
    ["core/name"],
    ["core/memory", "core/life", "core/list"],
    ["core/sync"],
    ["core/channels", "core/pool"],
    ["py/compat"],
    ["py/errors"],
    ["py/state", "py/waiting"],
    ["py/memory"],
    ["py/awaited"],
    ["py/shared_memory", "py/list", "py/sync", "py/channels", "py/pool"],
    ["py/module"],
]

_DEFINED = re.compile(
    r"^(?:(shx_\w+)\(|"  # a function, whose type has the line above
    r"(?!extern|typedef|static)[\w][\w \*]*\b(shx_\w+)(?:\[\w*\])?\s*=|"
    r"struct (shx_\w+) \{|\} (shx_\w+);|#\s*define (shx_\w+))",
    re.MULTILINE,
)


def code(text):
    """Without comments, and strings empty; includes keep their names."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(
        r'(#\s*include\s*"[^"]*")|"(\\.|[^"\\])*"',
        lambda match: match[1] or '""',
        text,
    )


def room_of(path):
    """A folder; a file that lies beside the folders is a room by itself."""
    inside = (
        path.parts[0],
        path.stem if len(path.parts) == 2 else path.parts[1],
    )
    return "/".join(inside)


def nouns(paths):
    """Each path's noun: memory.h, memory.c and memory_grow.c have one."""
    found = {}
    stems = defaultdict(set)
    for path in paths:
        stems[path.parent].add(path.stem)
    for path in paths:
        shortest = min(
            (
                stem
                for stem in stems[path.parent]
                if path.stem == stem or path.stem.startswith(stem + "_")
            ),
            key=len,
        )
        found[path] = str(path.parent / shortest)
    return found


def read(root=CSRC):
    """The files under the root: {path below it: text without comments}."""
    return {
        path.relative_to(root): code(path.read_text())
        for path in sorted(root.rglob("*.[ch]"))
    }


def arrows(files):
    """{(from, to): why}, of files: `why` is the include or what is used."""
    noun = nouns(files)
    definer = {}
    for path, text in files.items():
        for match in _DEFINED.finditer(text):
            definer[match[match.lastindex]] = path
    found = {}
    for path, text in files.items():
        for include in re.findall(r'#\s*include\s*["<]([^">]+)', text):
            if include.endswith(".h") and "/" in include:
                found[path, Path(include)] = include
        for name in set(re.findall(r"\bshx_\w+", text)) & definer.keys():
            # A header names what the files of its noun define.
            if noun[definer[name]] != noun[path]:
                found.setdefault((path, definer[name]), name)
    return {arrow: why for arrow, why in found.items() if arrow[1] in files}


def upwards(files):
    """The arrows that go up, or to another room of the same floor."""
    floor = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}
    return [
        f"{source} knows {target}: {why}"
        for (source, target), why in sorted(arrows(files).items())
        if room_of(source) != room_of(target)
        and floor[room_of(source)] <= floor[room_of(target)]
    ]


def circle(files):
    """A circle of files of different nouns, as they follow each other; empty
    if there is none."""
    noun = nouns(files)
    known = defaultdict(set)
    for source, target in arrows(files):
        if noun[source] != noun[target]:
            known[noun[source]].add(noun[target])
    done = set()

    def walk(here, trail):
        if here in trail:
            return [*trail[trail.index(here) :], here]
        if here in done:
            return []
        for there in sorted(known[here]):
            found = walk(there, [*trail, here])
            if found:
                return found
        done.add(here)
        return []

    for start in sorted(known):
        found = walk(start, [])
        if found:
            return found
    return []


def draw(files):
    """One line a room, the roof first: which rooms it knows."""
    known = defaultdict(set)
    for source, target in arrows(files):
        if room_of(source) != room_of(target):
            known[room_of(source)].add(room_of(target))
    rooms = [room for floor in reversed(FLOORS) for room in floor]
    return "\n".join(
        f"{room:16} -> "
        + (" ".join(one for one in rooms if one in known[room]) or "nobody")
        for room in rooms
    )


if __name__ == "__main__":
    print(draw(read()))
