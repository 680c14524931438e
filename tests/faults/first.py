# SPDX-License-Identifier: MIT
"""Makes one system call of a process's first create and first lock fail, or of
the import before them. Arguments: which one, the errno, the segment's name.

Prints 1 if there are as many calls, otherwise 0.
"""

import ctypes
import errno
import sys
from pathlib import Path

k, code, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
before = set(Path("/proc/self/fd").iterdir())
libc = ctypes.CDLL(None)
libc.failing_arm(b"_shmemext", k, code)

libc.failing_name.restype = ctypes.c_char_p


def lost():
    """A file that cannot be told to be the segment's: a lock's descriptor is
    then left open."""
    return libc.failing_name() == b"fstat"


from shmemext import Lock, SharedMemory  # noqa: E402 (armed on purpose)

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
extra = set(Path("/proc/self/fd").iterdir()) - before
assert len(extra) <= 1 + lost(), extra
print(int(calls >= k))
