# SPDX-License-Identifier: MIT
"""Every operation of SharedMemory, and what must balance after each.

Used by scripts that run in a process of their own, because they make calls
and allocations fail.
"""

import gc
import os
import pickle
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path

from shmemext import SharedMemory, shared_memory

PREFIX = f"shmemext-test-faults-{os.getpid()}"
OLD = f"{PREFIX}-old"  # exists before the operation
NEW = f"{PREFIX}-new"  # may be made by it
MISSING = f"{PREFIX}-missing"
LARGE = 40 << 20  # reserved in three pieces


def create_taken(shm):
    with suppress(FileExistsError):
        SharedMemory(OLD, create=True, size=100)


def attach_missing(shm):
    with suppress(FileNotFoundError):
        SharedMemory(MISSING)


def wrong_arguments(shm):
    with suppress(TypeError):
        SharedMemory(None, create=True, size=1, nonsense=1)


def wrong_size(shm):
    with suppress(TypeError):
        SharedMemory(NEW, create=True, size=10.5)


def init_again(shm):
    shm.__init__(NEW, create=True, size=100)


def refused_by_tracker(shm):
    """The tracker is asked when the name is there already."""
    resource_tracker.register = int
    try:
        SharedMemory(NEW, create=True, size=100, track=True)
    except TypeError:
        pass
    finally:
        resource_tracker.register = str.removeprefix


def close_with_descriptor(shm):
    shm.fileno()
    shm.close()


def buffer_of_closed(shm):
    shm.close()
    with suppress(ValueError):
        memoryview(shm)


OPERATIONS = {
    "create": lambda shm: SharedMemory(NEW, create=True, size=100),
    "create in pieces": lambda shm: SharedMemory(NEW, True, LARGE),
    "create sparse": lambda shm: SharedMemory(
        NEW, create=True, size=100, reserve=False
    ),
    "create with any name": lambda shm: SharedMemory(create=True, size=100),
    "create taken": create_taken,
    "create refused by the tracker": refused_by_tracker,
    "attach": lambda shm: SharedMemory(OLD),
    "attach missing": attach_missing,
    "attach tracked": lambda shm: SharedMemory(OLD, track=True),
    "wrong arguments": wrong_arguments,
    "wrong size": wrong_size,
    "init again": init_again,
    "unlink": lambda shm: shm.unlink(),
    "unlink what may be missing": lambda shm: shm.unlink(missing_ok=True),
    "close": lambda shm: shm.close(),
    "close with descriptor": close_with_descriptor,
    "with": lambda shm: shm.__enter__().__exit__(None, None, None),
    "fileno": lambda shm: shm.fileno(),
    "_fd": lambda shm: shm._fd,
    "pickle": lambda shm: pickle.loads(pickle.dumps(shm)),
    "buf": lambda shm: shm.buf[:5],
    "memoryview": lambda shm: memoryview(shm),
    "memoryview of closed": buffer_of_closed,
    "name": lambda shm: shm.name,
    "size": lambda shm: shm.size,
    "repr": lambda shm: repr(shm),
    "private fields": lambda shm: (
        setattr(shm, "_flags", shm._flags),
        setattr(shm, "_mode", shm._mode),
        setattr(shm, "_buf", shm._buf),
    ),
    "disarm": lambda shm: (
        setattr(shm, "_buf", None),
        setattr(shm, "_mmap", None),
    ),
    "file API": lambda shm: (
        shm._mmap.write(b"abc\n"),
        shm._mmap.seek(0),
        shm._mmap.read(2),
        shm._mmap.readline(),
        shm._mmap.tell(),
        shm._mmap.size(),
        len(shm._mmap),
        shm._mmap.closed,
        shm._mmap.close(),
    ),
    "flush": lambda shm: shm._mmap.flush(),
    "madvise": lambda shm: shm._mmap.madvise(4),
}


def held():
    """Names, descriptors and mappings, without the library's own."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    descriptors = list(Path("/proc/self/fd").iterdir())
    return (
        {path.name for path in Path("/dev/shm").glob(f"{PREFIX}*")},
        [path.name for path in descriptors if path.exists()],  # still
        [
            line
            for line in maps
            if "/dev/shm/" in line and "/dev/shm/.shmemext-" not in line
        ],
    )


def attempt(operation, arm, disarm, may_leave=lambda: False):
    """Runs an operation between arm() and disarm(). Returns the exception
    that came of it, or None, when everything balances."""
    before = held()
    shm = SharedMemory(OLD, create=True, size=4096)
    error = result = None
    try:
        arm()
        try:
            result = operation(shm)
        finally:
            disarm()
    except Exception as caught:
        error = caught.with_traceback(None)
        error.__context__ = None
    made = Path(f"/dev/shm/{NEW}")
    if made.exists():
        failed = error is not None or operation is refused_by_tracker
        assert not failed or may_leave(), f"{error!r} has left the name"
        made.unlink()
    shm.close()
    Path(f"/dev/shm/{OLD}").unlink(missing_ok=True)
    del shm, result
    gc.collect(0)
    after = held()
    if may_leave():
        for fd in set(after[1]) - set(before[1]):
            os.close(int(fd))
        after = held()
    assert after == before, (error, before, after)
    return error


# The names must be told from those of other processes, and no tracker runs.
# These are functions in C: an interpreter that has no memory to enter one in
# Python may forget to say so.
shared_memory._make_filename = f"/{NEW}".__str__
resource_tracker.register = str.removeprefix
resource_tracker.unregister = str.removeprefix

# What is set up once is set up now.
for operation in OPERATIONS.values():
    attempt(operation, lambda: None, lambda: None)
