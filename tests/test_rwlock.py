# SPDX-License-Identifier: MIT
"""RWLock: many readers or one writer, and whoever dies among them."""

import asyncio
import contextlib
import gc
import inspect
import multiprocessing
import os
import pickle
import random
import signal
import sys
import threading
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from test_lock import LONG, METHODS, in_child

from shmemext import AnonymousMemory, SharedMemory
from shmemext.synchronize import Lock, OwnerDied, RWLock

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

SIDES = ("read", "write")
SOON = 0.05  # seconds: for what nobody is to get


@pytest.fixture
def memory():
    with AnonymousMemory(1 << 16) as made:
        yield made


@pytest.fixture
def rw(memory):
    return RWLock(memory)


@pytest.fixture(params=SIDES)
def side(request, rw):
    return getattr(rw, request.param)


@contextlib.contextmanager
def child(function, *args):
    """A forked one that has called it, and then sleeps. Killed afterwards, if
    it still lives."""
    done, says = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function(*args)
            os.write(says, b"x")
            time.sleep(LONG)
        finally:
            os._exit(1)
    try:
        assert os.read(done, 1) == b"x"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(done)
        os.close(says)


def killed(function, *args):
    """Which child it was that was killed after that."""
    with child(function, *args) as pid:
        return pid


def wait_until(true):
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextlib.contextmanager
def thread(function, *args):
    """Runs it beside the block, and gives what says its outcome."""
    future = Future()

    def run():
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    runs = threading.Thread(target=run, daemon=True)
    runs.start()
    yield future
    runs.join(LONG)
    assert not runs.is_alive()


def have(lock):
    with lock:
        return True


# What it does.


def test_taken_and_given_back(side):
    assert not side.locked()
    assert side.acquire() is True
    assert side.locked()
    assert side.release() is None
    with side as value:
        assert value is True
        assert side.locked()
    assert not side.locked()
    assert side.consistent


def test_readers_share_it(rw):
    with rw.read, child(rw.read.acquire):
        assert rw.read.acquire(False) is True
        rw.read.release()
        assert in_child(lambda: rw.read.acquire(timeout=LONG)) == 0


def test_writer_has_it_alone(rw):
    with rw.write:
        for lock in (rw.read, rw.write):
            for arguments in ((False,), (True, SOON)):
                assert in_child(lambda: lock.acquire(*arguments) is False) == 0  # noqa: B023
    assert in_child(lambda: rw.write.acquire(timeout=LONG)) == 0


def test_reader_keeps_writers_out(rw):
    with rw.read:
        assert in_child(lambda: rw.write.acquire(False) is False) == 0
        assert in_child(lambda: rw.write.acquire(timeout=SOON) is False) == 0
        assert rw.read.acquire(timeout=LONG)  # the writer gave up
        rw.read.release()
    assert in_child(lambda: rw.write.acquire(timeout=LONG)) == 0


def test_writer_comes_before_readers_that_come_later(rw):
    with rw.read, thread(have, rw.write) as writes:
        wait_until(rw.write.locked)
        with thread(rw.read.acquire, False) as reads:
            assert reads.result() is False
        assert in_child(lambda: rw.read.acquire(timeout=SOON) is False) == 0
        assert not writes.done()
        rw.read.release()
        assert writes.result(LONG)
        rw.read.acquire()


def test_hungry_reader_comes_before_writers_that_never_rest(rw):
    stop = threading.Event()

    def write():
        while not stop.is_set():
            with rw.write:
                pass

    with child(lambda: threading.Thread(target=write, daemon=True).start()):
        for _ in range(20):
            assert rw.read.acquire(timeout=LONG)
            rw.read.release()


def test_more_readers_than_slots_wait(memory):
    rw = RWLock(memory, readers=2)
    with child(rw.read.acquire), child(rw.read.acquire):
        assert rw.read.acquire(False) is False
        assert rw.read.acquire(timeout=SOON) is False
    assert rw.read.acquire(timeout=LONG)
    rw.read.release()
    with child(rw.read.acquire), rw.read:
        assert in_child(lambda: rw.read.acquire(False) is False) == 0
        with thread(have, rw.read) as reads:
            time.sleep(SOON)
            assert not reads.done()
            rw.read.release()
            assert reads.result(LONG)
            rw.read.acquire()


# The same thread.


def test_reader_reads_again(rw):
    with rw.read, rw.read:
        assert in_child(lambda: rw.write.acquire(False) is False) == 0
    assert rw.write.acquire(False)
    rw.write.release()


def test_reader_reads_again_while_a_writer_waits(rw):
    with thread(lambda: 1), thread(time.sleep, 0):  # threads have numbers
        pass
    with rw.read, thread(have, rw.write) as writes:
        wait_until(rw.write.locked)
        for _ in range(3):
            assert rw.read.acquire(timeout=LONG)
        rw.read.release()
        rw.read.release()
        rw.read.release()
        assert not writes.done()
        rw.read.release()
        assert writes.result(LONG)
        rw.read.acquire()


def test_reader_reads_again_where_all_slots_are_taken(memory):
    rw = RWLock(memory, readers=1)
    with rw.read, rw.read:
        assert in_child(lambda: rw.read.acquire(False) is False) == 0
    with rw.write:
        pass


def test_reader_reads_again_eight_times_at_most_while_a_writer_waits(memory):
    rw = RWLock(memory, readers=1)
    for _ in range(8):
        rw.read.acquire()
    with pytest.raises(RuntimeError, match="wait for itself"):
        rw.read.acquire()
    for _ in range(8):
        rw.read.release()
    assert not rw.read.locked()


def test_reader_that_wants_to_write_would_wait_for_itself(rw):
    with rw.read:
        for arguments in ({}, {"timeout": LONG}):
            with pytest.raises(RuntimeError, match="wait for itself"):
                rw.write.acquire(**arguments)
        with pytest.raises(RuntimeError, match="itself"), rw.write.repair():
            pass
        assert rw.write.acquire(False) is False
        assert not rw.write.locked()
    assert rw.write.acquire(False)
    rw.write.release()


def test_reader_that_wants_to_write_does_not_wait_for_a_writer(rw):
    with rw.read, thread(have, rw.write) as writes:
        wait_until(rw.write.locked)
        with pytest.raises(RuntimeError, match="wait for itself"):
            rw.write.acquire()
        rw.read.release()
        assert writes.result(LONG)
        rw.read.acquire()


def test_writer_that_wants_it_again_would_wait_for_itself(rw, side):
    with rw.write:
        with pytest.raises(RuntimeError, match="wait for itself"):
            side.acquire()
        assert side.acquire(False) is False
        with thread(side.acquire, False) as other:
            assert other.result() is False
    assert side.acquire(False)
    side.release()


def test_other_thread_waits_for_a_reader_or_writer_of_its_process(rw, side):
    for first in (rw.write, rw.read):
        if first is rw.read and side is rw.read:
            continue
        with first, thread(have, side) as waits:
            time.sleep(SOON)
            assert not waits.done()
            first.release()
            assert waits.result(LONG)
            first.acquire()


# Who may release it.


def test_any_thread_of_its_process_releases_it(side):
    side.acquire()
    with thread(side.release) as releases:
        assert releases.result() is None
    assert not side.locked()
    assert side.acquire(False)
    side.release()


def test_free_one_is_released_too_often(side):
    with pytest.raises(ValueError):
        side.release()
    with side:
        pass
    with pytest.raises(ValueError):
        side.release()


def test_another_process_does_not_release_it(rw, side):
    def releases():
        with pytest.raises(ValueError):
            side.release()

    with side:
        assert in_child(releases) == 0
        assert side.locked()


def test_reader_is_released_by_the_object_that_acquired_it(memory):
    one, two = RWLock(memory), RWLock(memory)
    with one.read:
        with pytest.raises(ValueError, match="by this object"):
            two.read.release()
        assert two.write.acquire(False) is False
    assert two.write.acquire(False)
    one.write.release()


def test_child_does_not_have_what_its_parent_reads(rw):
    def reads():
        with rw.read:
            pass
        with pytest.raises(ValueError):
            rw.read.release()
        return rw.write.acquire(False) is False

    with rw.read:
        assert in_child(reads) == 0
    assert rw.write.acquire(False)
    rw.write.release()


# Deaths.


def test_dead_readers_are_forgotten(rw):
    pids = [os.getpid()]
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(child(rw.read.acquire)) for _ in range(48)]
        assert "48 readers" in repr(rw)
        assert rw.read.acquire(False) is False
        with thread(rw.write.acquire, True, LONG) as writes:
            wait_until(rw.write.locked)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert writes.result()
    assert rw.write.consistent
    rw.write.release()


def test_slots_of_dead_readers_are_free(memory):
    rw = RWLock(memory, readers=2)
    killed(rw.read.acquire)
    killed(rw.read.acquire)
    assert "2 readers, 2 of them dead" in repr(rw)
    assert rw.read.acquire(False)
    assert rw.read.acquire(timeout=LONG)
    rw.read.release()
    rw.read.release()
    assert repr(rw).endswith(": free>")


def test_writer_that_does_not_wait_has_it_from_dead_readers(rw):
    killed(rw.read.acquire)
    assert rw.write.acquire(False) is True
    rw.write.release()


def test_stopped_reader_is_alive(rw):
    with child(rw.read.acquire) as pid:
        os.kill(pid, signal.SIGSTOP)
        assert rw.write.acquire(timeout=0.3) is False


def test_dead_writer_is_told_until_it_is_repaired(rw, side):
    pid = killed(rw.write.acquire)
    for arguments in ((), (False,), (True, LONG)):
        with pytest.raises(OwnerDied, match=f"{pid} died") as raised:
            side.acquire(*arguments)
        assert raised.value.pid == pid
        assert "rw.write.repair()" in str(raised.value)
        assert not rw.read.locked()
        assert not rw.write.locked()
    assert not side.consistent
    with rw.write.repair() as torn:
        assert torn is True
        assert in_child(lambda: side.acquire(timeout=SOON) is False) == 0
    assert side.consistent
    with side:
        pass


def test_all_who_wait_are_told(rw, side):
    with child(rw.write.acquire) as pid, ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(side.acquire) for _ in range(4)]
        time.sleep(SOON)
        os.kill(pid, signal.SIGKILL)
        for wait in waits:
            with pytest.raises(OwnerDied):
                wait.result(LONG)


def test_writer_that_dies_while_it_waits_for_readers_is_told(rw):
    with rw.read:
        pid = os.fork()
        if pid == 0:
            rw.write.acquire()
            os._exit(1)
        wait_until(rw.write.locked)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with pytest.raises(OwnerDied):
        rw.read.acquire()
    with rw.write.repair() as torn:
        assert torn


def test_repair_waits_for_readers(rw):
    with child(rw.read.acquire):
        with pytest.raises(TimeoutError), rw.write.repair(SOON):
            pass
        assert rw.write.consistent
        assert rw.read.acquire(timeout=LONG)
        rw.read.release()
    with rw.write.repair() as torn:
        assert torn is False


def test_repair_that_fails_leaves_it_as_it_was(rw, side):
    killed(rw.write.acquire)
    with pytest.raises(ZeroDivisionError), rw.write.repair():
        raise ZeroDivisionError
    with pytest.raises(OwnerDied):
        side.acquire()
    with rw.write.repair():
        pass
    with side:
        pass


def test_who_dies_while_it_repairs_is_told_of(rw, side):
    killed(rw.write.acquire)
    pid = killed(lambda: rw.write.repair().__enter__())
    with pytest.raises(OwnerDied, match=f"{pid} died"):
        side.acquire()


def test_ignored_death_is_told_to_nobody(memory):
    rw = RWLock(memory, on_death="ignore")
    for lock in (rw.read, rw.write):
        for arguments in ((), (False,), (True, LONG)):
            killed(rw.write.acquire)
            assert lock.acquire(*arguments) is True
            assert lock.consistent
            lock.release()


def test_all_who_wait_have_it_when_a_death_is_ignored(memory):
    rw = RWLock(memory, on_death="ignore")
    with child(rw.write.acquire) as pid, ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(have, rw.read) for _ in range(3)]
        waits.append(pool.submit(have, rw.write))
        time.sleep(SOON)
        os.kill(pid, signal.SIGKILL)
        assert all(wait.result(LONG) for wait in waits)


def use(rw, shared, seed):
    """Two halves that only a writer makes differ. Counts what it wrote."""
    chance = random.Random(seed)
    while True:
        try:
            if chance.random() < 0.3:
                with rw.write:
                    shared[0] = (shared[0] + 1) % 256
                    shared[1] = shared[0]
            else:
                with rw.read:
                    assert shared[0] == shared[1]
        except OwnerDied:
            with rw.write.repair():
                shared[1] = shared[0]
        except AssertionError:
            shared[2] = 1
            raise


def test_storm_of_deaths_shows_nobody_half_written_bytes(memory):
    rw = RWLock(memory, 64, readers=3)
    shared = memory.buf[:3]
    chance = random.Random(7)
    pids = []
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        while len(pids) < 4:
            pid = os.fork()
            if pid == 0:
                try:
                    use(rw, shared, chance.random())
                finally:
                    os._exit(1)
            pids.append(pid)
        time.sleep(chance.random() * 0.01)
        pid = pids.pop(chance.randrange(len(pids)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert shared[2] == 0
    with rw.write.repair(LONG):
        pass
    shared.release()


# Processes and threads exclude each other.


def add(rw, memory, count):
    for _ in range(count):
        with rw.write:
            value = memory.buf[0] + 256 * memory.buf[1]
            memory.buf[0] = (value + 1) % 256
            memory.buf[1] = (value + 1) // 256
        with rw.read:
            assert memory.buf[0] + 256 * memory.buf[1]


@pytest.mark.parametrize("method", METHODS)
def test_children_exclude_each_other(method, name):
    context = multiprocessing.get_context(method)
    with SharedMemory(name, create=True, size=4096) as shm:
        rw = RWLock(shm, 64)
        children = [
            context.Process(target=add, args=(rw, shm, 200)) for _ in range(3)
        ]
        for process in children:
            process.start()
        for process in children:
            process.join()
            assert process.exitcode == 0
        assert shm.buf[0] + 256 * shm.buf[1] == 600
        shm.unlink()


def test_threads_exclude_each_other(memory):
    rw = RWLock(memory, 64)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(add, rw, memory, 500) for _ in range(4)]:
            done.result()
    assert memory.buf[0] + 256 * memory.buf[1] == 2000
    assert repr(rw).endswith(": free>")


def test_two_programs_that_know_a_name(name):
    rw, same = RWLock(name), RWLock(name)
    with rw.read:
        assert same.read.acquire(False)
        assert same.write.acquire(False) is False
        same.read.release()
    assert same.write.name == name
    with pytest.raises(ValueError, match="readers=48"):
        RWLock(name, readers=4)
    with pytest.raises(ValueError):
        Lock(name)


# Where it is.


@pytest.mark.parametrize("readers", [-1, 0, 4097, min(1 << 31, sys.maxsize)])
def test_readers_are_some(memory, readers):
    with pytest.raises(ValueError, match="1 to 4096"):
        RWLock(memory, readers=readers)
    with pytest.raises(ValueError, match="1 to 4096"):
        RWLock.size_of(readers)


@pytest.mark.parametrize("arguments", [{"readers": "2"}, {"reader": 2}])
def test_arguments_are_of_their_type(memory, arguments):
    with pytest.raises(TypeError):
        RWLock(memory, **arguments)


@pytest.mark.parametrize("readers, size", [(1, 128), (8, 128), (9, 192)])
def test_size_is_that_of_the_readers(readers, size):
    assert RWLock.size_of(readers) == RWLock.size_of(readers=readers) == size
    with AnonymousMemory(4096) as memory:
        RWLock(memory, 4096 - size, readers=readers)
        with pytest.raises(ValueError, match=f"takes {size} bytes"):
            RWLock(memory, 4096 - size + 64, readers=readers)
    assert RWLock.size_of() == 448


def test_most_readers(memory):
    rw = RWLock(memory, readers=4096)
    with rw.read, rw.read:
        assert in_child(lambda: rw.write.acquire(False) is False) == 0
    with rw.write:
        pass


def test_other_parameters_and_kinds_are_refused(memory):
    RWLock(memory, readers=4)
    for arguments in ({}, {"readers": 4, "on_death": "ignore"}):
        with pytest.raises(ValueError, match=r"RWLock\(readers=4"):
            RWLock(memory, **arguments)
    with pytest.raises(ValueError):
        Lock(memory)
    with pytest.raises(ValueError, match="'on_death'"):
        RWLock(memory, on_death="tell")


def test_slots_in_use_are_left_alone(memory):
    memory.buf[440] = 1
    with pytest.raises(ValueError, match="in use"):
        RWLock(memory)
    assert bytes(memory.buf[:440]) == bytes(440)
    RWLock(memory, readers=8)


def test_close_and_unlink_disturb_nobody(name):
    shm = SharedMemory(name, create=True, size=4096)
    rw = RWLock(shm)
    with rw.read:
        shm.close()
        shm.unlink()
        assert in_child(lambda: rw.write.acquire(False) is False) == 0
    with rw.write:
        pass


def test_memory_cut_short_is_an_error(name):
    with SharedMemory(name, create=True, size=8192) as shm:
        rw = RWLock(shm, 4096)
        os.truncate(f"/dev/shm/{name}", 4096)
        with pytest.warns(RuntimeWarning, match="cut short"):
            for lock in (rw.read, rw.write):
                with pytest.raises(OSError, match="cut short"):
                    lock.acquire()
            gc.collect()
        shm.unlink()


def test_random_words_are_no_more_than_a_lock_that_is_held(memory):
    rw = RWLock(memory, readers=4)
    chance = random.Random(3)
    head = bytes(memory.buf[:8])
    for _ in range(300):
        at = chance.choice([8, 16, 20, 24, 60, 64, 72, 80, 88])
        memory.buf[at : at + 4] = chance.randbytes(4)
        for lock in (rw.read, rw.write):
            try:
                if lock.acquire(chance.random() < 0.5, 0.002):
                    lock.release()
            except (OwnerDied, ValueError, RuntimeError):
                pass
        repr(rw)
        assert bytes(memory.buf[:8]) == head
        assert bytes(memory.buf[128:]).count(0) == len(memory.buf) - 128
        memory.buf[8:128] = bytes(120)
    with rw.write:
        pass


# The object.


def test_sides_are_the_same_each_time(rw):
    assert rw.read is rw.read
    assert rw.write is rw.write
    assert rw.read.memory is rw.write.memory is rw.memory
    assert rw.read.offset == rw.write.offset == rw.offset == 0
    for name in ("read", "write", "memory"):
        with pytest.raises(AttributeError):
            setattr(rw, name, None)


def test_it_is_no_lock_itself(rw):
    assert not hasattr(rw, "acquire")
    assert not hasattr(rw.read, "repair")
    with pytest.raises(TypeError):
        type(rw.read)()
    with pytest.raises(TypeError):
        type(rw.write)(rw)


def test_side_outlives_it(memory):
    read, write = RWLock(memory).read, RWLock(memory).write
    gc.collect()
    with read:
        assert write.acquire(False) is False
    with write:
        assert read.acquire(False) is False
    del read
    gc.collect()
    with write:
        pass


def test_pickle_is_the_same_lock(name):
    with SharedMemory(name, create=True, size=4096) as shm:
        rw = RWLock(shm, 64, readers=7)
        same = pickle.loads(pickle.dumps(rw))
        assert type(same) is RWLock
        with rw.read:
            assert same.write.acquire(False) is False
        with rw.write:
            assert same.read.acquire(False) is False
        for lock in (rw.read, rw.write):
            other = pickle.loads(pickle.dumps(lock))
            assert type(other) is type(lock)
            with rw.write:
                assert other.acquire(False) is False
            with other:
                assert lock.locked()
        shm.unlink()


def test_pickle_of_a_name(name):
    rw = RWLock(name, readers=5)
    same = pickle.loads(pickle.dumps(rw.write))
    with rw.read:
        assert same.acquire(False) is False


def test_repr_says_who_has_it(rw):
    assert repr(rw).endswith(": free>")
    with rw.read:
        assert repr(rw).endswith(": 1 reader here>")
    with child(rw.read.acquire):
        assert repr(rw).endswith(": 1 reader>")
        rw.read.acquire()
        assert repr(rw).endswith(": 2 readers>")
        rw.read.release()
    assert repr(rw).endswith(": 1 reader, 1 of them dead>")
    with rw.write:
        assert "held here" in repr(rw)
    with child(rw.write.acquire) as pid:
        assert f"held by process {pid}, alive" in repr(rw.write)
    assert f"process {pid}, died" in repr(rw.read)


def test_weak_references_and_circles(memory):
    class Own(RWLock):
        pass

    rw = Own(memory)
    rw.circle = [rw, rw.read, rw.write]
    gone = [weakref.ref(each) for each in rw.circle]
    del rw
    gc.collect()
    assert [each() for each in gone] == [None, None, None]


def test_signatures_are_the_locks():
    assert str(inspect.signature(RWLock)) == (
        "(where=None, offset=0, *, readers=48, on_death='raise', mode=None)"
    )
    for cls in (type(RWLock().read), type(RWLock().write)):
        for name in ("acquire", "release", "locked", "acquire_async"):
            method = getattr(cls, name)
            assert method.__doc__
            assert inspect.signature(method)


# Waiting.


@pytest.mark.parametrize(
    "holder, waiter",
    [("write", "read"), ("write", "write"), ("read", "write")],
)
def test_ctrl_c_ends_a_wait(rw, holder, waiter):
    """The last one has the word, and waits for a reader."""
    main = threading.main_thread().ident
    with child(getattr(rw, holder).acquire):
        timer = threading.Timer(
            0.1, signal.pthread_kill, (main, signal.SIGINT)
        )
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            getattr(rw, waiter).acquire(timeout=LONG)
        timer.join()
        if holder == "read":
            assert rw.read.acquire(timeout=LONG)
            rw.read.release()
    with rw.write.repair(LONG):
        pass


def test_signal_handler_may_use_what_is_waited_for(rw):
    """A writer that waits for readers lets go of it while it asks."""
    seen = []

    def handler(*_):
        seen.append(in_child(lambda: rw.read.acquire(timeout=LONG)))

    main = threading.main_thread().ident
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with child(rw.read.acquire):
            timer = threading.Timer(
                0.1, signal.pthread_kill, (main, signal.SIGUSR1)
            )
            timer.start()
            assert rw.write.acquire(timeout=0.5) is False
            timer.join()
        assert seen == [0]
    finally:
        signal.signal(signal.SIGUSR1, before)


# Tasks.


def test_tasks_share_it_or_have_it_alone(rw):
    async def main():
        async with rw.read:
            async with rw.read as value:
                assert value is True
            assert rw.write.acquire(False) is False
        async with rw.write as value:
            assert value is True
            assert rw.read.acquire(False) is False
        assert repr(rw).endswith(": free>")

    asyncio.run(main())


def test_task_that_writes_comes_before_readers_that_come_later(rw):
    async def main():
        await rw.read.acquire_async()
        writes = asyncio.create_task(rw.write.acquire_async())
        while not rw.write.locked():
            await asyncio.sleep(0.001)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rw.read.acquire_async(), SOON)
        assert not writes.done()
        rw.read.release()
        assert await asyncio.wait_for(writes, LONG)
        rw.write.release()

    asyncio.run(main())


def test_cancelled_tasks_lose_nothing(rw):
    async def use(chance):
        lock = rw.write if chance.random() < 0.3 else rw.read
        async with lock:
            await asyncio.sleep(chance.random() * 0.002)

    async def main():
        chance = random.Random(5)
        tasks = [asyncio.create_task(use(chance)) for _ in range(100)]
        for task in chance.sample(tasks, 40):
            await asyncio.sleep(0.002)
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done.count(None) >= 60
        assert repr(rw).endswith(": free>")

    asyncio.run(main())


def test_task_is_told_of_a_dead_writer_and_not_of_dead_readers(rw):
    async def main():
        killed(rw.read.acquire)
        async with rw.write:
            pass
        killed(rw.write.acquire)
        for lock in (rw.read, rw.write):
            with pytest.raises(OwnerDied):
                await lock.acquire_async()

    asyncio.run(main())


def test_task_that_writes_has_it_when_readers_are_killed(rw):
    async def main():
        with child(rw.read.acquire) as pid:
            writes = asyncio.create_task(rw.write.acquire_async())
            while not rw.write.locked():
                await asyncio.sleep(0.001)
            os.kill(pid, signal.SIGKILL)
            assert await asyncio.wait_for(writes, LONG)
        rw.write.release()

    asyncio.run(main())


def test_task_that_is_to_write_is_no_thread_that_writes(memory):
    """Whoever died as a writer was a thread, and ours may be called so."""
    rw, other = (RWLock(memory, on_death="ignore") for _ in range(2))
    killed(rw.write.acquire)

    async def write(begun):
        task = asyncio.ensure_future(rw.write.acquire_async())
        while not rw.write.locked():
            await asyncio.sleep(0.001)
        begun.set_result(None)
        await task
        rw.write.release()

    begun = Future()
    with ThreadPoolExecutor(1) as pool:
        with other.read:
            writes = pool.submit(asyncio.run, write(begun))
            begun.result(LONG)
            assert rw.read.acquire(timeout=SOON) is False
        writes.result(LONG)
