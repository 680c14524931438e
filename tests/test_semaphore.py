# SPDX-License-Identifier: MIT
"""Semaphore and BoundedSemaphore, beside multiprocessing's."""

import asyncio
import errno
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import semaphore_children as children
from conftest import python

import shmemext
from shmemext import synchronize
from shmemext.synchronize import Atomic, BoundedSemaphore, Semaphore

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

MOST = 2**31 - 1
PATIENCE = 60
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
both_modules = pytest.mark.parametrize(
    "module", [multiprocessing, synchronize], ids=lambda m: m.__name__
)
both_types = pytest.mark.parametrize(
    "kind", [Semaphore, BoundedSemaphore], ids=lambda kind: kind.__name__
)
both_names = pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])


@pytest.fixture
def memory():
    with shmemext.AnonymousMemory(1 << 16) as made:
        yield made


def started(function, *arguments, method="fork"):
    context = multiprocessing.get_context(method)
    child = context.Process(target=function, args=arguments, daemon=True)
    child.start()
    return child


def holder(semaphore, count=1, method="fork"):
    """A process that has so many until it is killed."""
    ours, theirs = multiprocessing.get_context(method).Pipe()
    child = started(
        children.take_and_stay, semaphore, count, theirs, method=method
    )
    theirs.close()
    assert ours.recv() == "taken"
    return child


def kill(child):
    child.kill()
    child.join()


# As multiprocessing has it.


@both_modules
@both_names
def test_counts_down_and_up(module, kind):
    semaphore = getattr(module, kind)(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() is True
    assert semaphore.acquire(True, 1) is True
    assert semaphore.get_value() == 0
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(block=False) is False
    assert semaphore.acquire(timeout=0.01) is False
    assert semaphore.acquire(True, -1) is False
    assert semaphore.acquire(False, 5) is False
    assert semaphore.release() is None
    assert semaphore.get_value() == 1
    assert semaphore.acquire(True, None) is True


@both_modules
@both_names
def test_with_takes_and_gives_back(module, kind):
    semaphore = getattr(module, kind)()
    with semaphore as value:
        assert value is True
        assert semaphore.get_value() == 0
    assert semaphore.get_value() == 1
    with pytest.raises(KeyError), semaphore:
        raise KeyError
    assert semaphore.get_value() == 1


@both_modules
@both_names
def test_value_is_an_int_from_zero_on(module, kind):
    cls = getattr(module, kind)
    assert cls(0).acquire(False) is False
    assert cls(True).get_value() == 1
    for wrong in ("1", 1.0, None):
        with pytest.raises(TypeError):
            cls(wrong)
    for large in (2**31, 2**64, -(2**40)):
        with pytest.raises(OverflowError):
            cls(large)
    with pytest.raises(OSError) as caught:
        cls(-1)
    assert caught.value.errno == errno.EINVAL


@both_modules
def test_semaphore_counts_to_the_most_that_there_are(module):
    semaphore = module.Semaphore(MOST)
    text = "semaphore or lock released too many times"
    with pytest.raises(ValueError, match=text):
        semaphore.release()
    assert semaphore.get_value() == MOST
    assert semaphore.acquire()
    semaphore.release()
    assert semaphore.get_value() == MOST


@both_modules
def test_semaphore_is_released_beyond_its_value(module):
    semaphore = module.Semaphore(1)
    semaphore.release()
    assert semaphore.get_value() == 2


@both_modules
def test_bounded_semaphore_is_not(module):
    semaphore = module.BoundedSemaphore(1)
    text = "semaphore or lock released too many times"
    with pytest.raises(ValueError, match=text):
        semaphore.release()
    assert semaphore.get_value() == 1
    empty = module.BoundedSemaphore(0)
    with pytest.raises(ValueError, match=text):
        empty.release()


@both_modules
@both_names
def test_timeouts_that_are_no_numbers(module, kind):
    semaphore = getattr(module, kind)(1)
    semaphore.acquire()
    with pytest.raises(TypeError):
        semaphore.acquire(True, "1")
    assert semaphore.acquire(True, 1e-9) is False


# What multiprocessing has not.


@both_types
def test_locked(kind):
    semaphore = kind(1)
    assert semaphore.locked() is False
    with semaphore:
        assert semaphore.locked() is True
    assert kind(0).locked() is True


@both_types
def test_release_of_several(kind):
    semaphore = kind(3)
    for _ in range(3):
        semaphore.acquire(blocking=True)
    semaphore.release(2)
    semaphore.release(n=1)
    assert semaphore.get_value() == 3
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="n must be one or more"):
            semaphore.release(wrong)
    with pytest.raises(TypeError):
        semaphore.release("1")
    with pytest.raises(TypeError):
        semaphore.release(1, 2)
    with pytest.raises(TypeError):
        semaphore.release(m=1)
    assert semaphore.get_value() == 3


def test_release_of_too_many_gives_none_back():
    semaphore = Semaphore(1)
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release(MOST)
    assert semaphore.get_value() == 1
    semaphore.release(MOST - 1)
    assert semaphore.get_value() == MOST
    bounded = BoundedSemaphore(3)
    bounded.acquire()
    with pytest.raises(ValueError, match="not as many permits"):
        bounded.release(2)
    assert bounded.get_value() == 2


def test_bounded_semaphore_of_too_many_permits_names_the_other():
    assert BoundedSemaphore(4096).get_value() == 4096
    with pytest.raises(ValueError, match="at most 4096 permits"):
        BoundedSemaphore(4097)


def test_size_of():
    assert Semaphore.size_of() == 64
    assert BoundedSemaphore.size_of() == 128
    assert BoundedSemaphore.size_of(8) == 128
    assert BoundedSemaphore.size_of(value=9) == 192
    assert BoundedSemaphore.size_of(0) == 64
    with pytest.raises(ValueError, match="4096"):
        BoundedSemaphore.size_of(5000)


@both_types
def test_two_objects_at_one_place_are_one(kind, memory):
    first, second = kind(2, memory, 64), kind(2, memory, 64)
    first.acquire()
    assert second.get_value() == 1
    second.acquire()
    assert first.locked()
    assert memory.buf[64:66] == b"SX"


@both_types
def test_all_say_the_same_value(kind, memory):
    kept = kind(2, memory)
    with pytest.raises(ValueError, match="value=2"):
        kind(3, memory)
    other = BoundedSemaphore if kind is Semaphore else Semaphore
    with pytest.raises(ValueError, match=f"there is a {kind.__name__}"):
        other(2, memory)
    assert kept.get_value() == 2


@both_types
def test_bytes_that_are_somebodys_stay(kind, memory):
    memory.buf[100] = 1
    with pytest.raises(ValueError, match="in use"):
        kind(8, memory, 64)
    assert memory.buf[64:101] == bytes(36) + b"\1"
    with pytest.raises(ValueError, match="multiple of 64"):
        kind(1, memory, 8)
    with pytest.raises(ValueError, match="multiple of 64"):
        kind(1, memory, memory.size)


def test_permits_need_their_room(memory):
    offset = memory.size - BoundedSemaphore.size_of(8)
    assert BoundedSemaphore(8, memory, offset).get_value() == 8
    with pytest.raises(ValueError, match="192 bytes"):
        BoundedSemaphore(9, memory, memory.size - 128)


@both_types
def test_readonly_memory_is_refused(kind, name):
    with (
        shmemext.SharedMemory(name, True, 4096),
        shmemext.SharedMemory(name, readonly=True) as readonly,
        pytest.raises(TypeError, match="readonly"),
    ):
        kind(1, readonly)


@both_types
def test_repr_says_the_value(kind, memory):
    semaphore = kind(3, memory, 64)
    semaphore.acquire()
    assert repr(semaphore).startswith(f"<{kind.__name__} at 64 of ")
    assert "value 2" in repr(semaphore)


@both_types
def test_subclass(kind):
    class Mine(kind):
        pass

    semaphore = Mine(1)
    with semaphore:
        assert semaphore.locked()
    semaphore.mark = 1


# Threads and processes


@both_types
def test_waiting_thread_goes_on(kind):
    semaphore = kind(1)
    semaphore.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(semaphore.acquire, True, PATIENCE)
        time.sleep(0.05)
        assert not waiting.done()
        semaphore.release()
        assert waiting.result() is True


def test_several_units_wake_several():
    semaphore = Semaphore(0)
    with ThreadPoolExecutor(6) as pool:
        waiting = [
            pool.submit(semaphore.acquire, True, PATIENCE) for _ in range(6)
        ]
        time.sleep(0.05)
        semaphore.release(6)
        assert all(each.result() for each in waiting)
    assert semaphore.get_value() == 0


@methods
@both_types
def test_never_more_inside_than_permits(kind, method):
    semaphore, inside, most = kind(2), Atomic(), Atomic()
    workers = [
        started(children.work, semaphore, inside, most, 500, method=method)
        for _ in range(4)
    ]
    for worker in workers:
        worker.join(PATIENCE)
        assert worker.exitcode == 0
    assert inside.load() == 0
    assert 1 <= most.load() <= 2
    assert semaphore.get_value() == 2


@pytest.mark.parametrize("threads", [2, 8])
@both_types
def test_threads_never_more_inside_than_permits(kind, threads):
    semaphore, inside, most = kind(2), Atomic(), Atomic()
    with ThreadPoolExecutor(threads) as pool:
        for done in [
            pool.submit(children.work, semaphore, inside, most, 500)
            for _ in range(threads)
        ]:
            done.result()
    assert inside.load() == 0
    assert most.load() <= 2
    assert semaphore.get_value() == 2


@methods
def test_any_process_releases_a_semaphore(method):
    semaphore = Semaphore(0)
    child = started(children.signal, semaphore, 3, method=method)
    for _ in range(3):
        assert semaphore.acquire(timeout=PATIENCE)
    child.join(PATIENCE)
    assert semaphore.get_value() == 0


@methods
def test_only_its_holder_releases_a_permit(method):
    """multiprocessing lets anybody: here a Semaphore is for that."""
    semaphore = BoundedSemaphore(2)
    semaphore.acquire()
    ours, theirs = multiprocessing.get_context(method).Pipe()
    child = started(children.release_error, semaphore, theirs, method=method)
    error = ours.recv()
    assert "released too many times" in error
    assert "use a Semaphore" in error
    child.join(PATIENCE)
    assert semaphore.get_value() == 1

    theirs_too = multiprocessing.get_context(method).BoundedSemaphore(2)
    theirs_too.acquire()
    child = started(children.release_error, theirs_too, theirs, method=method)
    assert ours.recv() is None
    child.join(PATIENCE)
    assert theirs_too.get_value() == 2


def test_a_name(name):
    first, second = Semaphore(2, name), Semaphore(2, name)
    assert first.acquire()
    assert second.get_value() == 1
    with pytest.raises(ValueError, match="value=2"):
        Semaphore(1, name)
    permits = f"{name}-p"
    bounded = BoundedSemaphore(600, permits, mode=0o600)
    assert bounded.get_value() == 600
    assert bounded.name == permits


# Deaths


@both_modules
@both_names
def test_holder_is_killed(module, kind):
    """A unit of a Semaphore is lost here, too: it belonged to nobody."""
    semaphore = getattr(module, kind)(1)
    kill(holder(semaphore))
    comes_back = (module, kind) == (synchronize, "BoundedSemaphore")
    patience = PATIENCE if comes_back else 0.3
    assert semaphore.acquire(True, patience) is comes_back
    assert semaphore.acquire(False) is False


@methods
def test_permits_of_the_dead_come_back_at_once(method):
    semaphore = BoundedSemaphore(3)
    child = holder(semaphore, 2, method)
    assert semaphore.get_value() == 1
    kill(child)
    assert semaphore.get_value() == 3
    child = holder(semaphore, 3, method)
    assert semaphore.locked()
    assert semaphore.acquire(False) is False
    kill(child)
    assert semaphore.acquire(False) is True


def test_sleeping_waiters_have_the_permits_of_the_dead():
    semaphore = BoundedSemaphore(3)
    child = holder(semaphore, 3)
    with ThreadPoolExecutor(3) as pool:
        waiting = [
            pool.submit(semaphore.acquire, True, PATIENCE) for _ in range(3)
        ]
        time.sleep(0.1)
        assert not any(each.done() for each in waiting)
        kill(child)
        assert all(each.result() for each in waiting)


@methods
def test_permits_of_who_ended_normally_come_back(method):
    semaphore = BoundedSemaphore(2)
    child = started(children.take_and_end, semaphore, 2, method=method)
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert semaphore.acquire(timeout=PATIENCE)
    assert semaphore.acquire(timeout=PATIENCE)


def test_the_living_keep_their_permits():
    semaphore = BoundedSemaphore(2)
    child = holder(semaphore)
    semaphore.acquire()
    assert semaphore.acquire(timeout=0.3) is False
    assert semaphore.get_value() == 0
    kill(child)
    assert semaphore.get_value() == 1


def test_forked_child_has_no_permit_of_its_parents():
    semaphore = BoundedSemaphore(1)
    semaphore.acquire()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                semaphore.release()
            except ValueError:
                os.write(write, b"refused")
            os.write(write, b"%d" % semaphore.acquire(False))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 100) == b"refused0"
    os.close(read)
    semaphore.release()


def test_woken_waiter_that_is_killed_keeps_nobody_waiting():
    """One is woken and dies before it has its unit: another one has it."""
    semaphore = Semaphore(0)
    waiters = [started(children.take_and_end, semaphore, 1) for _ in range(8)]
    time.sleep(0.1)
    for waiter in waiters[:4]:
        waiter.kill()
    semaphore.release(4)
    for waiter in waiters[4:]:
        waiter.join(PATIENCE)
    assert [waiter.exitcode for waiter in waiters[4:]] == [0] * 4


# Signals, strange bytes, memory that goes


@both_types
def test_interrupted(kind):
    python(
        f"""
import signal, threading, time
from shmemext.synchronize import {kind.__name__}
semaphore = {kind.__name__}(1)
semaphore.acquire()
threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
try:
    semaphore.acquire()
except KeyboardInterrupt:
    pass
else:
    raise AssertionError
assert semaphore.get_value() == 0
semaphore.release()
assert semaphore.get_value() == 1
"""
    )


@both_types
def test_hostile_bytes(kind, memory):
    """Whatever is there: an answer within the timeout, and no crash."""
    semaphore = kind(5, memory, 64)
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            memory.buf[72 : 64 + kind.size_of()] = os.urandom(
                kind.size_of() - 8
            )

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(100):
            assert semaphore.acquire(timeout=0.001) in (True, False)
            with suppress(ValueError):
                semaphore.release()
            assert 0 <= semaphore.get_value() <= MOST
            repr(semaphore)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_memory_that_is_cut_short(kind, value):
    python(
        f"""
import os, subprocess, sys, threading, warnings
import shmemext
from shmemext.synchronize import {kind}
warnings.simplefilter("ignore")
shm = shmemext.SharedMemory(create=True, size=1 << 16)
semaphore = {kind}({value}, shm, 4096)
def cut():
    code = f"import os; os.truncate('/dev/shm/{{shm.name}}', 4096)"
    subprocess.run([sys.executable, "-c", code], check=True)
threading.Timer(0.1, cut).start() if {value} == 0 else cut()
for method in semaphore.acquire, semaphore.get_value, semaphore.release:
    try:
        print(method())
    except OSError as error:
        assert "cut short" in str(error), error
    else:
        raise AssertionError(method)
shm.unlink()
"""
    )


@both_types
def test_memory_that_is_closed_grown_and_unlinked(kind, name):
    shm = shmemext.SharedMemory(name, True, 4096)
    semaphore = kind(1, shm)
    shm.grow(1 << 16)
    with semaphore:
        shm.close()
        shm.unlink()
        assert semaphore.locked()
    assert semaphore.acquire(False)


# asyncio


@both_types
def test_async_with(kind):
    async def main():
        semaphore, inside, most = kind(2), 0, 0

        async def work():
            nonlocal inside, most
            async with semaphore:
                inside += 1
                most = max(inside, most)
                await asyncio.sleep(0.001)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(40)))
        assert most == 2
        assert semaphore.get_value() == 2

    asyncio.run(main())


@both_types
def test_cancelled_tasks_take_nothing_along(kind):
    async def main():
        semaphore = kind(2)
        got = 0

        async def work():
            nonlocal got
            await semaphore.acquire_async()
            try:
                await asyncio.sleep(0.001)
                got += 1
            finally:
                semaphore.release()

        tasks = [asyncio.create_task(work()) for _ in range(100)]
        await asyncio.sleep(0.005)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.wait_for(
            asyncio.gather(*tasks, return_exceptions=True), PATIENCE
        )
        assert got >= 66
        assert semaphore.get_value() == 2

    asyncio.run(main())


def test_task_has_the_permit_of_the_dead():
    async def main():
        semaphore = BoundedSemaphore(1)
        child = holder(semaphore)
        task = asyncio.create_task(semaphore.acquire_async())
        await asyncio.sleep(0.1)
        assert not task.done()
        child.kill()
        assert await asyncio.wait_for(task, PATIENCE) is True
        child.join()

    asyncio.run(main())
