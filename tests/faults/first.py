# SPDX-License-Identifier: MIT
"""Makes one system call of a process's first create and first lock fail, or of
the import before them; each in turn. Arguments: the errno, the segment's name.

Prints how many there are.
"""

import ctypes
import errno
import multiprocessing.reduction  # what the import takes of Python, just once
import os
import sys
from pathlib import Path

MOST, NO_MORE = 200, 3

libc = ctypes.CDLL(None)
libc.failing_name.restype = ctypes.c_char_p


def descriptors():
    return set(Path("/proc/self/fd").iterdir())


def lost():
    """A file that cannot be told to be the segment's: a lock's descriptor is
    then left open."""
    return libc.failing_name() == b"fstat"


def attempt(k, code, name):
    """Are there as many calls?"""
    before = descriptors()
    libc.failing_arm(b"_shmemext", k, code)
    from shmemext import Lock, SharedMemory

    shm = lock = None
    try:
        shm = SharedMemory(name, create=True, size=100)
        lock = Lock(shm)
    except OSError as error:
        codes = {code, errno.ENOMEM}  # that of malloc()
        if lost():
            codes |= {errno.EBADF, errno.ENOENT, errno.ESTALE}
        assert error.errno in codes, error
    calls = libc.failing_disarm()
    if shm is not None:
        shm.buf[64] = 7
        assert SharedMemory(name).buf[64] == 7
        with lock or Lock(shm):
            shm.unlink()
        shm.close()
    del lock
    assert not Path(f"/dev/shm/{name}").exists()
    assert f"/dev/shm/{name}" not in Path("/proc/self/maps").read_text()

    # A second one works, whatever became of the first; what is still open by
    # then is the library's own, one descriptor at most.
    with SharedMemory(name, create=True, size=100) as shm, Lock(shm):
        shm.unlink()
    del shm
    extra = descriptors() - before
    assert len(extra) <= 1 + lost(), extra
    return calls >= k


assert multiprocessing.reduction and "shmemext" not in sys.modules
for k in range(1, MOST):
    child = os.fork()
    if child == 0:
        code, name = sys.argv[1:]
        sys.exit(0 if attempt(k, int(code), name) else NO_MORE)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == NO_MORE:
        break
    assert status == 0, (k, status)
print(k - 1)
