# SPDX-License-Identifier: MIT
"""The same programs on locks, semaphores and events of both modules."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from synchronizers import (
    HUGE,
    NO_TIME,
    NO_WAIT,
    WAIT,
    Both,
    IsFloat,
    IsIndex,
    Raised,
    held,
    machine,
    outcome,
    profile,
    result,
    same,
)

from shmemext import synchronize as ours

LOCKS = ["Lock", "RLock", "Semaphore", "BoundedSemaphore"]
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
        return bool(made), made == made, made == other, hash(made) is None

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
    [
        *[0, 1, 2, 4096, -1, -(2**31), 2**31, 2**32, 2**63, HUGE],
        *["1", b"1", None, 1.0, 1.5, True, [], IsFloat(), IsIndex()],
    ],
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


# Whole programs, of any steps.


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


class Events(Both):
    kind = "Event"

    @rule(method=st.sampled_from(["set", "clear", "is_set"]))
    def change(self, method):
        self.do(method)

    @rule(timeout=st.sampled_from(NO_WAIT))
    def wait(self, timeout):
        self.do("wait", timeout)


TestLock = machine(Locks, "Lock")
TestRLock = machine(Locks, "RLock")
TestSemaphore = machine(Locks, "Semaphore", 2)
TestNoSemaphore = machine(Locks, "Semaphore", 0)
TestBoundedSemaphore = machine(Locks, "BoundedSemaphore", 2)
TestEvent = machine(Events, "Event")
