# SPDX-License-Identifier: MIT
"""Locks and the like, with and without a memory."""

import asyncio
import threading
from typing import TYPE_CHECKING, assert_type

import shmemext
from shmemext import (
    AnonymousMemory,
    Atomic,
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    OwnerDied,
    RLock,
    RWLock,
    Semaphore,
    SharedMemory,
    synchronize,
)


class Counter:
    """A number and its lock, in one segment."""

    lock: Lock

    def __init__(self, shm: SharedMemory) -> None:
        self.lock = Lock(shm, on_death="raise")
        self.value = Atomic(shm, self.lock.size_of(), "I")

    def up(self) -> int:
        with self.lock as had:
            assert_type(had, bool)
            return self.value.add(1)


class Gate(Lock):
    """Subclasses are as good."""

    def passes(self) -> bool:
        return self.acquire(False)


def guarded(lock: Lock | RLock, shm: SharedMemory) -> bytes:
    try:
        with lock:
            return bytes(shm.buf[64:72])
    except OwnerDied as died:
        assert_type(died.pid, int | None)
        with lock.repair(timeout=5) as torn:
            assert_type(torn, bool)
            shm.buf[64:72] = bytes(8)
        raise


async def tasks(lock: Lock, event: Event, limit: BoundedSemaphore) -> bool:
    async with lock, limit:
        event.set()
    assert_type(await event.wait_async(), bool)
    had = await asyncio.wait_for(lock.acquire_async(), timeout=5)
    lock.release()
    return had


if __name__ == "__main__":
    shm = SharedMemory(create=True, size=4096)
    counter = Counter(shm)
    print(counter.up(), counter.up(), guarded(counter.lock, shm))
    print(asyncio.run(tasks(Lock(), Event(), BoundedSemaphore(2))))

    gate = Gate("typed-gate", mode=0o600)
    assert_type(gate.name, str | None)
    assert_type(gate.offset, int)
    print(gate.passes(), gate.locked(), gate.consistent)
    gate.release()

    own = RLock()
    print(own.acquire(timeout=1.5), own.acquire(True))
    print(own.acquire(True, None), own.acquire(block=False))
    flag = Event(shm, 128)
    print(flag.is_set(), flag.wait(0), flag.wait(timeout=0.01))
    units = Semaphore(3, shm, offset=192)
    print(units.acquire(), units.get_value())
    units.release(2)
    memory = AnonymousMemory(Barrier.size_of(parties=2))
    barrier = Barrier(2, action=None, timeout=1, where=memory)
    thread = threading.Thread(target=barrier.wait)
    thread.start()
    assert_type(barrier.wait(), int)
    thread.join()
    print(barrier.parties, barrier.n_waiting, barrier.broken)
    changed = Condition(own, waiters=2)
    with changed:
        assert_type(changed.wait_for(lambda: "reached", timeout=1), str)
        changed.notify()
        print(changed.wait(0.01))
    rw = RWLock("typed-config", readers=8)
    with rw.read:
        print(rw.read.locked(), rw.write.consistent)
    with rw.write.repair() as torn:
        print(torn)
    number = Atomic(type="q")
    assert_type(number.compare_exchange(0, 5), int)
    assert_type(number.wait(0, timeout=1), bool)
    assert_type(number.notify(), int)
    print(number.load(), number.exchange(6), number.notify_all())
    assert synchronize.Lock is shmemext.Lock
    shm.unlink()

if TYPE_CHECKING:
    Lock(5)  # E: arg-type
    Lock(shm, on_death="repair")  # E: arg-type
    Atomic("name")  # E: arg-type
    Atomic(type="d")  # E: arg-type
    gate.acquire(timeout="1")  # E: arg-type
    own.release(2)  # E: call-arg
    flag.acquire()  # E: attr-defined
    number + 1  # E: operator
    Barrier()  # E: call-arg
    Condition(threading.Lock())  # E: arg-type
    rw.acquire()  # E: attr-defined
    rw.read.repair()  # E: attr-defined
    Semaphore("name")  # E: arg-type
