# SPDX-License-Identifier: MIT
"""The C source keeps to the rules of csrc/README.md that a reader of its text
can check."""

import re
import warnings
from pathlib import Path

import arrows
import pytest

CSRC = Path(__file__).parent.parent / "csrc"
FILES = sorted(CSRC.rglob("*.[ch]"))
SPDX = "/* SPDX-License-Identifier: MIT */"
LENGTH = 400  # lines, beyond which a file wants to be two

in_each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(CSRC))
)


def without_comments(path):
    """The text with comments blanked out and the lines where they were."""
    return re.sub(
        r"/\*.*?\*/",
        lambda comment: "\n" * comment[0].count("\n"),
        path.read_text(),
        flags=re.DOTALL,
    )


def in_core(path):
    return CSRC / "core" in path.parents


def test_there_is_a_core_and_a_glue():
    assert CSRC / "core/memory/segment.c" in FILES
    assert CSRC / "py/module.c" in FILES


# Arrows: what a file includes, and what it calls.


def test_every_room_has_a_floor():
    rooms = {arrows.room_of(path) for path in arrows.read()}
    assert rooms == {room for floor in arrows.FLOORS for room in floor}


def test_no_arrow_goes_up():
    assert arrows.upwards(arrows.read()) == []


def test_no_circle_between_files_of_different_nouns():
    assert arrows.circle(arrows.read()) == []


def test_map_has_the_arrows():
    assert arrows.draw(arrows.read()) in (CSRC / "README.md").read_text()


def rows_of(text):
    """The files in the map's tables, as often as they stand there."""
    floor = room = None
    for line in text.splitlines():
        if heading := re.match(r"## (core|py)?", line):
            floor = heading[1]
        elif table := re.match(r"\| `(\w+)/` \|", line):
            room = Path(floor, "" if table[1] == floor else table[1])
        elif floor and (row := re.match(r"\| `(\w+)([.ch ]+)` \|", line)):
            for ending in row[2].split():
                yield room / (row[1] + ending)


def test_map_has_one_row_for_every_file():
    text = (CSRC / "README.md").read_text()
    assert sorted(CSRC / path for path in rows_of(text)) == FILES


# What stood there once, and must not come back.
CIRCLES = [
    # a segment's create called the family, which asked it for names
    ("core/memory/segment.c", '#include "core/life/family.h"'),
    ("core/memory/segment.c", "int f(void) { return shx_family_publish(); }"),
    ("core/life/ledger.c", '#include "core/memory/segment.h"'),
    ("core/life/ledger.c", "int f(void) { return shx_segment_map(); }"),
    # the base type's close() knew the derived type
    ("py/memory/memory_close.c", '#include "py/shared_memory/object.h"'),
    ("py/memory/memory.c", "int f(void) { return shx_unlink_name(); }"),
    # the ground knew who makes the types
    ("py/errors.c", '#include "py/memory/memory.h"'),
    ("py/state.c", "int f(void) { return shx_memory_add(); }"),
    # a table is as good as a call
    ("py/state.h", '#include "py/memory/memory.h"'),
    ("py/state.c", "void *f = shx_memory_grow_methods;"),
    # a header may have code, and a type may be named without its header
    ("core/error.h", "static inline int f(void) { return shx_os_close(0); }"),
    ("py/compat.h", "#define F(module) shx_memory_add(module)"),
    ("py/state.c", "int f(void *op) { return shx_mapping_size(op); }"),
    ("core/os/os_linux.c", "struct shx_family *f;"),
    # an include is one however it is written
    ("core/error.c", "#include <core/memory/segment.h>"),
    ("core/error.c", '#include"core/memory/segment.h"'),
]


@pytest.mark.parametrize("path, line", CIRCLES)
def test_old_circles_are_refused(path, line):
    files = arrows.read()
    files[Path(path)] += line + "\n"
    assert len(arrows.upwards(files)) == 1


def test_circle_within_a_room_is_refused():
    files = arrows.read()
    files[Path("core/life/ledger.c")] += "int f(void) { shx_sweep_all(); }\n"
    assert arrows.upwards(files) == []
    assert arrows.circle(files) == [
        "core/life/ledger",
        "core/life/sweep",
        "core/life/ledger",
    ]


def test_files_of_one_noun_may_know_each_other():
    paths = [
        Path("py/memory") / name
        for name in ("memory.h", "memory_grow.c", "mapping.c", "mapped_file.c")
    ]
    assert list(arrows.nouns(paths).values()) == [
        "py/memory/memory",
        "py/memory/memory",
        "py/memory/mapping",
        "py/memory/mapped_file",
    ]


@in_each_file
def test_includes_go_one_way(path):
    """core includes core, py includes both, and only compat.h has Python."""
    text = without_comments(path)
    system = []
    for include in re.findall(r"#\s*include(.*)", text):
        name = re.fullmatch(r' (?:"([^"]+)"|<([^>]+)>)\s*', include)
        assert name, include
        if name[2]:
            system.append(name[2])
            assert CSRC / name[2] not in FILES, include
            continue
        assert CSRC / name[1] in FILES, include
        assert not in_core(path) or in_core(CSRC / name[1]), include
    python = [name for name in system if name in {"Python.h"}]
    python += [name for name in system if name.startswith("cpython/")]
    python += [name for name in system if name == "structmember.h"]
    assert not python or path == CSRC / "py/compat.h"


def conditions(path):
    """The lines with #if, less the guard around a header."""
    lines = without_comments(path).splitlines()
    found = [line for line in lines if re.match(r"\s*#\s*(el)?if", line)]
    guard = rf"#ifndef SHX_(PY_)?{path.stem.upper()}_H"
    if path.suffix == ".h":
        assert re.fullmatch(guard, found[0]), "a guard of the header's name"
        found = found[1:]
    return found


@in_each_file
def test_conditions_stay_where_systems_and_versions_differ(path):
    found = conditions(path)
    if path.name == "compat.h" or re.fullmatch(r"os_\w+\.c", path.name):
        return
    assert found == []


# Tables that CPython's API wants writable and nobody writes to.
API_TABLES = re.compile(
    r"Py(MethodDef|GetSetDef|MemberDef|Type_Slot|Type_Spec|ModuleDef|"
    r"ModuleDef_Slot|StructSequence_\w+)\b|char \*keywords\[\]"
)


@pytest.mark.parametrize(
    "path", [path for path in FILES if not in_core(path)], ids=lambda p: p.name
)
def test_glue_has_no_mutable_statics(path):
    """Each interpreter has a module of its own, and so all of the state."""
    text = without_comments(path)
    variables = re.findall(r"^\s*static\b[^;({]*(?=[;=])", text, re.MULTILINE)
    mutable = [
        variable
        for variable in variables
        if not re.search(r"\bconst\b(?!\s*\w+\s*\*)", variable)
        and not API_TABLES.search(variable)
    ]
    assert mutable == []
    at_top = re.findall(
        r"^(?!static|extern|typedef|const)\w[\w ]*\w\s*[=;]", text, re.M
    )
    assert [name for name in at_top if not API_TABLES.search(name)] == []


@in_each_file
def test_what_other_files_see_has_our_prefix(path):
    """By which arrows.py knows it."""
    text = without_comments(path)
    functions = re.findall(r"^(?!.*\bstatic\b)\w[\w \*]*\n(\w+)\(", text, re.M)
    variables = re.findall(
        r"^(?!static|typedef)\w[\w \*]*?(\w+)(?:\[\w*\])?(?: =|;)", text, re.M
    )
    found = {name for name in functions + variables if name[:4] != "shx_"}
    assert found <= {"main", "PyInit__shmemext"}


@in_each_file
def test_licence_is_the_first_line(path):
    assert path.read_text().splitlines()[0] == SPDX


@in_each_file
def test_lines_are_short_and_clean(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        assert len(line) <= 79, (number, line)
        assert "\t" not in line, (number, line)
        assert line == line.rstrip(), (number, line)
    assert path.read_text().endswith("\n")


@in_each_file
def test_comments_are_c_comments(path):
    code = re.sub(r'"(\\.|[^"\\])*"', '""', without_comments(path))
    assert "//" not in code


@pytest.mark.filterwarnings("default::UserWarning")
def test_files_are_small():
    """Longer ones are listed; twice as long fails."""
    lengths = {
        str(path.relative_to(CSRC)): path.read_text().count("\n")
        for path in FILES
    }
    long = {name: n for name, n in lengths.items() if n > LENGTH}
    if long:
        warnings.warn(f"longer than {LENGTH} lines: {long}", stacklevel=1)
    assert max(lengths.values()) <= 2 * LENGTH
