# SPDX-License-Identifier: MIT
"""README.md: what the pages' tests do not see to. Its links are absolute, as a
package index shows it too."""

import json
import re
import subprocess
import sys
import time

from pages import LINK, ROOT, blocks

import shmemext

README = ROOT / "README.md"


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


def test_its_reasons_are_what_was_measured():
    """In docs/bench.json, which the table below is made of."""
    result = json.loads((ROOT / "docs" / "bench.json").read_text())

    def median(side, question, work):
        (found,) = (
            row["time"]["median"]
            for row in result["rows"]
            if (row["side"], row["question"]) == (side, question)
            and row["work"] == work
        )
        return found

    def lost(side):
        cells = result["matrix"][side].values()
        return sum(cell != "pass" for cell in cells), len(cells)

    theirs, cases = lost("stdlib")
    assert lost("shmemext") == (0, cases)
    array = "handoff", "hand-off of 100 MB, fresh"
    waits = "first", "memory of what runs on"
    said = [
        f"Of {cases} ways to lose data or die, "
        f"the standard library has {theirs}, `shmemext` 0.",
        f"in {median('shmemext hand-off', *array):.3g} ms, "
        f"through a pipe in {median('mp.Pipe', *array):.3g} ms.",
        f"C program of {median('shmemext', *waits) / 1024:.3g} MiB; the "
        f"standard library's is a Python of "
        f"{median('stdlib', *waits) / 1024:.3g} MiB.",
    ]
    assert [words for words in said if words not in README.read_text()] == []


def test_its_links_are_absolute():
    links = LINK.findall(README.read_text())
    assert links
    assert all(target.startswith("https://") for target in links)


def test_the_tests_that_it_names_are_there():
    named = re.findall(r"`(test_\w+\.py)`", README.read_text())
    assert named
    assert [one for one in named if not (ROOT / "tests" / one).exists()] == []
