# SPDX-License-Identifier: MIT
"""The same programs on conditions and barriers of both modules."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import rule
from synchronizers import (
    ADDED,
    NO_TIME,
    NO_WAIT,
    Both,
    fails_at_once,
    machine,
    profile,
    result,
    same,
)

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
            return value, condition.wait(timeout)

    same(program)


@profile
@given(timeout=st.sampled_from(ADDED) | st.sampled_from(["x", b"", [], 1j]))
def test_wait_for_of_a_condition(timeout):
    def program(module):
        condition = module.Condition()
        with condition:
            return condition.wait_for(lambda: 0, timeout=timeout)

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


@pytest.mark.parametrize("n", [0, 1, 2, 1000, -1, True])
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
@given(timeout=st.sampled_from(ADDED))
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
        said += [
            result(barrier.wait),
            barrier.abort(),
            barrier.n_waiting,
            barrier.reset(),
        ]
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

    @rule(timeout=st.sampled_from(ADDED), value=st.sampled_from([0, 7]))
    def wait_for(self, timeout, value):
        self.do("wait_for", lambda: value, timeout)


class Barriers(Both):
    """The exceptions have words, where multiprocessing's have none."""

    kind = "Barrier"

    @rule(method=st.sampled_from(["abort", "reset"]))
    def change(self, method):
        self.do(method)

    @rule(timeout=st.sampled_from(ADDED))
    def wait(self, timeout):
        self.do("wait", timeout)

    @rule(name=st.sampled_from(["broken", "n_waiting", "parties"]))
    def look(self, name):
        assert getattr(self.mine, name) == getattr(self.theirs, name)


TestCondition = machine(Conditions, "Condition")
TestBarrierOfOne = machine(Barriers, "Barrier", 1)
TestBarrierOfTwo = machine(Barriers, "Barrier", 2)
