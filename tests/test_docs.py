# SPDX-License-Identifier: MIT
"""The documentation: its Python runs, its output is real, its links resolve.

A `text` block right after a `python` block is what that block prints. A block
with `<!-- not run: reason -->` on the line before it is skipped.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
RUN = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [
    *RUN,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "csrc" / "README.md",
]
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    line: int  # of its fence, the first is 1
    end: int
    language: str
    text: str
    not_run: str | None


def blocks(page):
    found, start, before = [], None, ""
    lines = page.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            before = line if start is None else before
        elif start is None:
            start = number
        else:
            reason = NOT_RUN.fullmatch(before.strip())
            found.append(
                Block(
                    start,
                    number,
                    lines[start - 1].strip("`\n"),
                    "".join(lines[start : number - 1]),
                    reason and reason[1],
                )
            )
            start, before = None, ""
    assert start is None, f"{page}:{start}: never ends"
    return found


def programs():
    for page in RUN:
        of_page = blocks(page)
        for block, after in zip(of_page, [*of_page[1:], None], strict=False):
            if block.language != "python":
                continue
            printed = ""
            if after and after.language == "text":
                between = page.read_text().splitlines()[
                    block.end : after.line - 1
                ]
                printed = after.text if not "".join(between).strip() else ""
            marks = [pytest.mark.skip(block.not_run)] if block.not_run else []
            where = f"{page.relative_to(ROOT)}:{block.line}"
            yield pytest.param(block.text, printed, id=where, marks=marks)


@pytest.mark.parametrize("code, printed", list(programs()))
def test_python_runs_and_prints_what_is_shown(code, printed, tmp_path):
    program = tmp_path / "program.py"  # spawn needs a file
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed


def test_readme_shows_what_the_demo_prints():
    (shown,) = (
        block.text.partition("$ make demo\n")[2].partition("$ ")[0]
        for block in blocks(ROOT / "README.md")
        if "$ make demo\n" in block.text
    )
    printed = subprocess.check_output(
        [sys.executable, ROOT / "examples" / "demo.py"], text=True, timeout=300
    )
    assert shown == printed


def anchors(page):
    """The fragments that a page's headings answer to, as forges make them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", prose, flags=re.M)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(page):
    for target in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), f"{page}: {target}"
        assert not fragment or fragment in anchors(other), f"{page}: {target}"
