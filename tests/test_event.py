# SPDX-License-Identifier: MIT
"""Event, beside multiprocessing's."""

import asyncio
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import semaphore_children as children
from conftest import python

import shmemext
from shmemext import synchronize
from shmemext.synchronize import Event, Lock

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

PATIENCE = 60
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
both_modules = pytest.mark.parametrize(
    "module", [multiprocessing, synchronize], ids=lambda m: m.__name__
)


@pytest.fixture
def memory():
    with shmemext.AnonymousMemory(4096) as made:
        yield made


def waiting(function, *arguments, method="fork"):
    """A child that has begun to, and what it says afterwards."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    child = context.Process(
        target=function, args=(*arguments, theirs), daemon=True
    )
    child.start()
    theirs.close()
    assert ours.recv() == "here"
    return child, ours


# As multiprocessing has it.


@both_modules
def test_set_and_clear(module):
    event = module.Event()
    assert event.is_set() is False
    assert event.wait(0) is False
    assert event.wait(-1) is False
    assert event.wait(timeout=0.01) is False
    assert event.set() is None
    assert event.is_set() is True
    assert event.wait() is True
    assert event.wait(None) is True
    assert event.wait(-1) is True
    event.set()
    assert event.clear() is None
    assert event.is_set() is False
    event.clear()
    assert event.wait(0.001) is False


@both_modules
def test_arguments(module):
    event = module.Event()
    with pytest.raises(TypeError):
        event.wait("1")
    with pytest.raises(TypeError):
        event.wait(1, 2)
    with pytest.raises(TypeError):
        event.wait(seconds=1)
    with pytest.raises(TypeError):
        event.set(1)


@both_modules
def test_threads_that_wait_go_on(module):
    event = module.Event()
    with ThreadPoolExecutor(5) as pool:
        waiters = [pool.submit(event.wait, PATIENCE) for _ in range(5)]
        time.sleep(0.1)
        assert not any(waiter.done() for waiter in waiters)
        event.set()
        assert all(waiter.result() for waiter in waiters)


@methods
def test_processes_that_wait_go_on(method):
    event = Event()
    started = [
        waiting(children.wait_and_report, event, method=method)
        for _ in range(3)
    ]
    event.set()
    for child, answer in started:
        assert answer.recv() is True
        child.join(PATIENCE)


@methods
def test_a_child_sets_it(method):
    event = Event()
    context = multiprocessing.get_context(method)
    child = context.Process(target=children.set_event, args=(event,))
    child.start()
    assert event.wait(PATIENCE) is True
    child.join(PATIENCE)


# What multiprocessing has not.


def test_set_and_clear_at_once_reach_who_waits():
    """multiprocessing's waiters look whether it is set, and it is not."""
    event = Event()
    with ThreadPoolExecutor(5) as pool:
        waiters = [pool.submit(event.wait, PATIENCE) for _ in range(5)]
        time.sleep(0.1)
        event.set()
        event.clear()
        assert all(waiter.result() for waiter in waiters)
    assert event.wait(0) is False


@pytest.mark.parametrize("module", ["multiprocessing", "shmemext.synchronize"])
def test_set_after_a_waiter_was_killed(module):
    """multiprocessing waits for the dead one to say that it has woken."""
    done = python(
        f"""
import multiprocessing, os, threading, time
from {module} import Event
multiprocessing.set_start_method("fork")
event = Event()
child = multiprocessing.Process(target=event.wait)
child.start()
time.sleep(0.3)
child.kill()
child.join()
setter = threading.Thread(target=event.set, daemon=True)
setter.start()
setter.join(60 if "shmemext" in {module!r} else 1)
print("hangs" if setter.is_alive() else "returns", flush=True)
os._exit(0)
"""
    )
    hangs = module == "multiprocessing"
    assert done.stdout == ("hangs\n" if hangs else "returns\n")


def test_the_others_go_on_when_a_waiter_is_killed():
    event = Event()
    started = [waiting(children.wait_and_report, event) for _ in range(4)]
    time.sleep(0.1)
    for child, _ in started[:2]:
        child.kill()
    event.set()
    for child, answer in started[2:]:
        assert answer.recv() is True
        child.join(PATIENCE)


def test_who_sets_it_is_killed_before_it_wakes_anybody(memory):
    """As if: the word says that it is set, and nobody was woken."""
    event = Event(memory)
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(event.wait, PATIENCE)
        time.sleep(0.1)
        word = int.from_bytes(memory.buf[8:12], sys.byteorder)
        memory.buf[8:12] = (word + 4 | 1).to_bytes(4, sys.byteorder)
        assert waiter.result() is True


def test_it_was_set_and_cleared_before_who_waits_looks(memory):
    """As if: the word says that it was set once more, and is clear."""
    event = Event(memory)
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(event.wait, PATIENCE)
        time.sleep(0.1)
        word = int.from_bytes(memory.buf[8:12], sys.byteorder)
        memory.buf[8:12] = (word + 4 & ~3).to_bytes(4, sys.byteorder)
        assert waiter.result() is True
    assert not event.is_set()


def test_two_objects_at_one_place_are_one(memory):
    first, second = Event(memory, 64), Event(memory, 64)
    first.set()
    assert second.is_set()
    assert Event.size_of() == 64
    with pytest.raises(ValueError, match="there is an Event"):
        Lock(memory, 64)
    with pytest.raises(ValueError, match="multiple of 64"):
        Event(memory, 4096)


def test_a_name(name):
    first, second = Event(name), Event(name)
    first.set()
    assert second.is_set()
    assert first.name == name


def test_readonly_memory_is_refused(name):
    with (
        shmemext.SharedMemory(name, True, 4096),
        shmemext.SharedMemory(name, readonly=True) as readonly,
        pytest.raises(TypeError, match="readonly"),
    ):
        Event(readonly)


def test_repr(memory):
    event = Event(memory, 128)
    assert repr(event) == "<Event at 128 of anonymous memory: unset>"
    event.set()
    assert repr(event) == "<Event at 128 of anonymous memory: set>"


def test_interrupted():
    python(
        """
import signal, threading
from shmemext.synchronize import Event
event = Event()
threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
try:
    event.wait()
except KeyboardInterrupt:
    pass
else:
    raise AssertionError
event.set()
assert event.wait()
"""
    )


def test_memory_that_is_cut_short():
    """Also under one who waits, to whom zeros are an event that is unset."""
    python(
        """
import subprocess, sys, threading, warnings
import shmemext
from shmemext.synchronize import Event
warnings.simplefilter("ignore")
shm = shmemext.SharedMemory(create=True, size=1 << 16)
event = Event(shm, 4096)
def cut():
    code = f"import os; os.truncate('/dev/shm/{shm.name}', 4096)"
    subprocess.run([sys.executable, "-c", code], check=True)
threading.Timer(0.1, cut).start()
for method in event.wait, event.wait, event.is_set, event.set, event.clear:
    try:
        method()
    except OSError as error:
        assert "cut short" in str(error), error
    else:
        raise AssertionError(method)
shm.unlink()
"""
    )


def test_hostile_bytes(memory):
    event = Event(memory)
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            memory.buf[8:64] = os.urandom(56)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(100):
            assert event.wait(0.001) in (True, False)
            event.set()
            event.clear()
    finally:
        stop.set()
        thread.join()


# asyncio


def test_tasks_that_wait_go_on():
    async def main():
        event = Event()
        tasks = [asyncio.create_task(event.wait_async()) for _ in range(50)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in tasks)
        for task in tasks[::3]:
            task.cancel()
        event.set()
        event.clear()
        for task in tasks:
            if not task.cancelled() and not task.cancelling():
                assert await asyncio.wait_for(task, PATIENCE) is True
        event.set()
        assert await event.wait_async() is True

    asyncio.run(main())


def test_task_that_waits_in_vain():
    async def main():
        event = Event()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait_async(), 0.05)
        event.set()
        assert await event.wait_async()

    asyncio.run(main())
