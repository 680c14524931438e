# SPDX-License-Identifier: MIT
"""Threads that wait, for the tests of wait()."""

import threading
import time
from pathlib import Path

from shmemext import wait

PATIENCE = 60
HUNDREDS = 300  # more than a system sleeps at


def waits(things, timeout=PATIENCE):
    """A thread that waits, asleep by now; what it got is in its list."""
    got = []
    thread = threading.Thread(
        target=lambda: got.append(wait(things, timeout)), daemon=True
    )
    thread.start()
    while not asleep(thread.native_id):
        time.sleep(0.001)
    return thread, got


def asleep(thread):
    text = Path(f"/proc/self/task/{thread}/stat").read_text()
    return text.rpartition(")")[2].split()[0] == "S"


def woken(waiting):
    thread, got = waiting
    thread.join(PATIENCE)
    return got[0]


def tasks_and_descriptors():
    return len([*Path("/proc/self/task").iterdir()]), len(
        [*Path("/proc/self/fd").iterdir()]
    )
