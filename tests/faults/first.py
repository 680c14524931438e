# SPDX-License-Identifier: MIT
"""Makes one system call of a process's first create fail, or of the import
before it. Arguments: which one, the errno, the segment's name.

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

from shmemext import SharedMemory  # noqa: E402 (armed on purpose)

shm = None
try:
    shm = SharedMemory(name, create=True, size=100)
except OSError as error:
    assert error.errno in {code, errno.ENOMEM}, error  # that of malloc()
calls = libc.failing_disarm()
if shm is not None:
    shm.buf[0] = 7
    assert SharedMemory(name).buf[0] == 7
    shm.unlink()
    shm.close()
assert not Path(f"/dev/shm/{name}").exists()
assert f"/dev/shm/{name}" not in Path("/proc/self/maps").read_text()

# A second one works, whatever became of the first; what is still open by
# then is the library's own, one descriptor at most.
with SharedMemory(name, create=True, size=100) as shm:
    shm.unlink()
extra = set(Path("/proc/self/fd").iterdir()) - before
assert len(extra) <= 1, extra
print(int(calls >= k))
