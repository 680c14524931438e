# SPDX-License-Identifier: MIT
"""Synchronizers in memory that somebody cuts short: who calls one, sleeps on
one or waits for one in a task gets an OSError, and nobody waits for ever."""

import asyncio
import os
import threading
import uuid

import pytest

from shmemext import SharedMemory
from shmemext.synchronize import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    RWLock,
    Semaphore,
)

PATIENCE = 10

pytestmark = pytest.mark.filterwarnings("ignore:.*cut short:RuntimeWarning")


@pytest.fixture
def shm():
    name = f"test-{uuid.uuid4().hex[:12]}"
    with SharedMemory(name, create=True, size=8192) as made:
        yield made
        made.unlink()


def cut(shm):
    os.truncate(f"/dev/shm/{shm.name}", 0)


def held(lock):
    assert lock.acquire()
    return lock


def other(kind, *args, **options):
    """Of the same bytes, so that it is not the same thread's twice."""
    return kind(*args, **options), kind(*args, **options)


def waits(condition):
    with condition:
        condition.wait()


def waits_to_write(shm):
    reader, writer = other(RWLock, shm)
    reader.read.acquire()
    return writer.write


def waits_to_read(shm):
    writer, reader = other(RWLock, shm)
    writer.write.acquire()
    return reader.read


def full(shm):
    one, two = other(RWLock, shm, readers=1)
    one.read.acquire()
    return two.read


SLEEPS = {
    "Lock": lambda shm: held(Lock(shm)).acquire,
    "RLock": lambda shm: held(RLock(shm)).acquire,
    "repair": lambda shm: held(Lock(shm)).repair().__enter__,
    "Semaphore": lambda shm: Semaphore(0, shm).acquire,
    "BoundedSemaphore": lambda shm: held(BoundedSemaphore(1, shm)).acquire,
    "Event": lambda shm: Event(shm).wait,
    "Barrier": lambda shm: Barrier(2, where=shm).wait,
    "write": lambda shm: waits_to_write(shm).acquire,
    "read": lambda shm: waits_to_read(shm).acquire,
    "full": lambda shm: full(shm).acquire,
}
CONDITIONS = {
    "Condition": lambda shm: Condition(where=shm),
    "its lock is elsewhere": lambda shm: Condition(Lock(), shm),
    "its lock": lambda shm: Condition(Lock(shm)),
}
for name, make in CONDITIONS.items():
    SLEEPS[name] = lambda shm, make=make: lambda: waits(make(shm))


@pytest.mark.parametrize("sleeps", SLEEPS)
def test_sleeper_is_told(shm, sleeps):
    call = SLEEPS[sleeps](shm)
    told = []

    def sleep():
        with pytest.raises(OSError, match="cut short") as caught:
            call()
        told.append(caught.value)

    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    cut(shm)
    thread.join(PATIENCE)
    assert told


TASKS = {
    "Lock": lambda shm: held(Lock(shm)).acquire_async,
    "Semaphore": lambda shm: Semaphore(0, shm).acquire_async,
    "BoundedSemaphore": lambda shm: (
        held(BoundedSemaphore(1, shm)).acquire_async
    ),
    "Event": lambda shm: Event(shm).wait_async,
    "Barrier": lambda shm: Barrier(2, where=shm).wait_async,
    "write": lambda shm: waits_to_write(shm).acquire_async,
    "read": lambda shm: waits_to_read(shm).acquire_async,
}


async def waits_async(condition):
    async with condition:
        await condition.wait_async()


for name, make in CONDITIONS.items():
    TASKS[name] = lambda shm, make=make: lambda: waits_async(make(shm))


@pytest.mark.parametrize("waits", TASKS)
def test_task_is_told(shm, waits):
    call = TASKS[waits](shm)

    async def main():
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.1)
        assert not task.done()
        cut(shm)
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        assert done
        with pytest.raises(OSError, match="cut short"):
            await task

    asyncio.run(main())


CALLS = {
    Lock: ["release", "locked"],
    RLock: ["release", "locked"],
    Semaphore: ["release", "locked", "get_value"],
    BoundedSemaphore: ["release", "locked", "get_value"],
    Event: ["set", "clear", "is_set"],
    Condition: ["release", "locked", "notify", "notify_all"],
}


@pytest.mark.parametrize("kind", CALLS)
def test_all_calls_say_so(shm, kind):
    made = kind(where=shm)
    if hasattr(made, "acquire"):
        held(made)
    cut(shm)
    for call in CALLS[kind]:
        with pytest.raises(OSError, match="cut short"):
            getattr(made, call)()
    assert "cut short" in repr(made)


@pytest.mark.parametrize("side", ["read", "write"])
def test_both_sides_say_so(shm, side):
    lock = held(getattr(RWLock(shm), side))
    cut(shm)
    for call in (lock.locked, lock.release):
        with pytest.raises(OSError, match="cut short"):
            call()
    with pytest.raises(OSError, match="cut short"):
        _ = lock.consistent
    assert "cut short" in repr(lock)


def test_event_that_is_asked_now_and_then_says_so(shm):
    event = Event(shm)
    cut(shm)
    with pytest.raises(OSError, match="cut short"):
        event.wait(0)


def test_end_of_a_repair_says_so(shm):
    with pytest.raises(OSError, match="cut short"), Lock(shm).repair():
        cut(shm)


def test_barrier_says_so(shm):
    barrier = Barrier(2, where=shm)
    cut(shm)
    for call in (barrier.abort, barrier.reset):
        with pytest.raises(OSError, match="cut short"):
            call()
    for value in ("broken", "n_waiting"):
        with pytest.raises(OSError, match="cut short"):
            getattr(barrier, value)
