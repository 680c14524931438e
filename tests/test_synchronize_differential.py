# SPDX-License-Identifier: MIT
"""The same programs on our synchronizers and on multiprocessing's: the same
values, or the same exceptions.

Where they are meant to differ, test_differences.py has both. What Python says
of a wrong call, and the end of a message that names the object, is free."""

import math
import multiprocessing
import multiprocessing.synchronize
import os
import threading
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
)

from shmemext import synchronize as ours

settings.register_profile(
    "synchronize",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=100,
    database=None,
    derandomize="CI" in os.environ,
)
profile = settings.get_profile("synchronize")

LOCKS = ["Lock", "RLock", "Semaphore", "BoundedSemaphore"]
HUGE = 10**400


class Raised(NamedTuple):
    type: type
    message: str = ""

    def is_said_by(self, other):
        return (
            isinstance(other, Raised)
            and self.type is other.type
            and other.message.startswith(self.message)
        )


class IsFloat:
    def __float__(self):
        return 0.0


class IsIndex:
    def __index__(self):
        return 0


def outcome(program, module, *args):
    try:
        return program(module, *args)
    except (TypeError, OverflowError) as error:
        return Raised(type(error))  # Python's own words
    except OSError as error:
        return Raised(type(error), f"[Errno {error.errno}] ")
    except Exception as error:
        return Raised(type(error), str(error))


def same(program, *args):
    theirs = outcome(program, multiprocessing, *args)
    mine = outcome(program, ours, *args)
    if isinstance(theirs, Raised):
        assert theirs.is_said_by(mine), (theirs, mine)
    else:
        assert (type(mine), mine) == (type(theirs), theirs)


def result(call):
    """Its value, or the type of its exception."""
    try:
        return call()
    except Exception as error:
        return type(error)


def held(made):
    """With all that it has to give taken."""
    assert made.acquire() is True
    return made


def fails_at_once():
    return 1 / 0


# Arguments. None of these waits.

NO_WAIT = [
    0,
    0.0,
    -0.0,
    -1,
    -0.5,
    False,
    1e-9,
    0.001,
    -math.inf,
    -1e300,
    Decimal(0),
    Fraction(0),
    Fraction(1, 1000),
    IsFloat(),
    IsIndex(),
]
NO_TIME = ["0", b"0", [], {}, 1j, HUGE, -HUGE]
WAIT = [None, 1, True, 1e10, 2**63, 1e18]
times = st.sampled_from([*NO_WAIT, *NO_TIME])
blocks = st.sampled_from([True, False, 0, 1, 7, -1, IsIndex()])


@pytest.mark.parametrize("kind", LOCKS)
@profile
@given(block=blocks, timeout=times | st.sampled_from(WAIT))
def test_acquire_of_what_is_free(kind, block, timeout):
    def program(module):
        made = getattr(module, kind)()
        return made.acquire(block, timeout), made.acquire(block, 0)

    same(program)


@pytest.mark.parametrize("kind", LOCKS)
@profile
@given(block=blocks, timeout=times)
def test_acquire_of_what_is_taken(kind, block, timeout):
    """An RLock by another thread."""

    def program(module):
        made = getattr(module, kind)()
        thread = threading.Thread(target=held, args=[made])
        thread.start()
        thread.join()
        return made.acquire(block, timeout)

    same(program)


CALLS = {
    "nothing": ((), {}),
    "block": ((), {"block": False}),
    "timeout": ((), {"timeout": 0}),
    "both": ((), {"block": True, "timeout": 0}),
    "one of each": ((False,), {"timeout": 0}),
    "None": ((True, None), {}),
    "too many": ((True, None, 1), {}),
    "twice": ((True,), {"block": True}),
    "unknown": ((), {"wait": True}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", LOCKS)
def test_ways_to_call_acquire(kind, call):
    args, keywords = CALLS[call]
    same(lambda module: getattr(module, kind)().acquire(*args, **keywords))


@pytest.mark.parametrize("kind", LOCKS)
def test_with(kind):
    def program(module):
        made = getattr(module, kind)()
        with made as value:
            inside = made.acquire(False)
            if inside:
                made.release()
        return value, inside, made.__enter__(), made.__exit__(None, None, None)

    same(program)


@pytest.mark.parametrize("kind", LOCKS)
def test_with_gives_it_back_when_the_block_fails(kind):
    def program(module):
        made = getattr(module, kind)()
        try:
            with made:
                1 / 0  # noqa: B018
        except ZeroDivisionError:
            return made.acquire(False), made.release(), made.release()

    same(program)


@pytest.mark.parametrize("kind", LOCKS)
def test_exit_of_what_is_free(kind):
    def program(module):
        return getattr(module, kind)().__exit__(None, None, None)

    same(program)


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("args", [[object()], [1, 2]])
def test_release_takes_nothing(kind, args):
    def program(module):
        return held(getattr(module, kind)()).release(*args)

    if kind in ("Lock", "RLock") or args == [1, 2]:
        same(program)
    else:
        assert outcome(program, ours) == Raised(TypeError)


@pytest.mark.parametrize("kind", LOCKS)
def test_truth_and_equality(kind):
    def program(module):
        made, other = getattr(module, kind)(), getattr(module, kind)()
        return bool(made), made == made, made == other, hash(made) is None  # noqa: PLR0124

    same(program)


def by_another_thread(function):
    """What it comes to there."""
    box = []
    thread = threading.Thread(target=lambda: box.append(function()))
    thread.start()
    thread.join()
    return box[0]


@pytest.mark.parametrize("kind", LOCKS)
def test_release_by_another_thread(kind):
    def program(module):
        made = held(getattr(module, kind)())
        return by_another_thread(lambda: result(made.release))

    same(program)


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
@pytest.mark.parametrize(
    "value",
    [0, 1, 2, 4096, -1, -(2**31), 2**31, 2**32, 2**63, HUGE]
    + ["1", b"1", None, 1.0, 1.5, True, [], IsFloat(), IsIndex()],
    ids=lambda value: repr(value)[:15],
)
def test_value_of_a_semaphore(kind, value):
    same(lambda module: getattr(module, kind)(value).get_value())
    same(lambda module: getattr(module, kind)(value=value).acquire(False))


def test_semaphore_has_a_most():
    def program(module):
        semaphore = module.Semaphore(2**31 - 1)
        return semaphore.get_value(), result(semaphore.release)

    same(program)


# Event


@pytest.mark.parametrize("is_set", [False, True])
@profile
@given(timeout=st.sampled_from(NO_WAIT))
def test_wait_for_an_event(is_set, timeout):
    def program(module):
        event = module.Event()
        if is_set:
            assert event.set() is None
        values = event.wait(timeout), event.wait(timeout=timeout)
        return values, event.is_set(), event.clear(), event.wait(timeout)

    same(program)


@pytest.mark.parametrize("timeout", NO_TIME, ids=lambda it: repr(it)[:9])
def test_wait_for_an_event_for_no_time(timeout):
    same(lambda module: module.Event().wait(timeout))


@pytest.mark.parametrize("method", ["set", "clear", "is_set", "wait"])
def test_wrong_calls_of_an_event(method):
    for args, keywords in ((1, 2), {}), ((), {"x": 1}):
        same(
            lambda module, a, k: getattr(module.Event(), method)(*a, **k),
            args,
            keywords,
        )


# Condition

NOT_OWNED = {
    "wait": lambda condition: condition.wait(0),
    "wait_for": lambda condition: condition.wait_for(bool, 0),
    "notify": lambda condition: condition.notify(),
    "notify_all": lambda condition: condition.notify_all(),
    "release": lambda condition: condition.release(),
}


@pytest.mark.parametrize("call", NOT_OWNED)
@pytest.mark.parametrize("lock", [None, "Lock", "RLock"])
def test_condition_that_is_not_owned(lock, call):
    def program(module):
        return NOT_OWNED[call](condition_over(module, lock))

    same(program)


def condition_over(module, lock):
    if lock is None:
        return module.Condition()
    return module.Condition(getattr(module, lock)())


@pytest.mark.parametrize("lock", [None, "Lock", "RLock"])
@profile
@given(timeout=st.sampled_from([*NO_WAIT, *NO_TIME]))
def test_wait_of_a_condition(lock, timeout):
    def program(module):
        condition = condition_over(module, lock)
        with condition as value:
            waited = condition.wait(timeout)
            return value, waited, condition.wait_for(lambda: 0, timeout)

    same(program)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_wait_of_a_condition_gives_all_of_it_away(depth):
    """Its lock is to be had meanwhile, and is as it was afterwards."""

    def program(module):
        condition = module.Condition()
        got = threading.Event()

        def other():
            with condition:
                got.set()
                condition.notify()

        for _ in range(depth):
            condition.acquire()
        thread = threading.Thread(target=other)
        thread.start()
        waited = condition.wait(60)
        thread.join()
        for _ in range(depth):
            condition.release()
        return waited, got.is_set(), result(condition.release)

    same(program)


PREDICATES = [lambda: 0, lambda: 5, lambda: "yes", fails_at_once, None, 3]


@pytest.mark.parametrize("number", range(len(PREDICATES)))
def test_predicate_of_a_condition(number):
    def program(module):
        condition = module.Condition()
        with condition:
            return condition.wait_for(PREDICATES[number], timeout=0.001)

    same(program)


@pytest.mark.parametrize("n", [0, 1, 2, 1000, -1, True, IsIndex()])
def test_notify_when_nobody_waits(n):
    def program(module):
        condition = module.Condition()
        with condition:
            return condition.notify(n), condition.notify(n=n)

    same(program)


@pytest.mark.parametrize("n", range(5))
def test_notify_of_three(n):
    def program(module):
        condition = module.Condition()
        inside, woken = [], []

        def wait():
            with condition:
                inside.append(1)
                woken.append(condition.wait(60))

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        while True:
            with condition:
                if len(inside) == 3:
                    condition.notify(n)
                    break
        while True:
            with condition:
                if len(woken) >= min(n, 3):
                    count = len(woken)
                    condition.notify_all()
                    break
        for thread in threads:
            thread.join()
        return count, woken

    same(program)


# Barrier


@pytest.mark.parametrize("parties", [1, 2, 3, 1000])
@profile
@given(timeout=st.sampled_from([0, -1, 0.001, False, Fraction(0)]))
def test_wait_at_a_barrier_that_is_not_full(parties, timeout):
    def program(module):
        barrier = module.Barrier(parties)
        before = barrier.parties, barrier.n_waiting, barrier.broken
        came = result(lambda: barrier.wait(timeout))
        return before, came, barrier.n_waiting, barrier.broken

    same(program)


@pytest.mark.parametrize("timeout", ["x", b"", [], 1j], ids=repr)
def test_wait_at_a_barrier_for_no_time(timeout):
    same(lambda module: module.Barrier(2).wait(timeout))
    same(lambda module: module.Barrier(2, timeout=timeout).wait())
    same(lambda module: module.Barrier(2, None, timeout).wait())


def calls_nothing():
    return 5


@pytest.mark.parametrize("action", [None, calls_nothing, fails_at_once])
def test_action_of_a_barrier(action):
    def program(module):
        barrier = module.Barrier(1, action)
        said = [result(barrier.wait), barrier.broken, barrier.n_waiting]
        said += [result(barrier.wait), barrier.reset(), barrier.broken]
        return [*said, result(barrier.wait)]

    same(program)


def test_barrier_is_broken_until_it_is_reset():
    def program(module):
        barrier = module.Barrier(1)
        said = [barrier.wait(), barrier.abort(), barrier.broken]
        said += [result(barrier.wait), barrier.abort(), barrier.n_waiting, barrier.reset()]
        return [*said, barrier.broken, barrier.wait(), barrier.reset()]

    same(program)


@pytest.mark.parametrize("method", ["abort", "reset"])
def test_wrong_calls_of_a_barrier(method):
    same(lambda module: getattr(module.Barrier(1), method)(1))
    same(lambda module: module.Barrier())
    same(lambda module: module.Barrier(1).wait(0, 0))
    for name in "parties", "n_waiting", "broken":
        same(lambda module, name: setattr(module.Barrier(1), name, 1), name)


# Whole programs, of any steps.


class Both(RuleBasedStateMachine):
    """One of each side, used in the same way."""

    kind = "Lock"
    args: tuple = ()

    def __init__(self):
        super().__init__()
        self.theirs = getattr(multiprocessing, self.kind)(*self.args)
        self.mine = getattr(ours, self.kind)(*self.args)
        self.count = 0

    def do(self, method, *args):
        def program(made):
            return getattr(made, method)(*args)

        theirs = outcome(program, self.theirs)
        mine = outcome(program, self.mine)
        if isinstance(theirs, Raised):
            assert theirs.is_said_by(mine), (theirs, mine)
        else:
            assert (type(mine), mine) == (type(theirs), theirs)
        return mine


class Locks(Both):
    @rule(block=st.booleans(), timeout=st.sampled_from(NO_WAIT))
    def acquire(self, block, timeout):
        self.count += self.do("acquire", block, timeout) is True

    @rule()
    def release(self):
        """Not more than it has had: a Semaphore of ours has no most in 3.11
        either, but BoundedSemaphore has."""
        self.count -= self.do("release") is None

    @rule()
    def enter(self):
        if self.do("acquire", False) is True:
            self.do("release")

    @precondition(lambda self: hasattr(self.theirs, "get_value"))
    @rule()
    def value(self):
        self.do("get_value")

    @precondition(lambda self: hasattr(self.theirs, "locked"))
    @rule()
    def locked(self):
        self.do("locked")

    @precondition(lambda self: self.kind != "RLock")
    @rule()
    def by_another(self):
        """Of what counts threads for nothing."""
        by_another_thread(lambda: self.do("acquire", False))


class Conditions(Both):
    kind = "Condition"

    @rule(method=st.sampled_from(["acquire", "release", "notify_all"]))
    def change(self, method):
        self.do(method)

    @rule(n=st.integers(0, 3))
    def notify(self, n):
        self.do("notify", n)

    @rule(timeout=st.sampled_from(NO_WAIT))
    def wait(self, timeout):
        self.do("wait", timeout)
        self.do("wait_for", lambda: 0, timeout)
        self.do("wait_for", lambda: 7, timeout)


class Barriers(Both):
    """The exceptions have words, where multiprocessing's have none."""

    kind = "Barrier"

    @rule(method=st.sampled_from(["abort", "reset"]))
    def change(self, method):
        self.do(method)

    @rule(timeout=st.sampled_from(NO_WAIT[:9]))
    def wait(self, timeout):
        self.do("wait", timeout)

    @rule(name=st.sampled_from(["broken", "n_waiting", "parties"]))
    def look(self, name):
        assert getattr(self.mine, name) == getattr(self.theirs, name)


class Events(Both):
    kind = "Event"

    @rule(method=st.sampled_from(["set", "clear", "is_set"]))
    def change(self, method):
        self.do(method)

    @rule(timeout=st.sampled_from(NO_WAIT))
    def wait(self, timeout):
        self.do("wait", timeout)


def machine(base, kind, *args):
    made = type(kind, (base,), {"kind": kind, "args": args}).TestCase
    made.settings = settings(profile, max_examples=50)
    return made


TestLock = machine(Locks, "Lock")
TestRLock = machine(Locks, "RLock")
TestSemaphore = machine(Locks, "Semaphore", 2)
TestNoSemaphore = machine(Locks, "Semaphore", 0)
TestBoundedSemaphore = machine(Locks, "BoundedSemaphore", 2)
TestEvent = machine(Events, "Event")
TestCondition = machine(Conditions, "Condition")
TestBarrierOfOne = machine(Barriers, "Barrier", 1)
TestBarrierOfTwo = machine(Barriers, "Barrier", 2)
