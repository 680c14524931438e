# SPDX-License-Identifier: MIT
"""Synchronizers of the core without Python, and what may happen to them.

SHMEMEXT_STORM_SECONDS is how long the storm takes, and says that a SIGKILL
comes after more instructions than elsewhere; `make storm-sync` takes
SECONDS, `make crash-sync` all instructions of everything.
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
    return link(PROGRAMS / f"{noun}_sync.c", where / noun, *flags)


@pytest.mark.parametrize("noun", ["crash", "crash_groups"])
def test_sync_killed_after_each_instruction(noun, tmp_path):
    passed(program(tmp_path, noun, "-O2"), POINTS)


def test_sync_in_a_storm(tmp_path):
    """No two are in, who finds a torn one is told, nobody waits for a
    second."""
    passed(program(tmp_path, "storm", "-O2"), SECONDS)


@pytest.mark.parametrize(
    "noun", ["directed", "directed_groups", "late", "patience"]
)
def test_sync_deaths_and_wake_ups(noun, tmp_path):
    passed(program(tmp_path, noun, "-O2"))


def test_sync_with_a_hostile_writer(tmp_path):
    passed(program(tmp_path, "hostile", "-O1", *sanitizers()), 5000)


def test_sync_of_threads(tmp_path):
    if not works(tuple(compiler()), THREADS):
        pytest.skip("this compiler has no ThreadSanitizer that works")
    passed(program(tmp_path, "threads", "-O1", *THREADS))
