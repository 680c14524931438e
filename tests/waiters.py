# SPDX-License-Identifier: MIT
"""Threads that wait, for the tests of wait() and of what may close or end
meanwhile."""

import os
import threading
from pathlib import Path

from machine import PATIENCE, wait_until

from shmemext import wait

HUNDREDS = 300  # more than a system sleeps at


def waits(things, timeout=PATIENCE):
    """A thread that waits, asleep by now; what it got is in its list."""
    got = []
    thread = threading.Thread(
        target=lambda: got.append(wait(things, timeout)), daemon=True
    )
    thread.start()
    wait_until_asleep(thread)
    return thread, got


def wait_until_asleep(thread):
    """For longer than it would wait for the GIL."""
    seen = 0

    def sleeps():
        nonlocal seen
        seen = seen + 1 if asleep(thread.native_id) else 0
        return seen == 3

    wait_until(sleeps)


def asleep(thread):
    """Or at its end."""
    try:
        text = Path(f"/proc/self/task/{thread}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] == "S"


def woken(waiting):
    thread, got = waiting
    thread.join(PATIENCE)
    return got[0]


def threads():
    """Of the kernel's: one that was joined may end yet."""
    return {int(one) for one in os.listdir("/proc/self/task")}  # noqa: PTH208
