# SPDX-License-Identifier: MIT
"""The ring of messages without Python, and what may happen to who uses it.

SHMEMEXT_STORM_SECONDS is how long the storm takes, up to 10, and says that a
SIGKILL comes after more instructions than elsewhere; `make storm-channels`
takes SECONDS of each kind, `make crash-channels` all instructions there are.
"""

import pytest
from plain_c import (
    POINTS,
    PROGRAMS,
    SECONDS,
    THREADS,
    compiler,
    link,
    passed,
    sanitizers,
    works,
)


def program(where, noun, *flags):
    return link(PROGRAMS / f"{noun}_ring.c", where / noun, *flags)


@pytest.mark.parametrize(
    "noun", ["directed", "directed_end", "directed_wakes"]
)
def test_channels_deaths_and_wake_ups(noun, tmp_path):
    passed(program(tmp_path, noun, "-O2"))


@pytest.mark.parametrize("noun", ["crash", "crash_take"])
def test_channels_killed_after_each_instruction(noun, tmp_path):
    """Another one goes on within 150 ms, and what was promised holds."""
    passed(program(tmp_path, noun, "-O2"), min(POINTS, 100))


def test_channels_in_a_storm(tmp_path):
    """Nothing comes twice, nothing is lost, nobody waits for a second."""
    passed(program(tmp_path, "storm", "-O2"), min(SECONDS, 10))


def test_channels_with_a_hostile_writer(tmp_path):
    passed(program(tmp_path, "hostile", "-O1", *sanitizers()), 2)


def test_channels_of_threads(tmp_path):
    if not works(tuple(compiler()), THREADS):
        pytest.skip("this compiler has no ThreadSanitizer that works")
    passed(program(tmp_path, "threads", "-O1", *THREADS))
