# SPDX-License-Identifier: MIT
"""Prints how many system calls and allocations a create makes whose name is
taken, and one whose name is free: of this size, with exist_ok or without.
Arguments: the segment's name, the size, "exist_ok" or nothing.
"""

import ctypes
import sys
from contextlib import suppress

from shmemext import SharedMemory

name, size = sys.argv[1], int(sys.argv[2])
options = {"exist_ok": True} if "exist_ok" in sys.argv else {}
libc = ctypes.CDLL(None)
NEVER = 1 << 30


def calls_of_a_create():
    shm = None
    libc.failing_arm(b"_shmemext", NEVER, 0)
    with suppress(FileExistsError):
        shm = SharedMemory(name, create=True, size=size, **options)
    calls = libc.failing_disarm()
    if shm is not None:
        shm.close()
    return calls


with SharedMemory(create=True, size=100) as first:  # and all it brings with it
    first.unlink()
free = calls_of_a_create()
with SharedMemory(name) as owner:  # or it might be a dead one's
    taken = calls_of_a_create()
    owner.unlink()
print(free, taken)
