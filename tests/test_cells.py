# SPDX-License-Identifier: MIT
"""Lock() without a place: cells of a memory that the process has for them."""

import ctypes
import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import weakref
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import descriptors
from sync_children import places, say_places, take_places

from shmemext import AnonymousMemory, _cells, _shmemext
from shmemext.synchronize import Atomic, Lock, OwnerDied

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

METHODS = ["fork", "spawn", "forkserver"]
LARGE = min(1 << 40, sys.maxsize // 2 + 1)
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A memory of the test's own."""
    monkeypatch.setattr(_cells, "_open", None)


def ran(code, *args):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def take(size):
    count, offset, fd = _cells.take(size)
    assert fd == count.memory.fileno()
    return count.memory, offset


# --- Places


def test_thousands_under_a_small_limit():
    """A memory each ends at a thousand."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limit[1]))
    try:
        before = len(descriptors())
        locks = [Lock() for _ in range(5000)]
        # The memory's, and that of who looks whether others live.
        assert len(descriptors()) <= before + 2
        assert all(lock.acquire(block=False) for lock in locks)
        assert len({(id(one.memory), one.offset) for one in locks}) == 5000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


@pytest.mark.parametrize("size", [64, 128, 4096])
def test_places_do_not_overlap_and_fill_memories(size):
    places = [take(size) for _ in range(3 * (1 << 20) // size)]
    memories = {id(memory): memory for memory, _ in places}
    assert 3 <= len(memories) <= 4
    for memory in memories.values():
        offsets = [offset for one, offset in places if one is memory]
        assert min(offsets) == 64
        assert max(offsets) + size <= memory.size
        assert {offset % 64 for offset in offsets} == {0}
        assert all(
            after - before == size for before, after in pairwise(offsets)
        )


def test_place_that_is_larger_than_a_memory():
    memory, offset = take(3 << 20)
    assert offset + (3 << 20) <= memory.size


def test_memory_goes_with_its_last_one():
    lock = Lock()
    gone = weakref.ref(lock.memory)
    _cells._open = None
    gc.collect()
    assert gone() is not None
    del lock
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("count", [1, 63, 65, (1 << 20) - 1, 1 << 63, -1])
def test_hostile_count(count):
    """A peer may write what he likes: a place is always a place."""
    memory, _ = take(64)
    memory.buf[:8] = (count % (1 << 64)).to_bytes(8, sys.byteorder)
    other, offset = take(64)
    assert offset % 64 == 0
    assert 64 <= offset <= other.size - 64


@pytest.mark.parametrize("size", [0, -64, 63, 65, LARGE, sys.maxsize - 63])
def test_sizes_that_are_none(size):
    count = Atomic(AnonymousMemory(4096))
    assert _shmemext._take(count, size) is None
    count.memory.close()
    assert _shmemext._take(count, 64) == 64, "it is mapped"


def test_take_wants_a_memory_that_it_can_write_to():
    with pytest.raises(TypeError):
        _shmemext._take(AnonymousMemory(4096), 64)
    with pytest.raises(TypeError):
        _shmemext._identity(7)
    memory = AnonymousMemory(4096)
    memory.seal()
    assert _shmemext._take(Atomic(memory), 64) is None


def test_memory_that_a_program_has_closed():
    """It gives no place any more, and what is there goes on."""
    lock = Lock()
    lock.memory.close()
    other = Lock()
    assert other.memory is not lock.memory
    with lock, other:
        pass


def test_threads_get_different_places():
    places, start = [], threading.Barrier(8)

    def work():
        start.wait()
        mine = [take(64) for _ in range(2000)]
        places.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({(id(memory), offset) for memory, offset in places}) == 16000


def test_forked_children_get_different_places():
    """Of the memory that they share, all at the same time."""
    context = multiprocessing.get_context("fork")
    mine = [Lock() for _ in range(10)]
    pipes = [context.Pipe() for _ in range(4)]
    workers = [
        context.Process(target=take_places, args=(theirs, 1000), daemon=True)
        for _, theirs in pipes
    ]
    for one in workers:
        one.start()
    offsets = [one.offset for one in mine]
    for ours, _ in pipes:
        offsets += ours.recv()
    for one in workers:
        one.join()
    offsets += [Lock().offset for _ in range(10)]
    assert len(set(offsets)) == len(offsets) == 4020


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a sanitizer's malloc() may be locked for ever in a fork() beside "
    "threads",
)
def test_forks_while_threads_take():
    """At whatever moment: a child finds nothing of ours locked.

    Nor an object, since that which the threads share here, without knowing,
    is not locked at all: see the next. Without a GIL CPython hands an object's
    lock on to whoever has waited for a millisecond, also to a thread that is
    stopped for the fork, and has it locked in the child for ever.
    """
    over = threading.Event()

    def work():
        while not over.is_set():
            Lock()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    try:
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                with Lock():
                    os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        over.set()
        for one in threads:
            one.join()


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"),
    reason="with a GIL objects have no locks",
)
@pytest.mark.parametrize("cls", [Lock, Atomic])
@pytest.mark.parametrize("used", [False, True])
def test_place_in_a_memory_whose_object_is_locked(cls, used):
    """As a forked child may inherit it. `used`: other locks are there."""
    memory = Lock().memory
    ready, go, made = threading.Event(), [], []

    def work():
        first = cls()  # what is done once is done
        if not used:
            del first
        ready.set()
        while not go:
            pass
        made.append(cls())

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    begin = ctypes.pythonapi.PyCriticalSection_Begin
    end = ctypes.pythonapi.PyCriticalSection_End
    begin.argtypes = [ctypes.c_void_p, ctypes.py_object]
    end.argtypes = [ctypes.c_void_p]
    begin.restype = end.restype = None
    section = ctypes.create_string_buffer(64)
    # Whoever waits for anything lets go of such a lock meanwhile: so look.
    patience = time.monotonic() + 60
    begin(section, memory)
    go.append(True)
    while not made and time.monotonic() < patience:
        pass
    in_time = bool(made)
    end(section)
    thread.join()
    assert in_time
    assert made[0].memory is memory


@pytest.mark.parametrize("reused", [False, True])
def test_program_that_has_closed_all_descriptors(reused):
    """A daemon: what it had goes on, and what it makes then is elsewhere."""
    out = ran(
        """
        import os, sys
        from shmemext.synchronize import Lock
        kept = [Lock() for _ in range(3)]
        os.closerange(3, 100)
        files = [open("/dev/null") for _ in range(90)] if sys.argv[1] else []
        late = [Lock() for _ in range(3)]
        for one in [*kept, *late]:
            with one:
                pass
        same = {id(one.memory) for one in kept} & {id(x.memory) for x in late}
        print(len(same), all(os.fstat(f.fileno()).st_rdev for f in files))
        """,
        "yes" * reused,
    )
    assert out == "0 True\n"


def test_end_of_a_program_leaves_nothing():
    ran(
        """
        from shmemext.synchronize import Lock
        locks = [Lock() for _ in range(100)]
        for one in locks:
            one.acquire()
        """
    )


# --- Children


@pytest.mark.parametrize("method", METHODS)
def test_child_has_one_memory_of_many(method):
    """One mapping, the memory's descriptor and the party's."""
    context = multiprocessing.get_context(method)
    locks = [Lock() for _ in range(300)]
    ours, theirs = context.Pipe()
    child = context.Process(
        target=say_places, args=(theirs, locks), daemon=True
    )
    child.start()
    memories, mappings, files = ours.recv()
    # A forked child has what else its parent has.
    inherited = places(locks) if method == "fork" else (1, 1, 2)
    assert (memories, mappings) == inherited[:2]
    assert files <= inherited[2]
    ours.send(None)
    child.join()


def test_pickled_one_by_one_it_is_one_memory_where_it_arrives():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=collect, args=(theirs,), daemon=True)
    child.start()
    locks = [Lock() for _ in range(20)]
    for one in locks:
        ours.send(one)
    ours.send(None)
    memories, mappings, files = ours.recv()
    assert (memories, mappings) == (1, 1)
    assert files <= 2
    ours.send(None)
    child.join()


def collect(connection):
    say_places(connection, [*iter(connection.recv, None)])


def test_comes_back_as_what_it_was():
    """A lock that is sent home is one of the memory that is there."""
    lock = Lock()
    ours, theirs = multiprocessing.Pipe()
    ours.send(lock)
    copy = theirs.recv()
    assert copy.memory is lock.memory
    assert lock.acquire()
    assert not copy.acquire(block=False)


def test_comes_back_where_the_descriptor_is_gone():
    out = ran(
        """
        import multiprocessing, os
        from shmemext.synchronize import Lock
        lock = Lock()
        ours, theirs = multiprocessing.Pipe()
        ours.send(lock)
        os.close(lock.memory.fileno())
        copy = theirs.recv()
        print(copy.memory is lock.memory, lock.acquire(), copy.locked())
        """
    )
    assert out == "False True True\n"


def test_child_that_dies_is_told_of():
    lock = Lock()
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(OwnerDied):
        lock.acquire()
