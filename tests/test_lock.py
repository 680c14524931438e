# SPDX-License-Identifier: MIT
"""Lock and RLock, and what all synchronizers have from them."""

import asyncio
import contextlib
import errno
import gc
import multiprocessing
import os
import pickle
import random
import resource
import signal
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import descriptors, python
from test_subinterpreters import script

from shmemext import AnonymousMemory, MappedFile, SharedMemory
from shmemext.synchronize import Lock, OwnerDied, RLock

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

METHODS = ("fork", "spawn", "forkserver")
LONG = 30  # seconds, that nothing here takes


@pytest.fixture
def memory():
    with AnonymousMemory(1 << 16) as made:
        yield made


@pytest.fixture(params=[Lock, RLock])
def kind(request):
    return request.param


def in_child(function, *args):
    """What it makes of a forked child: its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if function(*args) is not False else 2
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def die(lock):
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def kill_holder(lock):
    """Which child it was, that died with the lock."""
    pid = os.fork()
    if pid == 0:
        die(lock)
    os.waitpid(pid, 0)
    return pid


# What it does.


def test_taken_and_given_back(kind, memory):
    lock = kind(memory)
    assert not lock.locked()
    assert lock.acquire() is True
    assert lock.locked()
    assert lock.release() is None
    with lock as value:
        assert value is True
        assert lock.locked()
    assert not lock.locked()


def test_held_by_another_process_is_not_to_be_had(kind, memory):
    lock = kind(memory)
    with lock:
        assert in_child(lambda: lock.acquire(False) is False) == 0
        assert in_child(lambda: lock.acquire(timeout=0.05) is False) == 0
        assert in_child(lambda: lock.acquire(True, -1) is False) == 0
    assert in_child(lambda: lock.acquire(timeout=LONG)) == 0


def test_lock_is_not_had_twice(memory):
    lock = Lock(memory)
    with lock:
        assert lock.acquire(False) is False
        assert lock.acquire(blocking=False) is False
        assert lock.acquire(False, 5) is False
        assert lock.acquire(timeout=0) is False


def test_rlock_is_had_as_often_as_its_thread_wants(memory):
    lock = RLock(memory)
    for _ in range(3):
        assert lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lock.acquire, False).result() is False
        for _ in range(3):
            lock.release()
        assert pool.submit(lock.acquire, False).result() is True
        assert lock.acquire(False) is False
        pool.submit(lock.release).result()


def test_any_thread_of_its_process_releases_a_lock(memory):
    lock = Lock(memory)
    lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock.release).result()
    assert not lock.locked()


@pytest.mark.parametrize(
    "arguments, error",
    [
        (((1, 2, 3), {}), TypeError),
        (((), {"wait": 1}), TypeError),
        (((True,), {"block": False}), TypeError),
        (((True, "soon"), {}), TypeError),
        (((True, float("nan")), {}), ValueError),
    ],
)
def test_arguments_of_acquire(kind, memory, arguments, error):
    args, names = arguments
    lock = kind(memory)
    with pytest.raises(error):
        lock.acquire(*args, **names)
    assert not lock.locked()


def test_timeout_beyond_all_years_is_for_ever(kind, memory):
    lock = kind(memory)
    for timeout in (1e300, float("inf"), 1 << 80):
        assert lock.acquire(True, timeout) is True
        lock.release()


# What is not for this process to release.


def test_free_one_is_released_too_often(memory):
    with pytest.raises(ValueError, match="released too many times"):
        Lock(memory).release()
    with pytest.raises(AssertionError, match="not owned by thread"):
        RLock(memory, 64).release()


def test_another_process_does_not_release_it(memory):
    lock = Lock(memory)

    def release():
        with pytest.raises(ValueError, match="use a Semaphore or an Event"):
            lock.release()

    with lock:
        assert in_child(release) == 0
        assert lock.locked()


def test_another_process_does_not_release_an_rlock(memory):
    lock = RLock(memory)

    def release():
        with pytest.raises(AssertionError):
            lock.release()
        return lock.acquire(False) is False

    with lock:
        assert in_child(release) == 0


# A holder that died.


def test_dead_holder_is_told_until_it_is_repaired(kind, memory):
    lock = kind(memory, 64)
    pid = kill_holder(lock)
    assert not lock.consistent
    assert f"process {pid}, died" in repr(lock)
    for acquire in (
        lock.acquire,
        lambda: lock.acquire(False),
        lambda: lock.acquire(timeout=LONG),
        lock.__enter__,
    ):
        with pytest.raises(OwnerDied, match="repair") as told:
            acquire()
        assert told.value.errno == errno.EOWNERDEAD
        assert told.value.pid == pid
        assert f"process {pid} died while it held" in str(told.value)
        assert f"{kind.__name__} at 64" in str(told.value)
    with lock.repair() as torn:
        assert torn is True
        assert lock.locked()
    assert lock.consistent
    with lock:
        pass


def test_others_are_told_too(kind, memory):
    lock = kind(memory)
    kill_holder(lock)

    def acquire():
        with pytest.raises(OwnerDied):
            lock.acquire()

    assert in_child(acquire) == 0
    acquire()
    assert in_child(acquire) == 0


def test_repair_that_fails_leaves_it_as_it_was(kind, memory):
    lock = kind(memory)
    kill_holder(lock)
    with pytest.raises(ZeroDivisionError), lock.repair():
        1 / 0  # noqa: B018
    with pytest.raises(OwnerDied):
        lock.acquire()
    with lock.repair():
        pass
    with pytest.raises(ZeroDivisionError), lock.repair() as torn:
        assert torn is False
        1 / 0  # noqa: B018
    assert lock.consistent


def test_who_dies_while_it_repairs_is_told_of(kind, memory):
    lock = kind(memory)
    kill_holder(lock)
    pid = os.fork()
    if pid == 0:
        with lock.repair():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(OwnerDied) as told:
        lock.acquire()
    assert told.value.pid == pid


def test_others_wait_while_it_is_repaired(kind, memory):
    lock = kind(memory)
    kill_holder(lock)
    with lock.repair():
        assert in_child(lambda: lock.acquire(False) is False) == 0
        assert in_child(lambda: lock.acquire(timeout=0.05) is False) == 0
    assert in_child(lambda: lock.acquire(timeout=LONG)) == 0


def test_repair_gives_up_in_time(kind, memory):
    lock = kind(memory)

    def repair():
        with (
            pytest.raises(TimeoutError, match=r"not to be had in 0\.05"),
            lock.repair(timeout=0.05),
        ):
            pass

    with lock:
        assert in_child(repair) == 0


def test_ignored_death_is_told_to_nobody(kind, memory):
    lock = kind(memory, on_death="ignore")
    for _ in range(3):
        kill_holder(lock)
        assert lock.acquire(False) is True
        lock.release()
    assert lock.consistent


def test_sleeper_has_it_when_its_holder_is_killed(kind, memory):
    lock = kind(memory, on_death="ignore")
    held, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        os.write(says, b"x")
        time.sleep(LONG)
        os._exit(1)
    os.read(held, 1)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(lock.acquire, timeout=LONG)
        time.sleep(0.05)
        assert not waits.done()
        os.kill(pid, signal.SIGKILL)
        assert waits.result() is True
    os.waitpid(pid, 0)
    os.close(held)
    os.close(says)


def test_stopped_holder_is_alive(kind, memory):
    lock = kind(memory)
    held, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        os.write(says, b"x")
        time.sleep(LONG)
        os._exit(1)
    os.read(held, 1)
    os.kill(pid, signal.SIGSTOP)
    assert lock.acquire(timeout=0.1) is False
    assert "alive" in repr(lock)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(OwnerDied):
        lock.acquire(timeout=LONG)
    os.close(held)
    os.close(says)


def test_object_that_goes_with_the_lock_held_is_a_death(memory):
    lock = Lock(memory)
    lock.acquire()
    del lock
    gc.collect()
    lock = Lock(memory)
    with pytest.raises(OwnerDied):
        lock.acquire()


# Processes.


def add(lock, memory, count):
    for _ in range(count):
        with lock:
            value = int.from_bytes(memory.buf[4096:4104], "little") + 1
            memory.buf[4096:4104] = value.to_bytes(8, "little")


@pytest.mark.parametrize("method", METHODS)
def test_children_exclude_each_other(kind, method):
    context = multiprocessing.get_context(method)
    with AnonymousMemory(8192) as memory:
        lock = kind(memory)
        workers = [
            context.Process(target=add, args=(lock, memory, 500))
            for _ in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        assert int.from_bytes(memory.buf[4096:4104], "little") == 2000


def test_threads_exclude_each_other(kind, memory):
    lock = kind(memory)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, [lock] * 4, [memory] * 4, [1000] * 4))
    assert int.from_bytes(memory.buf[4096:4104], "little") == 4000


def test_two_programs_that_know_a_name(kind, name):
    with SharedMemory(name, create=True, size=4096) as shm:
        lock = kind(shm, 128)
        with lock:
            code = """
                import sys, shmemext
                from shmemext import synchronize
                kind, name = sys.argv[1:]
                shm = shmemext.SharedMemory(name)
                lock = getattr(synchronize, kind)(shm, 128)
                print(lock.acquire(False), lock)
            """
            done = python(
                "\n".join(line.strip() for line in code.splitlines()),
                kind.__name__,
                name,
            )
            assert done.stdout.startswith("False")
            assert f"held by process {os.getpid()}, alive" in done.stdout
        shm.unlink()


def test_fork_while_it_is_held(kind, memory):
    """The parent's stays the parent's, also when the child ends."""
    lock = kind(memory)
    with lock:
        assert in_child(lambda: lock.acquire(False) is False) == 0
        assert lock.locked()
        assert lock.consistent
    with lock:
        pass


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a sanitizer's malloc() may be locked for ever in a fork() beside "
    "threads",
)
def test_fork_in_threads_while_others_lock(kind, memory):
    lock = kind(memory)
    over = threading.Event()

    def work():
        while not over.is_set():
            with lock:
                pass

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work) for _ in range(2)]
        for _ in range(20):
            status = in_child(lambda: lock.acquire(timeout=LONG))
            assert status == 0
            with lock.repair():  # the child has ended with it
                pass
        over.set()
        for one in working:
            assert isinstance(one.exception(), OwnerDied | None)


def test_exec_by_the_holder_is_its_end(kind, memory):
    lock = kind(memory)
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        os.execvp("sleep", ["sleep", str(LONG)])
    deadline = time.monotonic() + LONG
    while "died" not in repr(lock):
        assert time.monotonic() < deadline
    with pytest.raises(OwnerDied):
        lock.acquire()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def leave_everything():
    os.closerange(3, 4096)


def have_no_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    while True:
        try:
            os.dup(0)
        except OSError:
            return


def drop_the_user():
    os.setgid(65534)
    os.setuid(65534)


def change_the_root():
    os.makedirs("root", exist_ok=True)  # noqa: PTH103 (as the next two)
    os.chroot("root")
    os.chdir("/")


CHANGES = [leave_everything, have_no_descriptors]
if os.getuid() == 0:
    CHANGES += [drop_the_user, change_the_root]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["memory", "name"])
def test_forked_child_locks_whatever_it_has_given_up(
    kind, change, where, name, memory, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with SharedMemory(name, create=True, size=4096) as shm:
        lock = kind(memory if where == "memory" else shm)

        def use():
            change()
            if not lock.acquire(timeout=LONG):
                return False
            lock.release()
            return True

        assert in_child(use) == 0
        with lock:
            assert (
                in_child(lambda: (change(), lock.acquire(False))[1] is False)
                == 0
            )
        shm.unlink()


# Memory.


@pytest.mark.parametrize(
    "offset", [-64, 1, 63, 65536, 65536 - 63, sys.maxsize - 63]
)
def test_offset_is_in_the_memory_and_aligned(kind, memory, offset):
    with pytest.raises(ValueError, match="takes 64 bytes"):
        kind(memory, offset)


def test_last_place_of_a_memory(kind, memory):
    with kind(memory, 65536 - kind.size_of()):
        pass


@pytest.mark.parametrize("where", [3, b"name", 1.5, object()])
def test_where_is_a_memory_a_name_or_none(kind, where):
    with pytest.raises(TypeError, match="'where' is"):
        kind(where)


def test_offset_and_mode_are_of_what_has_them(kind, memory):
    with pytest.raises(ValueError, match="'offset' is of a memory"):
        kind(None, 64)
    with pytest.raises(ValueError, match="'offset' is of a memory"):
        kind("shmemext-test-lock", 64)
    with pytest.raises(ValueError, match="'mode' is of a name"):
        kind(memory, mode=0o600)


def test_closed_memory_has_none(kind):
    memory = AnonymousMemory(4096)
    memory.close()
    with pytest.raises(ValueError, match="is closed"):
        kind(memory)


def test_on_death_is_one_of_two(kind, memory):
    with pytest.raises(ValueError, match='"raise" or "ignore"'):
        kind(memory, on_death="steal")


def test_bytes_in_use_are_left_alone(kind, memory):
    for at in (0, 8, 63):
        memory.buf[:64] = bytes(64)
        memory.buf[at] = 7
        with pytest.raises(ValueError, match="are in use"):
            kind(memory)
        assert sum(memory.buf[:64]) == 7


def test_another_kind_version_or_parameter_is_refused(memory):
    Lock(memory)
    with pytest.raises(
        ValueError, match="there is a Lock already, and not an RLock"
    ):
        RLock(memory)
    with pytest.raises(ValueError, match=r"on_death='raise'.*'ignore'"):
        Lock(memory, on_death="ignore")
    memory.buf[3] += 1
    with pytest.raises(ValueError, match="another version"):
        Lock(memory)


def test_readonly_memory_has_none(kind, name):
    with SharedMemory(name, create=True, size=4096) as shm:
        with (
            SharedMemory(name, readonly=True) as reader,
            pytest.raises(TypeError, match="readonly"),
        ):
            kind(reader)
        shm.unlink()


def test_close_grow_and_unlink_disturb_nobody(kind, name):
    shm = SharedMemory(name, create=True, size=4096)
    lock = kind(shm)
    lock.acquire()
    shm.grow(1 << 20)
    assert in_child(lambda: lock.acquire(False) is False) == 0
    shm.unlink()
    shm.close()
    assert in_child(lambda: lock.acquire(False) is False) == 0
    lock.release()
    assert in_child(lambda: lock.acquire(False)) == 0


def test_memory_whose_name_is_gone_says_so(kind, name):
    with SharedMemory(name, create=True, size=4096) as shm:
        shm.unlink()
        with pytest.raises(FileNotFoundError, match="before unlink"):
            kind(shm)


def test_memory_attached_twice_is_one_to_its_process(name):
    with (
        SharedMemory(name, create=True, size=4096) as one,
        SharedMemory(name) as two,
    ):
        first, second = RLock(one), RLock(two)
        with first, second:
            pass
        with Lock(one, 64):
            assert Lock(two, 64).acquire(False) is False
        one.unlink()


def test_memory_cut_short_is_an_error(kind, name):
    with SharedMemory(name, create=True, size=8192) as shm:
        lock = kind(shm, 4096)
        os.truncate(f"/dev/shm/{name}", 4096)
        with pytest.warns(RuntimeWarning, match="cut short"):
            with pytest.raises(OSError, match="cut short"):
                lock.acquire()
            gc.collect()
        with pytest.raises(OSError, match="cut short"):
            kind(shm)
        shm.unlink()


def test_mapped_file(kind, tmp_path):
    with MappedFile(tmp_path / "file", True, 4096) as file:
        try:
            lock = kind(file)
        except OSError as error:
            assert error.errno == errno.ENOTSUP, error
            assert "file system" in str(error)
            return
        with lock:
            assert in_child(lambda: lock.acquire(False) is False) == 0


def test_one_descriptor_for_a_memory_and_none_without(kind, name):
    with SharedMemory(name, create=True, size=4096) as shm:
        before = descriptors()
        locks = [kind(shm, 64 * i) for i in range(16)]
        assert len(descriptors()) == len(before) + 1
        del locks
        gc.collect()
        assert descriptors() == before
        shm.unlink()


def test_random_words_are_no_more_than_a_lock_that_is_held(kind, memory):
    lock = kind(memory, on_death="ignore")
    draw = random.Random(1)
    for _ in range(300):
        memory.buf[8:64] = draw.randbytes(56)
        if lock.acquire(timeout=0.005):
            with contextlib.suppress(ValueError, AssertionError):
                lock.release()
        repr(lock)
        memory.buf[8:64] = bytes(56)
        with lock:
            pass


# Pickles.


def test_pickle_is_the_same_lock(kind, memory):
    shm = SharedMemory(create=True, size=4096)
    lock = kind(shm, 64, on_death="ignore")
    same = pickle.loads(pickle.dumps(lock))
    assert type(same) is kind
    assert same.offset == 64
    with lock:
        assert in_child(lambda: same.acquire(False) is False) == 0
    shm.unlink()
    shm.close()


def test_pickle_of_what_is_there_no_more(kind, name):
    with SharedMemory(name, create=True, size=4096) as shm:
        pickled = pickle.dumps(kind(shm))
        shm.buf[:64] = bytes(64)
        with pytest.raises(ValueError, match="not there any more"):
            pickle.loads(pickled)
        shm.unlink()


# Python.


def test_attributes(kind, memory):
    lock = kind(memory, 128)
    assert (lock.name, lock.memory, lock.offset) == (None, memory, 128)
    for name in ("name", "memory", "offset", "consistent"):
        with pytest.raises(AttributeError):
            setattr(lock, name, 1)
    assert repr(lock) == (
        f"<{kind.__name__} at 128 of anonymous memory: free>"
    )
    assert kind.size_of() == 64


def test_weak_references_and_circles(kind):
    memory = AnonymousMemory(4096)
    memory.lock = kind(memory)
    gone = weakref.ref(memory.lock)
    del memory
    gc.collect()
    assert gone() is None


def test_subclass(kind, memory):
    class Mine(kind):
        def __init__(self, *args, **names):
            self.more = 1

    lock = Mine(memory)
    with lock:
        assert lock.more == 1
        assert "Mine at 0" in repr(lock)


@pytest.mark.parametrize("release", [False, True])
def test_ctrl_c_ends_a_wait(kind, memory, release):
    lock = kind(memory)
    held, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock.acquire()
        os.write(says, b"x")
        time.sleep(LONG)
        os._exit(0)
    os.read(held, 1)
    main = threading.main_thread().ident
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        lock.acquire(timeout=LONG)
    timer.join()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(held)
    os.close(says)


def test_other_threads_run_while_one_waits(memory):
    lock = Lock(memory)
    lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(lock.acquire)
        time.sleep(0.02)
        lock.release()
        assert waits.result() is True


def test_subinterpreters_are_one_process():
    python(
        script(
            "",
            """
from shmemext import SharedMemory
from shmemext.synchronize import Lock
shm = SharedMemory(create=True, size=4096)
lock = Lock(shm)
with lock:
    run(f'''
from shmemext import SharedMemory
from shmemext.synchronize import Lock
shm = SharedMemory({shm.name!r}, track=False)
lock = Lock(shm)
assert lock.acquire(False) is False
assert "held here" in repr(lock)
''')
assert lock.acquire(False)
shm.unlink()
""",
        )
    )


# Tasks.


def test_task_has_it(kind, memory):
    lock = kind(memory)

    async def main():
        async with lock:
            assert lock.locked()
        assert await lock.acquire_async() is True
        lock.release()

    asyncio.run(main())
    assert not lock.locked()


def test_tasks_exclude_each_other(kind, memory):
    lock = kind(memory)
    inside = []

    async def task():
        async with lock:
            assert not inside
            inside.append(1)
            await asyncio.sleep(0)
            inside.pop()

    async def main():
        await asyncio.gather(*(task() for _ in range(50)))

    asyncio.run(main())


def test_lock_keeps_no_loop(kind, memory):
    lock = kind(memory)
    loops = weakref.WeakSet()

    async def task():
        loops.add(asyncio.get_running_loop())
        async with lock:
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(task(), task(), task())

    for _ in range(3):
        asyncio.run(main())
    gc.collect()
    assert not list(loops)


def test_cancelled_tasks_lose_nothing(kind, memory):
    lock = kind(memory)
    draw = random.Random(3)
    got, cancelled = [], []

    async def task():
        async with lock:
            got.append(1)
            await asyncio.sleep(draw.random() * 0.002)

    async def main():
        tasks = [asyncio.create_task(task()) for _ in range(300)]
        for one in tasks:
            if draw.random() < 0.4:
                await asyncio.sleep(draw.random() * 0.001)
                cancelled.append(one.cancel())
        _, stuck = await asyncio.wait(tasks, timeout=2 * LONG)
        assert not stuck

    asyncio.run(main())
    assert 300 - len(cancelled) <= len(got) <= 300
    assert lock.acquire(False)


def test_task_waits_for_another_process(kind, memory):
    lock = kind(memory)
    held, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        with lock:
            os.write(says, b"x")
            time.sleep(0.2)
        os._exit(0)
    os.read(held, 1)
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.01)

    async def main():
        ticking = asyncio.create_task(tick())
        async with asyncio.timeout(LONG):
            async with lock:
                pass
        ticking.cancel()

    asyncio.run(main())
    assert len(ticks) > 3
    os.waitpid(pid, 0)
    os.close(held)
    os.close(says)


def test_task_is_told_of_a_death(kind, memory):
    lock = kind(memory)
    kill_holder(lock)

    async def main():
        async with lock:
            pass

    with pytest.raises(OwnerDied):
        asyncio.run(main())
