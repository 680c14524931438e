# SPDX-License-Identifier: MIT
"""Makes each system call of each operation fail: see failing.c.

Prints the calls that failed. Arguments: the names of the errors.
"""

import ctypes
import errno
import os
import sys

import operations

# Failing costs nothing but a better message.
TOLERATED = {"lstat", "lstat64", "statvfs", "statvfs64"}

# POSIX lets a signal interrupt these, and the library goes on.
RETRIED = {
    "open",
    "open64",
    "fallocate",
    "fallocate64",
    "ftruncate",
    "ftruncate64",
}

# An error on the way back from an error; a descriptor that cannot be told to
# be still ours, which is better left open than closed.
BEYOND_HELP = {
    ("unlink", operations.refused_by_tracker),
    ("fstat", operations.close_with_descriptor),
}

libc = ctypes.CDLL(None)
libc.failing_name.restype = ctypes.c_char_p
calls = 0


def disarm():
    global calls
    calls = libc.failing_disarm()


def failed_call():
    return libc.failing_name().decode()


def attempt(operation, k, code):
    """Fails the k-th call of an operation. Returns its name, "" if it must
    not fail, and None if there are not that many."""
    error = operations.attempt(
        operation,
        lambda: libc.failing_arm(b"_shmemext", k, code),
        disarm,
        lambda: (failed_call(), operation) in BEYOND_HELP,
    )
    failed = failed_call()
    retried = failed in RETRIED and code == errno.EINTR
    if not failed or failed in TOLERATED or retried:
        assert error is None, (failed, error)
    elif operation is operations.create_taken:
        # FileExistsError, whatever else went wrong, once it can be known
        assert error is None or error.errno == code, (failed, error)
    elif error is not None or (failed, operation) not in BEYOND_HELP:
        assert isinstance(error, OSError), (failed, error)
        assert error.errno in {code, errno.ENOENT}, (failed, error)
    return None if calls < k else failed


os.umask(0o277)  # so that fchmod is needed
seen = set()
for code in (getattr(errno, name) for name in sys.argv[1:]):
    for name, operation in operations.OPERATIONS.items():
        k = 1
        try:
            while (failed := attempt(operation, k, code)) is not None:
                seen.add(failed)
                k += 1
        except BaseException:
            print(f"{name}: {errno.errorcode[code]} from call {k}")
            raise
print(*sorted(seen))
