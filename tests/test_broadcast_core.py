# SPDX-License-Identifier: MIT
"""Broadcasts without Python, and what may happen to who uses one.

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
    return link(PROGRAMS / f"{noun}_broadcast.c", where / noun, *flags)


@pytest.mark.parametrize("noun", ["directed", "forks"])
def test_broadcast_deaths_forks_and_wake_ups(noun, tmp_path):
    passed(program(tmp_path, noun, "-O1", *sanitizers()))


def test_broadcast_killed_after_each_instruction(tmp_path):
    """Another writer goes on where it was, and no place is lost."""
    passed(program(tmp_path, "crash", "-O2"), min(POINTS, 100))


def test_broadcast_in_a_storm(tmp_path):
    """What is held is whole, no number is left out, nobody waits for a
    second."""
    passed(program(tmp_path, "storm", "-O2"), min(SECONDS, 10))


def test_broadcast_with_a_hostile_writer(tmp_path):
    passed(program(tmp_path, "hostile", "-O1", *sanitizers()), 2)


def test_broadcast_of_threads(tmp_path):
    if not works(tuple(compiler()), THREADS):
        pytest.skip("this compiler has no ThreadSanitizer that works")
    passed(program(tmp_path, "threads", "-O1", *THREADS))
