# SPDX-License-Identifier: MIT
"""What docs/differences.md says of locks and the others, on both modules.

What becomes of them when somebody is killed is in the tests of each."""

import copy
import math
import multiprocessing
import os
import pickle
import sys
import threading
from decimal import Decimal

import pytest
from synchronizers import held, result

from shmemext import synchronize as ours

KINDS = [
    *["Lock", "RLock", "Semaphore", "BoundedSemaphore"],
    *["Event", "Condition", "Barrier"],
]


@pytest.fixture(params=[multiprocessing, ours], ids=["stdlib", "ours"])
def module(request):
    return request.param


def make(module, kind):
    return getattr(module, kind)(*[2] * (kind == "Barrier"))


def in_a_child(call):
    """What it comes to in a forked one: 0 for a value, 1 for ValueError."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            call()
            code = 0
        except ValueError:
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("kind", ["Lock", "BoundedSemaphore"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_only_who_has_it_may_release_it(module, kind):
    lock = held(getattr(module, kind)())
    assert in_a_child(lock.release) == (module is ours)
    assert lock.acquire(False) is (module is not ours)
    assert lock.release() is None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_anybody_may_release_a_semaphore(module):
    semaphore = held(module.Semaphore(1))
    assert in_a_child(semaphore.release) == 0
    assert semaphore.acquire(False) is True


def test_most_permits(module):
    most = module.BoundedSemaphore(4096)
    assert most.get_value() == 4096
    more = result(lambda: module.BoundedSemaphore(4097).get_value())
    assert more == (ValueError if module is ours else 4097)
    assert module.Semaphore(4097).get_value() == 4097


@pytest.mark.parametrize("parties", [0, -1])
def test_barrier_without_parties(module, parties):
    made = result(lambda: module.Barrier(parties).parties)
    assert made == (ValueError if module is ours else parties)


def test_most_parties(module):
    made = result(lambda: module.Barrier(65537).parties)
    assert made == (ValueError if module is ours else 65537)
    assert module.Barrier(65536).parties == 65536


def test_lock_of_a_condition(module):
    for other in module.Semaphore(1), threading.Lock():
        made = result(lambda lock=other: module.Condition(lock).acquire())
        assert made is (TypeError if module is ours else True)


@pytest.mark.parametrize("kind", KINDS)
def test_pickle(module, kind):
    made = make(module, kind)
    if module is ours:
        assert pickle.dumps(made)
        assert type(copy.copy(made)) is type(made)
    else:
        assert result(lambda: pickle.dumps(made)) is RuntimeError


@pytest.mark.parametrize(
    ("timeout", "error"),
    [("1", TypeError), (10**400, OverflowError), (math.nan, ValueError)],
    ids=["text", "huge", "NaN"],
)
def test_timeout_is_looked_at_though_nothing_is_waited_for(
    module, timeout, error
):
    event = module.Event()
    event.set()
    lock = held(module.RLock())
    condition = module.Condition()
    barrier = module.Barrier(1)
    with condition:
        for call, value in (
            (lambda: event.wait(timeout), True),
            (lambda: lock.acquire(True, timeout), True),
            (lambda: condition.wait_for(lambda: 5, timeout), 5),
            (lambda: barrier.wait(timeout), 0),
        ):
            assert result(call) == (error if module is ours else value)


def test_any_number_is_a_timeout(module):
    condition = module.Condition()
    with condition:
        waited = result(lambda: condition.wait_for(lambda: 0, Decimal(0)))
        assert waited == (0 if module is ours else TypeError)
    barrier = module.Barrier(2)
    waited = result(lambda: barrier.wait(Decimal(0)))
    broken = threading.BrokenBarrierError
    assert waited is (broken if module is ours else TypeError)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_block(module, kind):
    lock = getattr(module, kind)()
    numbers = module is not ours and sys.version_info < (3, 12)
    got = result(lambda: lock.acquire("yes"))
    assert got is (TypeError if numbers else True)
    lock = getattr(module, kind)()
    got = result(lambda: lock.acquire(blocking=False))
    assert got is (True if module is ours else TypeError)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_locked(module, kind):
    lock = getattr(module, kind)()
    there = module is ours or sys.version_info >= (3, 14)
    assert hasattr(lock, "locked") is there


def test_release_of_more_than_one(module):
    semaphore = module.Semaphore(0)
    done = result(lambda: semaphore.release(3))
    assert done is (None if module is ours else TypeError)
    assert semaphore.get_value() == 3 * (module is ours)


def test_notify_of_half_a_waiter(module):
    condition = module.Condition()
    with condition:
        done = result(lambda: condition.notify(1.5))
    assert done is (TypeError if module is ours else None)


def test_words_of_a_broken_barrier(module):
    barrier = module.Barrier(2)
    with pytest.raises(threading.BrokenBarrierError) as caught:
        barrier.wait(0)
    assert str(caught.value).startswith("Barrier " * (module is ours))


@pytest.mark.parametrize("kind", KINDS)
def test_attributes_of_ones_own(module, kind):
    made = make(module, kind)
    done = result(lambda: setattr(made, "mine", 1))
    assert done is (AttributeError if module is ours else None)
    if module is ours:
        derived = type("Derived", (type(made),), {})
        other = derived(*[2] * (kind == "Barrier"))
        other.mine = 1
        assert other.mine == 1


def test_representations(module):
    lock = held(module.Lock())
    assert ("held here" in repr(lock)) is (module is ours)
