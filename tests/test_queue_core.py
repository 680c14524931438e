# SPDX-License-Identifier: MIT
"""The queue without Python: its pages, its numbers, its tasks, and who is
killed after each instruction."""

import pytest
from plain_c import POINTS, PROGRAMS, link, passed, sanitizers


def program(where, noun, *flags):
    return link(PROGRAMS / f"{noun}_queue.c", where / noun, *flags)


@pytest.mark.parametrize("flags", [("-O2",), ("-O1", "sanitized")])
def test_queues_pages_numbers_and_tasks(flags, tmp_path):
    if "sanitized" in flags:
        flags = ("-O1", *sanitizers())
    passed(program(tmp_path, "directed", *flags))


def test_queues_killed_after_each_instruction(tmp_path):
    """Another one goes on within 150 ms, and what was promised holds."""
    passed(program(tmp_path, "crash", "-O2"), min(POINTS, 100))
