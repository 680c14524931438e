# SPDX-License-Identifier: MIT
"""Every operation of the three kinds, of lists and of synchronizers, and what
must balance after each.

Used by scripts that run in a process of their own, because they make calls
and allocations fail.
"""

import gc
import os
import pickle
import shutil
import struct
import sys
from atexit import register
from contextlib import suppress
from fractions import Fraction
from multiprocessing import resource_tracker
from pathlib import Path

import awaiting
import channeling
import pooling
import queueing
import synchronizing

from shmemext import (
    AnonymousMemory,
    Lock,
    MappedFile,
    ShareableList,
    SharedMemory,
    _broadcasts,
    _pools,
    _queues,
    shared_memory,
)

PREFIX = f"shmemext-test-faults-{os.getpid()}"
OLD = f"{PREFIX}-old"  # exists before the operation
NEW = f"{PREFIX}-new"  # may be made by it
MISSING = f"{PREFIX}-missing"
LARGE = 40 << 20  # reserved in three pieces
BIG = 9 << 20  # copied in more than one
TOO_LARGE = min(1 << 40, sys.maxsize // 2)  # for what is there
SIZE = 4096  # of what exists before
DIRECTORY = Path(f"/dev/shm/{PREFIX}-files")
OLD_FILE = DIRECTORY / "old"
NEW_FILE = DIRECTORY / "new"
# What is made of a Path without memory is a TypeError of Python's own.
OLD_PATH, NEW_PATH, WHERE = map(str, (OLD_FILE, NEW_FILE, DIRECTORY))


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


def create_file_taken(shm):
    with suppress(FileExistsError):
        MappedFile(OLD_PATH, create=True, size=100)


def attach_file_missing(shm):
    with suppress(FileNotFoundError):
        MappedFile(NEW_PATH)


def attach_file_wrong(shm):
    with suppress(IsADirectoryError):
        MappedFile(WHERE)
    with suppress(ValueError):
        MappedFile("/dev/null")
    with suppress(ValueError):
        MappedFile(OLD_PATH, size=TOO_LARGE)


def attach_or_create(shm):
    return SharedMemory(OLD, create=True, size=100, exist_ok=True)


def exist_ok_smaller(shm):
    with suppress(ValueError):
        SharedMemory(OLD, create=True, size=TOO_LARGE, exist_ok=True)


def wait_in_vain(shm):
    with suppress(FileNotFoundError):
        SharedMemory(MISSING, timeout=1e-6)


def shrink(shm):
    with suppress(ValueError):
        shm.grow(1)


def refresh(shm):
    with SharedMemory(OLD) as other:
        os.truncate(f"/dev/shm/{OLD}", 2 * SIZE)
        assert other.refresh()


def refresh_file(shm):
    file = MappedFile(OLD_PATH)
    os.truncate(OLD_PATH, 2 * SIZE)
    assert file.refresh()
    file.close()


def grow_anonymous(shm):
    """A failed one leaves the memory as it was."""
    memory = AnonymousMemory(SIZE)
    buf = memory.buf
    try:
        memory.grow(LARGE)
    except BaseException:
        assert memory.size == len(buf) == SIZE
        raise
    assert memory.size == len(memory.buf) == LARGE


def take_over(shm):
    """On error the descriptor stays the caller's."""
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, SIZE)
        AnonymousMemory.from_fd(fd)
    except BaseException:
        os.close(fd)
        raise


def take_over_what_cannot_be(shm):
    fd = os.open("/dev/null", os.O_RDWR)
    try:
        with suppress(ValueError):
            AnonymousMemory.from_fd(fd)
    finally:
        os.close(fd)


def seal(shm):
    memory = AnonymousMemory(SIZE)
    try:
        memory.seal()
    except BaseException:
        memory.buf[0] = 7
        raise
    assert memory.readonly and memory.buf.readonly


ITEMS = [1, 1 << 40, 0.5, True, None, "text" * 50, b"bytes\0", "é"]


def list_in(shm):
    """That is no more to be made: its operations are tried, not the create."""
    shm.buf[: len(LAYOUT)] = LAYOUT
    return ShareableList(name=OLD)


def create_list_taken(shm):
    with suppress(FileExistsError):
        ShareableList(ITEMS, name=OLD)


def create_list_wrong(shm):
    for wrong in [], 1j, 1 << 63, "\ud800":
        with suppress(TypeError, struct.error, UnicodeEncodeError):
            ShareableList([*ITEMS, wrong], name=NEW)


def attach_no_list(shm):
    shm.buf[:8] = b"\xff" * 8
    with suppress(ValueError):
        ShareableList(name=OLD)


def set_items(shm):
    """What does not fit changes nothing, whatever else goes wrong."""
    sl = list_in(shm)
    sl[0], sl[5], sl[6] = Fraction(1, 2), ITEMS[5][1:], b"\0"
    for wrong in [], 1 << 63, "x" * 300, "\ud800":
        with suppress(TypeError, struct.error, ValueError):
            sl[1] = wrong
    with suppress(IndexError):
        sl[99] = 1
    assert sl[1] == ITEMS[1]


def search_list(shm):
    sl = list_in(shm)
    assert sl.count(1) == 2 and sl.index(ITEMS[5]) == 5
    with suppress(ValueError):
        sl.index(7)


def look_into_list(shm):
    sl = list_in(shm)
    assert sl._get_packing_format(2) == "d"
    assert len(sl._allocated_offsets) == len(ITEMS) + 1 == sl._list_len + 1
    sl._set_packing_format_and_transform(0, "q", 1)
    with suppress(IndexError):
        sl._get_packing_format(99)


def seal_with_a_view(shm):
    memory = AnonymousMemory(SIZE)
    view = memory.buf[1:]
    with suppress(BufferError):
        memory.seal()
    view[0] = 7


def seal_with_a_peer(shm):
    """It is sealed all the same where the peer could only map it to read."""
    memory = AnonymousMemory(SIZE)
    fd = os.dup(memory.fileno())
    try:
        peer = AnonymousMemory.from_fd(fd)
    except BaseException:
        os.close(fd)
        raise
    with suppress(OSError):
        memory.seal()
    assert memory.buf[0] == peer.buf[0] == 0
    peer.close()


def readonly_handle(shm):
    memory = AnonymousMemory(SIZE)
    reader = memory.readonly_handle()
    memory.buf[0] = 7
    assert reader.buf[0] == 7


def come_and_go(shm):
    """Whatever goes wrong when they leave, they are gone."""
    first = SharedMemory(NEW, create=True, size=100, lifetime="users")
    second = SharedMemory(NEW)
    first.buf, first.grow(3 * SIZE)
    first.close()
    second.close()


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
    "create with a mode": lambda shm: SharedMemory(NEW, True, 9, mode=0o640),
    "create or attach": lambda shm: SharedMemory(
        NEW, create=True, size=100, exist_ok=True
    ),
    "attach or create": attach_or_create,
    "attach or create, too small": exist_ok_smaller,
    "attach to read": lambda shm: SharedMemory(OLD, readonly=True),
    "pickle a reader": lambda shm: pickle.loads(
        pickle.dumps(SharedMemory(OLD, readonly=True))
    ),
    "wait for what is there": lambda shm: SharedMemory(OLD, timeout=60),
    "wait in vain": wait_in_vain,
    "grow": lambda shm: shm.grow(3 * SIZE),
    "grow in pieces": lambda shm: shm.grow(LARGE),
    "grow with a view": lambda shm: (shm.buf, shm.grow(3 * SIZE)),
    "grow with a descriptor": lambda shm: (shm.fileno(), shm.grow(3 * SIZE)),
    "shrink": shrink,
    "refresh": refresh,
    "refresh in vain": lambda shm: shm.refresh(),
    "flush a part": lambda shm: shm.flush(100, 100),
    "populate": lambda shm: shm.populate(),
    "populate a reader": lambda shm: SharedMemory(
        OLD, readonly=True
    ).populate(),
    "write": lambda shm: shm.write(b"hello", 5),
    "write itself": lambda shm: shm.write(shm, 0),
    "readinto": lambda shm: shm.readinto(bytearray(100), 5),
    "create a file": lambda shm: MappedFile(NEW_PATH, True, 100),
    "create a file in pieces": lambda shm: MappedFile(NEW_PATH, True, LARGE),
    "create a sparse file": lambda shm: MappedFile(
        NEW_PATH, create=True, size=100, reserve=False
    ),
    "create a file, taken": create_file_taken,
    "attach to a file": lambda shm: MappedFile(OLD_PATH),
    "attach to a file, to read": lambda shm: MappedFile(
        OLD_PATH, readonly=True
    ),
    "attach to a file, missing": attach_file_missing,
    "attach to a file, wrong": attach_file_wrong,
    "grow a file": lambda shm: MappedFile(OLD_PATH).grow(LARGE),
    "refresh a file": refresh_file,
    "flush a file": lambda shm: MappedFile(OLD_PATH).flush(),
    "fileno of a file": lambda shm: MappedFile(OLD_PATH).fileno(),
    "pickle a file": lambda shm: pickle.loads(
        pickle.dumps(MappedFile(OLD_PATH))
    ),
    "repr of a file": lambda shm: repr(MappedFile(OLD_PATH)),
    "anonymous": lambda shm: AnonymousMemory(100),
    "anonymous in pieces": lambda shm: AnonymousMemory(LARGE),
    "anonymous, sparse": lambda shm: AnonymousMemory(100, reserve=False),
    "anonymous copy": lambda shm: AnonymousMemory(BIG).write(bytes(BIG)),
    "repr of anonymous": lambda shm: repr(AnonymousMemory(100)),
    "grow anonymous": grow_anonymous,
    "from_fd": take_over,
    "from_fd, wrong": take_over_what_cannot_be,
    "create a list": lambda shm: ShareableList(ITEMS, name=NEW),
    "create a long list": lambda shm: ShareableList([7] * 5000, name=NEW),
    "create a list of other numbers": lambda shm: ShareableList(
        (Fraction(1, 2), *ITEMS), name=NEW
    ),
    "create a list, taken": create_list_taken,
    "create a list, wrong": create_list_wrong,
    "attach to a list": list_in,
    "attach to no list": attach_no_list,
    "items of a list": lambda shm: list(list_in(shm)),
    "items of a list, set": set_items,
    "search a list": search_list,
    "format of a list": lambda shm: list_in(shm).format,
    "repr of a list": lambda shm: repr(list_in(shm)),
    "private names of a list": look_into_list,
    "pickle a list": lambda shm: pickle.loads(pickle.dumps(list_in(shm))),
    "seal": seal,
    "seal with a view": seal_with_a_view,
    "seal with a peer": seal_with_a_peer,
    "readonly_handle": readonly_handle,
    "users": come_and_go,
    **synchronizing.OPERATIONS,
    **channeling.OPERATIONS,
    **awaiting.OPERATIONS,
    **pooling.OPERATIONS,
    **queueing.OPERATIONS,
    "Lock in a file": lambda shm: Lock(MappedFile(OLD_PATH)),
}

# The name is found to be taken, whatever else went wrong, once that can be
# known; or any OSError is what was to be expected.
EXPECTING = {
    attach_or_create,
    create_file_taken,
    create_list_taken,
    create_taken,
    exist_ok_smaller,
    seal_with_a_peer,
}

# A descriptor that an object keeps is closed in them. One that cannot be told
# to be still ours is better left open than closed.
OWNERS = {
    close_with_descriptor,
    grow_anonymous,
    take_over,
    seal,
    seal_with_a_view,
    seal_with_a_peer,
    readonly_handle,
    *[
        OPERATIONS[name]
        for name in OPERATIONS
        if name.startswith(("anonymous", "repr of anon", "fileno of a file"))
    ],
    *[
        OPERATIONS[name]
        for name in [
            *synchronizing.OPERATIONS,
            *channeling.OPERATIONS,
            *awaiting.OPERATIONS,
            *pooling.OPERATIONS,
            *queueing.OPERATIONS,
            "Lock in a file",
        ]
    ],
}

# They let go of a name, which they leave to a sweep if they cannot find out
# whether anybody else has it. Others do when nothing fails any more.
LEAVERS = {
    OPERATIONS[name]
    for name in OPERATIONS
    if "by a name, " in name
    or (name.startswith("pickle") and name.endswith("by a name"))
    or name in channeling.OPERATIONS
    or name in awaiting.OPERATIONS
    or name in pooling.OPERATIONS
    or name in queueing.OPERATIONS
}

# What would take too long to do again and again, for pages alone.
SLOW = {
    "create in pieces",
    "grow in pieces",
    "create a file in pieces",
    "grow a file",
    "anonymous in pieces",
    "anonymous copy",
    "grow anonymous",
}


# A failed one has changed nothing.
GROW = {
    OPERATIONS[name]
    for name in OPERATIONS
    if name.startswith("grow") and name != "grow anonymous"
}


def held():
    """Names, descriptors and mappings, without the library's own."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    listdir, exists = os.listdir, os.path.exists  # hot
    descriptors = listdir("/proc/self/fd")
    return (
        {entry for entry in listdir("/dev/shm") if PREFIX in entry},
        set(listdir(WHERE)),
        [fd for fd in descriptors if exists(f"/proc/self/fd/{fd}")],  # still
        [
            line
            for line in maps
            if ("/dev/shm/" in line and "/dev/shm/.shmemext-" not in line)
            or "/memfd:" in line
        ],
    )


def attempt(
    operation,
    arm,
    disarm,
    may_leave=lambda: False,
    may_grow=lambda: False,
):
    """Runs an operation between arm() and disarm(). Returns the exception
    that came of it, or None, when everything balances."""
    before = held()
    shm = SharedMemory(OLD, create=True, size=SIZE)
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
    pooling.over()
    made = Path(f"/dev/shm/{NEW}")
    if made.exists():
        failed = error is not None or operation is refused_by_tracker
        assert not failed or may_leave(), f"{error!r} has left the name"
        made.unlink()
    if error is not None and operation in GROW and not may_grow():
        for grown in Path(f"/dev/shm/{OLD}"), OLD_FILE:
            assert not grown.exists() or grown.stat().st_size == SIZE, error
            assert not grown.exists() or grown.stat().st_blocks <= SIZE // 512
    if NEW_FILE.exists():
        assert error is None or may_leave(), f"{error!r} has left the file"
        NEW_FILE.unlink()
    os.truncate(OLD_FILE, SIZE)
    shm.close()
    Path(f"/dev/shm/{OLD}").unlink(missing_ok=True)
    del shm, result
    gc.collect(0)
    after = held()
    if may_leave():
        for fd in set(after[2]) - set(before[2]):
            os.close(int(fd))
        for name in after[0] - before[0]:  # which those were users of
            Path(f"/dev/shm/{name}").unlink()
        after = held()
    assert after == before, (error, before, after)
    return error


# The names must be told from those of other processes, and no tracker runs.
# These are functions in C: an interpreter that has no memory to enter one in
# Python may forget to say so.
shared_memory._make_filename = f"/{NEW}".__str__
_broadcasts.PREFIX = f"{PREFIX}-cast."
_pools.PREFIX = f"{PREFIX}-pool."
_queues.PREFIX = f"{PREFIX}-queue."
resource_tracker.register = str.removeprefix
resource_tracker.unregister = str.removeprefix

made = ShareableList(ITEMS)
LAYOUT = bytes(made.shm.buf)
made.shm.close()
made.shm.unlink()
DIRECTORY.mkdir()
register(shutil.rmtree, DIRECTORY)
OLD_FILE.write_bytes(bytes(SIZE))

# What is set up once is set up now.
for operation in OPERATIONS.values():
    error = attempt(operation, lambda: None, lambda: None)
    assert error is None or "MISSING" in os.environ, (operation, error)
