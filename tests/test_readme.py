# SPDX-License-Identifier: MIT
"""README.md: what the pages' tests do not see to. Its links are absolute, as a
package index shows it too."""

import re
import subprocess
import sys
import time

from pages import LINK, ROOT, blocks

import shmemext

README = ROOT / "README.md"
DEFINED = re.compile(r"^\[([^]]+)\]: \S+$", re.M)


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
    text = README.read_text()
    assert all(t.startswith("https://") for t in LINK.findall(text))
    used = re.findall(r"\[([A-Za-z][^]]+)\](?![(:])", DEFINED.sub("", text))
    assert {*used} == {*DEFINED.findall(text)}
