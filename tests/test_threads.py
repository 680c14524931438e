# SPDX-License-Identifier: MIT
"""SharedMemory in threads: the same objects, used at once.

The bytes are nobody's to guard, as in the stdlib; the objects are. Without a
GIL, and under ThreadSanitizer, this is where races would show.
"""

import os
import pickle
import sys
import sysconfig
import threading
import weakref
from contextlib import suppress

import kinds
import pytest
from conftest import DEV_SHM, descriptors, python, segments
from machine import wait_until

from shmemext import AnonymousMemory, SharedMemory

THREADS = 8
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def in_threads(*functions, barrier=None):
    """Runs each function in a thread of its own, all at once, and raises what
    the first of them raised. They may share a barrier."""
    barrier = barrier or threading.Barrier(len(functions))
    errors = []

    def run(function):
        try:
            barrier.wait()
            function()
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture(autouse=True)
def quick_switches():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def shm():
    shm = SharedMemory(create=True, size=5000)
    yield shm
    shm.close()
    shm.unlink(missing_ok=True)


@pytest.mark.skipif(not FREE_THREADED, reason="this build has a GIL")
def test_import_leaves_the_gil_disabled():
    done = python(
        "import sys, shmemext\nprint(sys._is_gil_enabled())",
        env={"PYTHON_GIL": ""},
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_objects_of_each_thread_are_its_own():
    def work():
        for turn in range(250):
            shm = SharedMemory(create=True, size=100, track=False)
            shm.buf[99] = turn
            again = SharedMemory(shm.name)
            assert again.buf[99] == turn
            again.close()
            shm.unlink()
            shm.close()

    before = descriptors()
    in_threads(*[work] * THREADS)
    assert descriptors() == before


def test_create_of_one_name_succeeds_once_at_a_time(name):
    made = []

    def work():
        for _ in range(500):
            with suppress(FileExistsError):
                shm = SharedMemory(name, create=True, size=10, track=False)
                assert shm.buf[0] == 0
                made.append(shm.buf)
                shm.buf[0] = 1
                shm.unlink()
                shm.close()

    in_threads(*[work] * THREADS)
    assert made
    assert not (DEV_SHM / name).exists()


def test_one_object_is_read_everywhere(shm):
    """All that reads: nothing may fail."""
    seen = set()
    fds = set()

    def work():
        for turn in range(250):
            seen.add(id(shm.buf))
            fds.add(shm.fileno())
            assert shm._fd >= 0
            assert len(memoryview(shm)) == shm.size == shm.buf.nbytes
            assert repr(shm) == f"SharedMemory({shm.name!r}, size=5000)"
            assert shm.buf[turn] == 0
            shm.note = turn
            assert weakref.ref(shm)() is shm
            pickle.loads(pickle.dumps(shm)).close()

    before = len(descriptors())
    in_threads(*[work] * THREADS)
    assert len(seen) == len(fds) == 1
    assert len(descriptors()) == before + 1


def write(shm):
    """Into a byte that no other thread touches: bytes are not guarded."""
    shm.buf[4000 + threading.get_ident() // 64 % 1000] = 1


# What each use of an object may raise when other threads close it and take
# its name away in the middle: nothing else is allowed.
USES = [
    (lambda shm: shm.buf[0], TypeError, ValueError),
    (write, TypeError, ValueError),
    (lambda shm: shm.buf[3:][0], TypeError, ValueError),
    (lambda shm: memoryview(shm)[0], ValueError),
    (lambda shm: bytes(memoryview(shm)[:99]), ValueError),
    (lambda shm: shm.fileno(), ValueError, FileNotFoundError),
    (lambda shm: shm._fd, FileNotFoundError),
    (lambda shm: shm._mmap.read(9), AttributeError, ValueError),
    (lambda shm: SharedMemory(shm.name).close(), FileNotFoundError),
    (lambda shm: setattr(shm, "_size", shm.size),),
    (lambda shm: shm.__reduce__(),),
    (repr,),
]

ENDS = {
    "close": [lambda shm: shm.close()],
    "unlink": [lambda shm: shm.unlink(missing_ok=True)],
    "both": [
        lambda shm: shm.close(),
        lambda shm: shm.unlink(missing_ok=True),
    ],
}


@pytest.mark.parametrize("end", ENDS)
def test_one_object_is_used_while_it_ends(end):
    """Who is in time works, who is late gets the documented error."""
    barrier = threading.Barrier(THREADS)
    objects = [
        SharedMemory(create=True, size=5000, track=False) for _ in range(200)
    ]

    def ender():
        for shm in objects:
            barrier.wait()
            for call in ENDS[end]:
                call(shm)

    def user(first):
        for shm in objects:
            barrier.wait()
            for call, *allowed in USES[first:] + USES[:first]:
                with suppress(*allowed):
                    call(shm)

    before = descriptors()
    # Each thread begins with another use, so that all meet all.
    users = [lambda i=2 * i: user(i) for i in range(THREADS - 2)]
    in_threads(ender, ender, *users, barrier=barrier)
    for shm in objects:
        shm.close()
        shm.unlink(missing_ok=True)
        assert (shm.buf, shm._mmap, shm._fd) == (None, None, -1)
    assert descriptors() == before


def test_views_live_while_every_thread_closes():
    def work():
        for shm, view in pairs:
            shm.close()
            view[threading.get_ident() // 64 % 5000] = 1

    pairs = []
    for _ in range(500):
        shm = SharedMemory(create=True, size=5000)
        shm.unlink()
        pairs.append((shm, shm.buf[:]))
    in_threads(*[work] * THREADS)
    for shm, view in pairs:
        assert shm.buf is None
        assert 1 <= sum(view) <= THREADS


def test_last_view_may_die_in_any_thread():
    def work():
        while True:
            try:
                view = views.pop()
            except IndexError:
                return
            view[0] = 1

    views = []
    for _ in range(600):
        with SharedMemory(create=True, size=2 << 20, reserve=False) as shm:
            shm.unlink()
            views += [memoryview(shm), memoryview(shm)]
        del shm
    in_threads(*[work] * THREADS)
    assert views == []


def test_one_object_is_attached_again_and_again(shm):
    """__init__ of an object that is open: the old mapping goes, its views
    stay."""

    peer = SharedMemory(shm.name)

    def again():
        for _ in range(500):
            peer.__init__(shm.name)

    def use():
        for _ in range(500):
            view = memoryview(peer)
            assert view[1] == peer.buf[1] == 0
            assert len(view) == 5000

    in_threads(*[again, use] * (THREADS // 2))
    peer.close()


def test_unlink_succeeds_once(name):
    removed = []

    def work():
        for shm in objects:
            with suppress(FileNotFoundError):
                shm.unlink()
                removed.append(shm.name)

    objects = [
        SharedMemory(f"{name}-{i}", create=True, size=1) for i in range(400)
    ]
    in_threads(*[work] * THREADS)
    assert sorted(removed) == sorted(shm.name for shm in objects)
    for shm in objects:
        shm.close()


def test_mmap_position_is_one_step(shm):
    """Reads of the file API hand out each byte once."""
    shm._mmap.write(bytes(i % 251 for i in range(5000)))
    shm._mmap.seek(0)
    parts = []

    def work():
        while part := shm._mmap.read(3):
            parts.append(part)

    in_threads(*[work] * THREADS)
    assert sum(map(len, parts)) == 5000
    assert sorted(b"".join(parts)) == sorted(bytes(shm.buf))


@pytest.fixture(params=kinds.KINDS)
def kind(request, tmp_path):
    with kinds.kind_of(request.param, tmp_path) as kind:
        yield kind


# The same for what all kinds of memory share. Bytes that are written here are
# never read here: they are not guarded.
KIND_USES = [
    (lambda memory: memory.buf[0], TypeError, ValueError),
    (lambda memory: memory.refresh(), ValueError),
    (lambda memory: memory.readinto(bytearray(100), 100), ValueError),
    (lambda memory: memory.write(b"", 100), ValueError),
    (lambda memory: memory.flush(), ValueError),
    (lambda memory: memory.populate(), ValueError),
    (lambda memory: memory.fileno(), ValueError),
    (lambda memory: len(memoryview(memory)), ValueError),
    (lambda memory: (memory.size, memory.readonly, repr(memory)),),
    (lambda memory: memory.buf[5000:][:0], TypeError, ValueError),
]


@pytest.mark.parametrize("ends", [False, True])
def test_one_memory_is_used_everywhere(kind, ends):
    """By threads that read it, refresh it and make it longer, while another
    one closes it or does not."""
    barrier = threading.Barrier(THREADS)
    memories = [kind.create(5000) for _ in range(40)]
    views = [memory.buf[:100] for memory in memories]
    before = len(descriptors())

    def ender():
        for memory in memories:
            barrier.wait()
            if ends:
                memory.close()

    def grower():
        for memory in memories:
            barrier.wait()
            for size in range(6000, 20_000, 1000):
                with suppress(ValueError):  # longer already, or closed
                    memory.grow(size)

    def user(first):
        for memory in memories:
            barrier.wait()
            for call, *allowed in KIND_USES[first:] + KIND_USES[:first]:
                with suppress(*(allowed if ends else ())):
                    call(memory)

    users = [lambda i=2 * i: user(i) for i in range(THREADS - 3)]
    in_threads(ender, grower, grower, *users, barrier=barrier)
    if not ends:
        assert {memory.size for memory in memories} == {19_000}
    for memory, view in zip(memories, views, strict=True):
        memory.close()
        assert memory.buf is None
        assert bytes(view) == bytes(100)
    kept = len(memories) if kind.name == "AnonymousMemory" else 0
    assert len(descriptors()) == before - kept


def test_views_of_every_size_while_others_grow(kind):
    """A view that was taken is as long as it was, and of the same bytes."""
    memory = kind.create(4096)
    stop = threading.Event()

    def grow():
        try:
            for size in range(8192, 1 << 20, 8192):
                memory.grow(size)
        finally:
            stop.set()

    def look(mark):
        while True:
            last = stop.is_set()
            buf = memory.buf
            assert len(buf) % 4096 == 0
            buf[mark] = 1
            assert buf[len(buf) - 1] == 0
            assert len(buf) <= memory.size
            if last:
                return

    in_threads(grow, *[lambda i=i: look(i) for i in range(1, THREADS)])
    assert memory.size == len(memory.buf) == (1 << 20) - 8192
    assert sum(memory.buf) == THREADS - 1


def test_writes_of_threads_land_where_they_belong(kind):
    memory = kind.create(THREADS * 100_000)

    def work(me):
        data = bytes([me + 1]) * 1000
        into = bytearray(1000)
        for offset in range(me * 100_000, (me + 1) * 100_000, 1000):
            assert memory.write(data, offset) == 1000
            assert memory.readinto(into, offset) == 1000
            assert into == data

    in_threads(*[lambda i=i: work(i) for i in range(THREADS)])
    for me in range(THREADS):
        part = memory.buf[me * 100_000 : (me + 1) * 100_000]
        assert bytes(part) == bytes([me + 1]) * 100_000


def test_sealing_while_others_look():
    """Sealed or not, never half: who wrote before has written."""

    def seal():
        for memory in memories:
            barrier.wait()
            with suppress(BufferError, OSError):
                memory.seal()

    def use(me):  # bytes of its own: nothing protects those that are shared
        for memory in memories:
            barrier.wait()
            with suppress(TypeError):
                memory.write(b"x", 100 + me)
            with suppress(TypeError, ValueError):
                memory.buf[200 + me] = 1
            with suppress(TypeError, OSError):
                memory.grow(8192)
            assert memory.buf[0] == 0

    barrier = threading.Barrier(THREADS)
    memories = [AnonymousMemory(4096) for _ in range(100)]
    users = [lambda me=me: use(me) for me in range(THREADS - 1)]
    in_threads(seal, *users, barrier=barrier)
    for memory in memories:
        assert memory.sealed == memory.readonly == memory.buf.readonly
        memory.seal()
        assert memory.sealed
        memory.close()


def test_one_thread_of_many_creates(name):
    """exist_ok: one has created, the others are in the same segment."""
    barrier = threading.Barrier(THREADS)
    made = []

    def work():
        for turn in range(50):
            barrier.wait()
            shm = SharedMemory(
                f"{name}-{turn}", create=True, size=100, exist_ok=True
            )
            made.append(shm)
            barrier.wait()
            shm.unlink(missing_ok=True)

    in_threads(*[work] * THREADS, barrier=barrier)
    assert sum(shm.created for shm in made) == 50
    for shm in made:
        shm.close()


@pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
def test_fork_while_threads_work():
    """The child of a fork uses what it has and opens what it wants, whatever
    other threads were at. An object that they use too it might find locked,
    without a GIL, and for ever: so they have their own."""
    stop = threading.Event()
    shm = SharedMemory(create=True, size=5000, track=False)

    def work():
        with SharedMemory(shm.name, track=False) as same:
            while not stop.is_set():
                one = SharedMemory(create=True, size=100, track=False)
                one.buf[0] = same.fileno() > 0
                one.unlink()
                one.close()

    def fork():
        try:
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    status = 1
                    with suppress(BaseException):
                        SharedMemory(shm.name).close()
                        shm.buf[0] += 1
                        shm.close()
                        status = 0
                    os._exit(status)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()

    in_threads(fork, *[work] * 3)
    assert shm.buf[0] == 20
    shm.close()
    shm.unlink()


def test_unlink_while_another_thread_makes_the_object_anew():
    """It strikes out what it has removed, not what the object has by then:
    that would have stayed for ever."""
    done = python("""
import sys, threading
from shmemext import SharedMemory

made = []
sys.addaudithook(
    lambda event, args: event == "shmemext.create" and made.append(args[0])
)
sys.setswitchinterval(1e-6)
shm = SharedMemory(create=True, size=100)
going = True

def unlink():
    while going:
        shm.unlink(missing_ok=True)

threads = [threading.Thread(target=unlink) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(3000):
    shm.__init__(create=True, size=100)
going = False
for thread in threads:
    thread.join()
print(*made)
""")
    made = set(done.stdout.split())
    assert len(made) > 3000
    wait_until(lambda: not made & segments())
