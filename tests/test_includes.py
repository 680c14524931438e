# SPDX-License-Identifier: MIT
"""The C source keeps to the rules of csrc/README.md that a reader of its text
can check."""

import re
import warnings
from pathlib import Path

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
    assert "segment.c" in {path.name for path in FILES if in_core(path)}
    assert CSRC / "py/module.c" in FILES


@in_each_file
def test_includes_go_one_way(path):
    """core includes core, py includes both, and only compat.h has Python."""
    text = without_comments(path)
    for include in re.findall(r'#\s*include\s+"([^"]+)"', text):
        assert CSRC / include in FILES, include
        assert not in_core(path) or in_core(CSRC / include), include
    system = re.findall(r"#\s*include\s+<([^>]+)>", text)
    python = [name for name in system if name in {"Python.h"}]
    python += [name for name in system if name.startswith("cpython/")]
    python += [name for name in system if name == "structmember.h"]
    assert not python or path == CSRC / "py/compat.h"


def conditions(path):
    """The lines with #if, less the guard around a header."""
    lines = without_comments(path).splitlines()
    found = [line for line in lines if re.match(r"\s*#\s*(el)?if", line)]
    guard = f"#ifndef SHX_{path.stem.upper()}_H"
    if path.suffix == ".h":
        assert found[:1] == [guard], "a header has a guard of its name"
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
