# SPDX-License-Identifier: MIT
"""Makes each system call of each operation fail: see failing.c.

Prints the calls that failed. Arguments: the names of the errors.
"""

import ctypes
import errno
import gc
import os
import sys

import operations

# Failing costs nothing but a better message, or time: there is another way. A
# ledger is tidied now and then, and at another time where it cannot be read.
TOLERATED = {
    "eventfd",
    "fdopendir",
    "fstatvfs",
    "getrandom",
    "inotify_add_watch",
    "inotify_init1",
    "lstat",
    "madvise",
    "nanosleep",
    "pthread_attr_init",
    "pthread_create",
    "readdir",
    "stat",
    "statvfs",
}

# POSIX lets a signal interrupt these, and the library goes on.
RETRIED = {
    "fallocate",
    "fcntl",
    "fsync",
    "ftruncate",
    "futex",
    "futex_waitv",
    "open",
    "poll",
    "ppoll",
    "pread",
    "pwrite",
}

# Copies that find one way barred and go another; who cannot know how much
# memory is free tries. A lock that cannot be given back goes with the
# descriptor, a descriptor that does not say how it may be used is read, and
# one that does not say whose it is has been somebody else's: there is a name.
# Nobody looks for what others left beyond the end of what has grown. Who
# cannot find out whether he is the last user leaves the name to a sweep.
# Whether a name is a dead one's may be asked in vain: then it is not. Nor is
# a holder dead of whom that cannot be proven.
OTHER_WAYS = {
    ("open", "create or attach"),
    ("fcntl", "create or attach"),
    ("open", "copy"),
    ("fcntl", "copy"),
    ("pread", "copy"),
    ("pread", "pieces"),
    ("pread", "grow"),
    ("pwrite", "copy"),
    ("fcntl", "grow"),
    ("fcntl", "from_fd"),
    ("fcntl", "seal"),
    ("fcntl", "handle"),
    ("open", "anonymous"),
    ("fstat", "with a descriptor"),
    ("fstat", "grow"),
    ("fcntl", "users"),
    ("fstat", "users"),
    ("open", "users"),
    ("openat", "users"),
    ("statx", "users"),
    ("unlinkat", "users"),
    ("fcntl", "dead "),
}

# A wait that has no helper looks now and then. What it cannot see of them when
# its time is over selectors see.
OTHER_WAYS |= {
    ("calloc", "beside a descriptor"),
    ("poll", "beside a descriptor"),
}

# Who watches for a task says nothing: the task looks again.
OTHER_WAYS.add(("futex", "watch "))

# A party opens the file of a memory anew by its name, if there is one, where
# the descriptor does not serve.
OTHER_WAYS |= {
    ("open", name)
    for name in operations.synchronizing.OPERATIONS
    if not name.endswith("without a place")
}
OTHER_WAYS.add(("open", "Lock in a file"))

# By which it is asked who else has a name.
ASKING = {"fcntl", "fstat", "lstat", "open", "openat", "unlinkat"}

# On a system that lacks calls (missing.c), a create looks for what the killed
# have left, and its own hidden name goes: if it does not, the next one sees to
# that. A MappedFile cannot be created at all, and
# to write zeros in many pieces takes long.
OPERATIONS = dict(operations.OPERATIONS)
if "MISSING" in os.environ:
    OTHER_WAYS |= {
        (call, "")
        for call in (
            *("fcntl", "fdopendir", "openat", "readdir", "readdir64"),
            "unlinkat",
        )
    }
    for name in operations.OPERATIONS:
        if "file" in name or name in operations.SLOW:
            del OPERATIONS[name]

libc = ctypes.CDLL(None)
libc.failing_name.restype = ctypes.c_char_p
calls = 0


def disarm():
    global calls
    calls = libc.failing_disarm()


def failed_call():
    return libc.failing_name().decode()


def is_beyond_help(operation):
    """An error on the way back from an error, or while letting go."""
    failed = failed_call()
    if failed == "unlink":
        return operation is operations.refused_by_tracker
    if failed in ASKING and operation in operations.LEAVERS:
        return True
    return failed == "fstat" and operation in operations.OWNERS


def may_go_well(name, operation, failed, code):
    """Is there another way, or another word for it?"""
    return (
        failed in TOLERATED
        or name in operations.pooling.OPERATIONS  # as one pickles without
        or name == "buffers beside a Queue"  # or within
        or operation in operations.EXPECTING
        or (failed in RETRIED and code == errno.EINTR)
        or any(failed == call and kind in name for call, kind in OTHER_WAYS)
    )


def attempt(name, operation, k, code):
    """Fails the k-th call of an operation. Returns its name, "" if it must
    not fail, and None if there are not that many."""
    error = operations.attempt(
        operation,
        lambda: libc.failing_arm(b"_shmemext", k, code),
        disarm,
        lambda: is_beyond_help(operation),
        lambda: failed_call() == "fsync",  # longer, but maybe not on the disk
    )
    failed = failed_call()
    if not failed:
        assert error is None, error
    elif error is None:
        fine = may_go_well(name, operation, failed, code)
        assert fine or is_beyond_help(operation), f"{failed} did no harm"
    elif isinstance(error, ValueError):  # a descriptor that does not answer
        assert failed == "fcntl" and "seal" in str(error), (failed, error)
    else:
        assert isinstance(error, OSError), (failed, error)
        codes = {code, errno.ENOENT}
        if failed == "fstat":  # a descriptor that may not be ours any more
            codes |= {errno.EBADF, errno.ESTALE}
        if failed in ("malloc", "calloc"):
            codes.add(errno.ENOMEM)
        assert error.errno in codes, (failed, error)
        if failed in RETRIED and code == errno.EINTR:
            assert failed == "fcntl", (failed, error)
    return None if calls < k else failed


# What is there by now is no garbage of an operation. Without a GIL, each
# collection would look at all of it.
gc.freeze()

os.umask(0o277)  # so that fchmod is needed
seen = set()
for code in (getattr(errno, name) for name in sys.argv[1:]):
    for name, operation in OPERATIONS.items():
        k = 1
        try:
            while (failed := attempt(name, operation, k, code)) is not None:
                seen.add(failed)
                k += 1
        except BaseException:
            print(f"{name}: {errno.errorcode[code]} from call {k}")
            raise
print(*sorted(seen))
