# SPDX-License-Identifier: MIT
"""Makes each system call of an attach that waits fail: see failing.c.

The argument is the segment's name. Prints the calls that failed; without
inotify the wait goes on by other means.
"""

import ctypes
import errno
import os
import sys
import threading
from pathlib import Path

from shmemext import SharedMemory

name = sys.argv[1]
libc = ctypes.CDLL(None)
libc.failing_name.restype = ctypes.c_char_p
made = []


def create():
    made.append(SharedMemory(name, create=True, size=100))


def attempt(k, code):
    """Fails the k-th call. Returns its name, or None if there is none."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    error = None
    timer = threading.Timer(0.05, create)
    timer.start()
    libc.failing_arm(b"_shmemext", k, code)
    try:
        with SharedMemory(name, timeout=60) as shm:
            assert shm.size == 100
    except OSError as caught:
        error = caught
    calls = libc.failing_disarm()
    failed = libc.failing_name().decode()
    timer.join()
    made[0].close()
    made.pop().unlink()
    after = os.listdir("/proc/self/fd")  # noqa: PTH208
    assert len(after) == len(before), failed
    waits = failed in {"poll", "ppoll"} and code == errno.EINTR
    if "inotify" in failed or waits:
        assert error is None, (failed, error)
    if error is not None:
        assert error.errno == code, (failed, error)
    return None if calls < k else failed


create()
made[0].close()
made.pop().unlink()  # what is set up once is set up now
seen = set()
for code in errno.EMFILE, errno.ENOSPC, errno.EINTR:
    k = 1
    while (failed := attempt(k, code)) is not None:
        seen.add(failed)
        k += 1
assert not Path("/dev/shm", name).exists()
print(*sorted(seen))
