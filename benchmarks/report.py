# SPDX-License-Identifier: MIT
"""Writes the tables of docs/speed.md and README.md from the JSON that a run
has left:

    python benchmarks/report.py docs/bench.json              prints them
    python benchmarks/report.py docs/bench.json FILE.md ...  into the pages
    python benchmarks/report.py build/bench.json --keep docs/bench.json

The last one keeps what the pages need of a run. In a page a table stands
between <!-- bench: NAME --> and <!-- end -->; the rest of it is left alone."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from machine import caption
from results import Result, loaded, reduced
from table import FLOOR, HANDOFF, OURS, STDLIB, number

PLACE = re.compile(r"(<!-- bench: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)
MUCH = 1.1  # times as quick, from which on it is said
PEERLESS = ("crowded",)  # questions whose sides are not peers
MADE = "shmemext arrays"
UNITS = {"KiB of its own memory": "KiB", "descriptors": "", "mappings": ""}
DASH = ""


class Line(NamedTuple):
    """Of the short table: words, question and work, who of both sides, and
    the work of ours where it has one of its own."""

    words: str
    question: str
    work: str
    ours: str = OURS
    theirs: str = STDLIB
    our_work: str = ""


SHORT = (
    Line(
        "create, close, unlink of 4 KiB",
        "lifecycle",
        "create, close, unlink (4 KiB, untouched)",
    ),
    Line(
        "attach, close of 4 KiB",
        "lifecycle",
        "attach, close (4 KiB, untouched)",
    ),
    Line(
        "create, fill, close, unlink of 64 MiB",
        "lifecycle",
        "create, close, unlink (64 MiB, written)",
    ),
    Line(
        "fill a fresh 256 MiB by `write()`, against a slice",
        "filling",
        "fill a fresh 256 MiB: buf[:] = data",
        "shmemext write()",
        our_work="fill a fresh 256 MiB: write(data), against buf[:] = data",
    ),
    Line(
        "100 MB to a waiting process, by hand-off, against a pipe",
        "handoff",
        "hand-off of 100 MB, fresh",
        HANDOFF,
        "mp.Pipe",
    ),
    Line(
        "the same, against a segment by hand",
        "handoff",
        "hand-off of 100 MB, fresh",
        HANDOFF,
    ),
    Line(
        "100 MB that `arrays` made in place, against hand-off",
        "handoff",
        "hand-off of 100 MB, fresh",
        MADE,
        HANDOFF,
        "hand-off of 100 MB, in place",
    ),
    Line(
        "`Pool(2).map()` of eight arrays of 8 MiB, against pickles",
        "objects",
        "Pool(2).map(), 8 arrays of 8 MiB, in",
        HANDOFF,
        "pickle",
    ),
    Line(
        "a message of 64 bytes through a `Channel`, against `mp.Queue`",
        "channels",
        "64 bytes, one to one",
        theirs="mp.Queue",
    ),
    Line(
        "a round trip of 64 bytes on one core, against `mp.Pipe`",
        "channels",
        "a round trip of 64 bytes, one core",
        theirs="mp.Pipe",
    ),
    Line(
        "a frame of 6.2 MB to two readers, against two pipes",
        "channels",
        "6.2 MB to two readers",
        theirs="mp.Pipe",
    ),
    Line(
        "a small tuple through a `Queue`, against `mp.Queue`",
        "objects",
        "a small tuple through a queue",
        theirs="mp.Queue",
    ),
    Line("`Lock`: acquire, release", "synchronize", "Lock: acquire, release"),
    Line(
        "`Lock`: after its holder was killed",
        "synchronize",
        "Lock: its holder is killed",
    ),
    Line("first create of a process", "first", "first create of a process"),
    Line(
        "CPU time of what that starts",
        "first",
        "CPU time of what that starts",
    ),
    Line("memory of what runs on", "first", "memory of what runs on"),
    Line(
        "import, over a bare start, CPU time",
        "import",
        "import, over a bare start, CPU time",
    ),
    Line("`ShareableList`: get an int", "lists", "get an int"),
    Line("`ShareableList`: build 100,000", "lists", "build 100,000"),
)


# Of these, for who looks at the first page.
FEW = (
    "create, close, unlink of 4 KiB",
    "100 MB to a waiting process, by hand-off, against a pipe",
    "a message of 64 bytes through a `Channel`, against `mp.Queue`",
    "`Lock`: acquire, release",
    "`ShareableList`: get an int",
)


def row_of(result: Result, question: str, work: str, side: str) -> Any:
    for row in result["rows"]:
        if (row["question"], row["work"], row["side"]) == (
            *(question, work, side),
        ):
            return row
    return None


def median(row: Any) -> float | None:
    return (
        None if row is None or row["time"] is None else row["time"]["median"]
    )


def amount(row: Any) -> str:
    """With its unit."""
    value = median(row)
    if value is None:
        return "never" if row is not None and row["note"] else DASH
    unit = UNITS.get(row["unit"], row["unit"])
    if unit in ("us", "KiB") and value >= 1000:
        more, unit = {"us": (1000, "ms"), "KiB": (1024, "MiB")}[unit]
        value /= more
    return f"{number(value)} {unit}".strip()


def two(value: float) -> str:
    """Digits, of a ratio: more do not come again."""
    return f"{value:.2g}" if value < 100 else number(value)


def spread(of: Any) -> str:
    return f"{two(of['median'])} ({two(of['p25'])}-{two(of['p75'])})"


def ratio_of(ours: Any, theirs: Any) -> str:
    """Of the rounds, where they were paired."""
    if median(ours) is None or median(theirs) is None:
        return DASH
    if ours["ratio"] and ours["base"] == theirs["side"]:
        return spread(ours["ratio"])
    if theirs["ratio"] and theirs["base"] == ours["side"]:
        of = theirs["ratio"]
        turned = {"median": "median", "p25": "p75", "p75": "p25"}
        return spread({key: 1 / of[its] for key, its in turned.items()})
    return two(median(ours) / median(theirs))


def table(head: str, lines: Iterable[Iterable[str]]) -> str:
    names = head.split(" | ")
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def few(result: Result) -> str:
    return short(result, [line for line in SHORT if line.words in FEW])


def short(result: Result, of: Iterable[Line] = SHORT) -> str:
    lines = []
    for line in of:
        theirs = row_of(result, line.question, line.work, line.theirs)
        work = line.our_work or line.work
        ours = row_of(result, line.question, work, line.ours)
        if ours is None or theirs is None:
            continue
        lines.append(
            [line.words, amount(theirs), amount(ours), ratio_of(ours, theirs)]
        )
    return table(
        "work | standard library, or who is named | shmemext"
        " | ratio (p25-p75)",
        lines,
    )


def machine(result: Result) -> str:
    asked = result["asked"].values()
    days = sorted({facts["at"][:10] for facts in asked})
    loads = [facts["load"] for facts in asked]
    about = caption({**result["machine"], "load": 0}).rpartition(", load")[0]
    versions = {
        re.sub(r"[ .]?\(.*", "", side): version
        for side, version in result["versions"].items()
        if version and not side.startswith(OURS)
    }
    others = ", ".join(f"{side} {of}" for side, of in versions.items())
    return (
        f"{about}; {' and '.join(days)}; the load before a question, "
        f"that of the questions before it included, was "
        f"{min(loads):.1f} to {max(loads):.1f}. shmemext "
        f"{result['versions'][OURS]}; {others}."
    )


def promised(row: Any) -> tuple[str, str]:
    """What came out, and what is promised."""
    if row["limit"] is not None:
        unit = row["unit"]
        return f"{number(median(row) or 0)} {unit}", f"{row['limit']:g} {unit}"
    if row["base"].startswith(OURS):
        least = f"{row['reach']:.3g} times as long at least"
        return f"{spread(row['ratio'])} times as long", least
    return spread(row["ratio"]), f"{row['reach']:.3g}"


def work_of(row: Any) -> str:
    side = "" if row["side"] == OURS else f": {row['side']}"
    return f"{row['work']}{side}"


def unmet(result: Result) -> str:
    asked = [row for row in result["rows"] if row["met"] is not None]
    lines = [
        [work_of(row), against(row), *promised(row)]
        for row in asked
        if not row["met"]
    ]
    met = sum(bool(row["met"]) for row in asked)
    said = f"{met} of {len(asked)} promised figures are met."
    if not lines:
        return said
    head = "not met | against | in this run | promised"
    return f"{said}\n\n{table(head, lines)}"


def against(row: Any) -> str:
    if row["limit"] is not None:
        return DASH
    return "standard library" if row["base"] == STDLIB else row["base"]


class Quicker(NamedTuple):
    words: str
    ours: Any
    theirs: Any
    times: float


def our_best(question: str, rows: list[Any]) -> Any:
    """As it is by default; of a hand-off, whichever way is the quickest."""
    ours = [row for row in rows if row["side"].startswith(OURS)]
    plain = [row for row in ours if row["side"] == OURS]
    if plain and question != "handoff":
        return plain[0]
    return min(ours, key=lambda row: median(row) or 0, default=None)


def compared(result: Result) -> Iterator[Quicker]:
    """Each work that another one does in less."""
    works: dict[tuple[str, str, str], list[Any]] = {}
    for row in result["rows"]:
        if row["time"] is not None and row["question"] not in PEERLESS:
            key = row["question"], row["work"], row["unit"]
            works.setdefault(key, []).append(row)
    for (question, work, _), rows in works.items():
        ours = our_best(question, rows)
        others = [
            row
            for row in rows
            if not row["side"].startswith((OURS, FLOOR))
            and not (question == "filling" and work.startswith("read"))
        ]
        if ours is None or not others:
            continue
        best = min(others, key=lambda row: row["time"]["median"])
        if median(ours) and best["time"]["median"] > 0:
            times = median(ours) / best["time"]["median"]
            if times > MUCH:
                yield Quicker(work, ours, best, times)


def family(found: Quicker) -> str:
    """Hand-offs of all sizes are one line, that of the worst."""
    if found.ours["question"] != "handoff":
        return found.words
    return "hand-off" + found.words.rpartition(",")[2]


def quicker(result: Result) -> str:
    groups: dict[str, list[Quicker]] = {}
    for found in compared(result):
        groups.setdefault(family(found), []).append(found)
    lines = []
    for of in groups.values():
        worst = max(of, key=lambda found: found.times)
        words = worst.words
        if len(of) > 1:
            sizes = [f.words.split(",")[0].rpartition("of ")[2] for f in of]
            words += (
                f" (and of {', '.join(s for s in sizes if s not in words)})"
            )
        side = worst.ours["side"]
        ours = amount(worst.ours) + ("" if side == OURS else f" ({side})")
        theirs = f"{worst.theirs['side']} {amount(worst.theirs)}"
        lines.append([words, ours, theirs, two(worst.times)])
    return table("work | shmemext | the quickest | times as long", lines)


TABLES: dict[str, Callable[[Result], str]] = {
    "machine": machine,
    "short": short,
    "few": few,
    "unmet": unmet,
    "quicker": quicker,
}


def filled(page: str, result: Result) -> str:
    """The page with its tables as the result has them."""
    return PLACE.sub(
        lambda of: f"{of[1]}\n{TABLES[of[2]](result)}\n\n{of[3]}", page
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("json", type=Path, help="what run.py --json wrote")
    parser.add_argument("pages", type=Path, nargs="*", help="written anew")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="what the page needs of it"
    )
    options = parser.parse_intermixed_args(arguments)
    result = loaded(options.json)
    if options.keep is not None:
        options.keep.write_text(reduced(result))
        result = loaded(options.keep)
    for page in options.pages:
        page.write_text(filled(page.read_text(), result))
    if not options.pages and options.keep is None:
        for name, make in TABLES.items():
            print(f"{name}\n\n{make(result)}\n")


if __name__ == "__main__":
    main()
