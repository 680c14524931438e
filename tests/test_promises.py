# SPDX-License-Identifier: MIT
"""docs/promises.md: each promise has what shows it, and that is there.

That its links resolve is test_docs.py's.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))


def rows():
    """The promises, each with what is in the cell beside it."""
    for line in (ROOT / "docs" / "promises.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells != ["promise", "tests"] and cells[0] != "---":
            yield pytest.param(*cells, id=re.sub(r"\W+", "-", cells[0])[:60])


@pytest.mark.parametrize("promise, shown", list(rows()))
def test_promise_has_a_test(promise, shown):
    assert promise
    files = re.findall(r"\]\(\.\./tests/(test_\w+\.py)\)", shown)
    commands = re.findall(r"`make ([a-z-]+)`", shown)
    assert files or commands
    for name in files:
        assert f"[{name}](../tests/{name})" in shown
        assert "\ndef test_" in (ROOT / "tests" / name).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_make_are_there(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    assert set(re.findall(r"`make ([a-z-]+)", prose)) <= TARGETS
