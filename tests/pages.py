# SPDX-License-Identifier: MIT
"""The pages that there are: their blocks, their headings, their links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
RUN = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# For who works on it: links are looked at, programs are not run.
WORK = [
    *ROOT.glob("*.md"),
    *ROOT.glob("[a-z]*/README.md"),
    *ROOT.glob(".ci/*.md"),
    *ROOT.glob(".github/**/*.md"),
]
PAGES = [*RUN, *sorted({*WORK} - {*RUN})]
MARK = re.compile(r"<!-- (not run|is|meets|needs|varies): (.+) -->")
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
# Where the same files are, for pages that are read elsewhere.
REPOSITORY = re.compile(
    r"https://github\.com/shmemext/shmemext/(?:blob|tree|raw)/main/|"
    r"https://raw\.githubusercontent\.com/shmemext/shmemext/main/"
)
SITE = re.compile(
    r"https://shmemext\.readthedocs\.io/(?:en/(?:latest|stable)/)?"
    r"(?:(.+)\.html)?$"
)


class Block(NamedTuple):
    line: int  # of its fence, the first is 1
    end: int
    language: str
    text: str
    mark: str | None  # one of MARK's
    of_mark: str | None


def blocks(page):
    found, start, before = [], None, ""
    lines = page.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            before = line if start is None else before
        elif start is None:
            start = number
        else:
            mark = MARK.fullmatch(before.strip())
            found.append(
                Block(
                    start,
                    number,
                    lines[start - 1].strip("`\n"),
                    "".join(lines[start : number - 1]),
                    mark and mark[1],
                    mark and mark[2],
                )
            )
            start, before = None, ""
    assert start is None, f"{page}:{start}: never ends"
    return found


def where(page, block):
    return f"{page.relative_to(ROOT)}:{block.line}"


def follows(page, block, before):
    """Is there nothing between the two?"""
    lines = page.read_text().splitlines()[before.end : block.line - 1]
    return not "".join(lines).strip()


def anchors(page):
    """The fragments that a page's headings answer to, as forges make them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", prose, flags=re.M)
    }


def leads_to(page, path):
    """The file of the checkout that a page's link means, None for what is
    somewhere else."""
    if site := SITE.match(path):
        return ROOT / "docs" / f"{site[1] or 'index'}.md"
    if repository := REPOSITORY.match(path):
        return ROOT / path[repository.end() :]
    if re.match(r"[a-z]+:", path):
        return None
    return page.parent / path if path else page
