# SPDX-License-Identifier: MIT
"""README.md: what the pages' tests do not see to. Its links are absolute, since
a package index shows it too."""

import re
import subprocess
import sys
import time

import pytest
from test_docs import ROOT, anchors, blocks

import shmemext

README = ROOT / "README.md"
TEXT = README.read_text()
SITE = "https://shmemext.readthedocs.io/en/latest/"
HERE = {
    "https://github.com/shmemext/shmemext/blob/main/": ROOT,
    "https://raw.githubusercontent.com/shmemext/shmemext/main/": ROOT,
}
DEFINED = re.compile(r"^\[([^]]+)\]: (\S+)$", re.M)
INLINE = re.compile(r"\]\((\S+)\)")


def test_it_shows_what_the_demo_prints():
    (shown,) = (
        block.text.partition("$ make demo\n")[2].partition("$ ")[0]
        for block in blocks(README)
        if "$ make demo\n" in block.text
    )
    printed = subprocess.check_output(
        [sys.executable, ROOT / "examples" / "demo.py"], text=True, timeout=300
    )
    assert shown == printed


def test_its_two_programs_meet(tmp_path):
    """The first one is there until the second has read."""
    of_page = blocks(README)
    first, second = (block for block in of_page if block.mark == "meets")
    shown = of_page[of_page.index(second) + 1]
    assert shown.language == "text"
    with subprocess.Popen(
        [sys.executable, "-c", first.text],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        text=True,
    ) as one:
        wait_for_name(re.search(r'SharedMemory\("(\w+)"', first.text)[1], one)
        printed = subprocess.check_output(
            [sys.executable, "-c", second.text],
            cwd=tmp_path,
            text=True,
            timeout=300,
        )
        one.communicate("\n", timeout=300)
    assert (printed, one.returncode) == (shown.text, 0)


def wait_for_name(name, process):
    end = time.monotonic() + 60
    while not any(one.name == name for one in shmemext.segments()):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


def test_its_links_are_absolute_and_all_are_used():
    defined = dict(DEFINED.findall(TEXT))
    prose = DEFINED.sub("", TEXT)
    used = set(re.findall(r"\[([^]]+)\](?![(:])", prose))
    assert used == {*defined}
    assert all(
        target.startswith("https://")
        for target in [*defined.values(), *INLINE.findall(prose)]
    )


@pytest.mark.parametrize(
    "target", [url for _, url in DEFINED.findall(TEXT)] + INLINE.findall(TEXT)
)
def test_what_it_links_to_is_there(target):
    address, _, fragment = target.partition("#")
    if address.startswith(SITE):
        page = ROOT / "docs" / address.removeprefix(SITE)
        page = page.with_suffix(".md")
    else:
        (page,) = (
            folder / address.removeprefix(prefix)
            for prefix, folder in HERE.items()
            if address.startswith(prefix)
        )
    assert page.exists()
    assert not fragment or fragment in anchors(page)
