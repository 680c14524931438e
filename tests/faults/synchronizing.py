# SPDX-License-Identifier: MIT
"""Every operation of the synchronizers, for operations.py.

A name of one is made of the memory's. Who died is written into the memory: a
token that nobody has.
"""

import pickle
from contextlib import suppress
from threading import BrokenBarrierError

from shmemext import SharedMemory, _cells
from shmemext.synchronize import (
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
)

MOMENT = 1e-4  # seconds, which are slept all the same
WORD, SLOT = slice(8, 12), slice(64, 72)
DEAD, TORN = (12345).to_bytes(4, "little"), (1 << 30).to_bytes(4, "little")

KINDS = (
    *(Atomic, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock),
    *(RWLock, Semaphore),
)
WITH_CELLS = {
    "Lock": Lock,
    "RLock": RLock,
    "Semaphore": Semaphore,
    "BoundedSemaphore": BoundedSemaphore,
    "Event": Event,
    "Condition": Condition,
    "Barrier": lambda **where: Barrier(2, **where),
    "RWLock": RWLock,
}
TYPES = {**WITH_CELLS, "Atomic": Atomic}


def in_a_memory(cls):
    return lambda shm: cls(where=shm)


def by_a_name(cls):
    return lambda shm: cls(where=shm.name)


def come_and_go(cls):
    """Whatever goes wrong when it goes, it is gone."""

    def operation(shm):
        cls(where=shm.name)

    return operation


def without_a_place(cls):
    """In a memory that is made for it, and goes with it."""

    def operation(shm):
        others = _cells._open
        _cells._open = None
        try:
            return cls()
        finally:
            _cells._open = others

    return operation


def another_kind_by_a_name(shm):
    first = Lock(shm.name)
    with suppress(ValueError):
        Event(shm.name)
    return first


def segment_in_the_way(shm):
    """Of the name that a lock's would have."""
    with SharedMemory(
        f"shmemext-sync.{shm.name}", create=True, size=100, lifetime="users"
    ) as segment:
        with suppress(ValueError):
            Lock(shm.name)
        return segment


def bytes_in_use(shm):
    shm.buf[9] = 1
    with suppress(ValueError):
        Lock(shm)
    assert shm.buf[9] == 1 and not any(shm.buf[:8])


def another_kind(shm):
    event = Event(shm)
    for cls in Lock, RWLock:
        with suppress(ValueError):
            cls(shm)
    return event


def wrong_place(shm):
    for arguments, error in (
        ((SharedMemory(shm.name, readonly=True),), TypeError),
        ((shm, 32), ValueError),
        ((shm, 1 << 20), ValueError),
        ((shm.name, 64), ValueError),
        (("a/b",), OSError),
        ((7,), TypeError),
    ):
        with suppress(error):
            Lock(*arguments)


def acquire_and_release(lock):
    """Of any thread, then as in `with`."""
    assert lock.acquire() and lock.release() is None
    with lock:
        repr(lock)


def acquire_in_vain(shm):
    lock = Lock(shm)
    with lock:
        assert not lock.acquire(False)
        assert not lock.acquire(timeout=MOMENT)
    with suppress(ValueError):
        lock.release()


def read_and_write(shm):
    rw, other = RWLock(shm), RWLock(shm)
    with rw.read, rw.read:
        assert not other.write.acquire(timeout=MOMENT)
        repr(rw)
    with rw.write:
        assert not other.read.acquire(False)
        with suppress(RuntimeError):
            rw.read.acquire()


def wait_for_units(shm):
    semaphore = Semaphore(1, shm)
    limit = BoundedSemaphore(1, shm, 64)
    for each in semaphore, limit:
        with each:
            assert not each.acquire(timeout=MOMENT)
            repr(each)
    with suppress(ValueError):
        limit.release()


def wait_for_event(shm):
    event = Event(shm)
    assert not event.wait(MOMENT)
    event.set()
    assert event.wait() and event.is_set()
    event.clear()
    return repr(event)


def wait_for_condition(shm):
    condition = Condition(where=shm)
    with condition:
        condition.notify()
        assert not condition.wait(MOMENT)
        condition.notify_all()
        assert not condition.wait_for(int, MOMENT)
        return repr(condition)


def wait_without_its_lock(shm):
    """The lock is elsewhere, and is not held."""
    condition = Condition(Lock(shm), shm, 64)
    for method in condition.wait, condition.notify:
        with suppress(AssertionError):
            method()


def wait_at_barrier(shm):
    barrier = Barrier(1, int, where=shm)
    assert barrier.wait() == 0
    other = Barrier(2, where=shm, offset=Barrier.size_of(1))
    with suppress(BrokenBarrierError):
        other.wait(MOMENT)
    other.reset()
    other.abort()
    return repr(other)


MANY = 300  # a number beyond that Python has to make


def begin_to_wait(shm):
    """As a task does: with its lock, if that comes to nothing."""
    condition = Condition(where=shm)
    for _ in range(MANY):
        condition.acquire()
    try:
        slot, depth = condition._begin()
        assert condition._retake(depth)
        condition._leave(slot, True)
    finally:
        for _ in range(MANY):
            condition.release()


def come_to_barrier(shm):
    """As tasks do, which then go back."""
    count = MANY // 8  # of a place a visit has eight kinds
    visits = [None] * count
    barrier = Barrier(count + 1, where=shm)
    try:
        for i in range(count):
            visits[i] = barrier._stay(0)[1]
    finally:
        for visit in visits:
            if visit is not None:
                barrier._take_back(visit)
        assert barrier.n_waiting == 0


def wait_for_number(shm):
    number = Atomic(shm, 8, "I")
    assert not number.wait(0, MOMENT)
    number.store(1)
    assert number.add(1) == 1 and number.exchange(3) == 2
    assert number.compare_exchange(3, 4) == 3 and number.load() == 4
    assert number.wait(0) and number.notify() == number.notify_all() == 0
    for method in number.store, number.add:
        with suppress(OverflowError):
            method(1 << 64)
    return repr(number)


def torn(cls):
    """Is told of, and repaired."""

    def operation(shm):
        lock = cls(shm)
        shm.buf[WORD] = TORN
        with suppress(OwnerDied):
            lock.acquire()
        try:
            with lock.repair():
                raise KeyError
        except KeyError:
            pass
        with lock.repair() as was_torn:
            assert was_torn
        assert lock.consistent
        return repr(lock)

    return operation


def dead_holder(cls, **options):
    """What cannot be proven is alive."""

    def operation(shm):
        lock = cls(shm, **options)
        shm.buf[WORD] = DEAD
        with suppress(OwnerDied):
            lock.acquire(False)
        return repr(lock)

    return operation


def dead_slots(shm):
    limit = BoundedSemaphore(1, shm)
    shm.buf[SLOT] = DEAD + DEAD
    limit.acquire(False)
    return limit


def dead_party(shm):
    barrier = Barrier(2, where=shm)
    shm.buf[SLOT] = DEAD + DEAD
    with suppress(BrokenBarrierError):
        barrier.wait(0.01)
    return barrier


def pickled(make):
    return lambda shm: pickle.loads(pickle.dumps(make(shm)))


def pickled_that_is_gone(shm):
    state = pickle.dumps(Lock(shm))
    shm.buf[:8] = bytes(8)
    with suppress(ValueError):
        pickle.loads(state)


OPERATIONS = {
    **{f"{name} in a memory": in_a_memory(TYPES[name]) for name in TYPES},
    **{
        f"{name} by a name": by_a_name(WITH_CELLS[name]) for name in WITH_CELLS
    },
    **{
        f"{name} without a place": without_a_place(TYPES[name])
        for name in ("Lock", "Condition", "Barrier", "Atomic")
    },
    "Lock by a name, twice": lambda shm: (Lock(shm.name), Lock(shm.name)),
    "Lock by a name, let go": come_and_go(Lock),
    "Condition by a name, let go": come_and_go(Condition),
    "Lock by a name, of another kind": another_kind_by_a_name,
    "Lock by a name, of a segment": segment_in_the_way,
    "Lock in bytes in use": bytes_in_use,
    "Lock of another kind": another_kind,
    "Lock in a wrong place": wrong_place,
    "acquire a Lock": lambda shm: acquire_and_release(Lock(shm)),
    "acquire an RLock": lambda shm: acquire_and_release(RLock(shm)),
    "acquire a Condition": lambda shm: acquire_and_release(
        Condition(where=shm)
    ),
    "acquire in vain": acquire_in_vain,
    "read and write": read_and_write,
    "wait for units": wait_for_units,
    "wait for an Event": wait_for_event,
    "wait for a Condition": wait_for_condition,
    "wait without its lock": wait_without_its_lock,
    "wait at a Barrier": wait_at_barrier,
    "task at a Condition": begin_to_wait,
    "task at a Barrier": come_to_barrier,
    "wait for a number": wait_for_number,
    "torn Lock": torn(Lock),
    "torn RLock": torn(RLock),
    "torn RWLock": torn(lambda shm: RWLock(shm).write),
    "dead holder of a Lock": dead_holder(Lock),
    "dead holder of an RLock": dead_holder(RLock),
    "dead holder that is ignored": dead_holder(Lock, on_death="ignore"),
    "dead holder of an RWLock": dead_holder(lambda shm: RWLock(shm).write),
    "dead holder of a BoundedSemaphore": dead_slots,
    "dead party of a Barrier": dead_party,
    **{
        f"pickle {name} in a memory": pickled(in_a_memory(TYPES[name]))
        for name in ("Lock", "Condition", "Barrier", "RWLock", "Atomic")
    },
    "pickle Lock by a name": pickled(by_a_name(Lock)),
    "pickle Condition by a name": pickled(by_a_name(Condition)),
    "pickle Condition of a Lock by a name": pickled(
        lambda shm: Condition(Lock(shm), shm.name)
    ),
    "pickle Lock that is gone": pickled_that_is_gone,
}
