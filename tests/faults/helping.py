# SPDX-License-Identifier: MIT
"""Makes calls of threads that help in wait() fail: see failing.c. Arguments:
the names of the errors. Prints the calls that failed.

Who waits is woken all the same: it looks now and then."""

import ctypes
import errno
import os
import sys
import threading

from shmemext import Event, wait

PATIENCE = 60
MANY = 300  # of which two threads sleep at some

libc = ctypes.CDLL(None)
libc.failing_others.restype = ctypes.c_char_p
end, other = os.pipe()
first, last = Event(), Event()
beside = first, end
many = *[first] * MANY, last


def woken(things, k, code, act):
    """The call that failed."""
    timer = threading.Timer(0.03, act)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    libc.failing_arm_others(b"_shmemext", k, code)
    timer.start()
    ready = wait(things, PATIENCE)
    assert ready == [things[-1]], ready
    failed = libc.failing_others().decode()
    timer.join()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    return failed


seen = set()
for code in (getattr(errno, name) for name in sys.argv[1:]):
    for k in 1, 2:
        seen.add(woken(beside, k, code, lambda: os.write(other, b"x")))
        os.read(end, 1)
        seen.add(woken(many, k, code, last.set))
        last.clear()
print(*sorted(seen))
