# SPDX-License-Identifier: MIT
"""A signal handler may fork while a process waits, and return in the child:
then that one waits, too, as itself. Its parent is not disturbed."""

import os
import select
import signal
import time
from contextlib import ExitStack, closing, suppress

import pytest

from shmemext.synchronize import (
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

# They fork beside threads that other tests may have left.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

PATIENCE = 60  # seconds, of who would wait for ever


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Pair:
    """A process that does `work`, and the child that its handler of SIGALRM
    forks. What the two say comes here, in order."""

    def __init__(self, work, in_child):
        self.read, self.write = os.pipe()
        self.heard = b""
        self.child = None
        self.ended = False
        self.main = os.fork()
        if self.main == 0:
            self._be(work, in_child)

    def _be(self, work, in_child):
        main, status = os.getpid(), 1

        def say(*words):
            who = "main" if os.getpid() == main else "child"
            os.write(self.write, " ".join([who, *words, "\n"]).encode())

        def fork(*args):
            self.child = os.fork()
            if self.child == 0:
                in_child()
            else:
                say("forked")

        try:
            signal.signal(signal.SIGALRM, fork)
            say("ready")
            work(say)
            status = 0
        except BaseException as error:
            say(type(error).__name__)
        finally:
            if os.getpid() == main and self.child is not None:
                os.waitpid(self.child, 0)
            os._exit(status)

    def lines(self):
        """What was said until now."""
        while select.select([self.read], [], [], 0)[0]:
            self.heard += os.read(self.read, 4096)
        said = [line.split() for line in self.heard.decode().splitlines()]
        return [line for line in said if line[1] != "ready"]

    def hears(self, *words):
        until(lambda: list(words) in self.lines())

    def fork(self, waits):
        """Sends the signal as soon as it waits."""
        until(lambda: self.lines() is not None and b"ready" in self.heard)
        until(waits)
        time.sleep(0.05)
        os.kill(self.main, signal.SIGALRM)
        self.hears("main", "forked")

    def is_over(self):
        if not self.ended:
            self.ended = os.waitpid(self.main, os.WNOHANG)[0] != 0
        return self.ended

    def end(self):
        """All that was said, when both have ended."""
        until(self.is_over)
        return [line for line in self.lines() if line[1] != "forked"]

    def close(self):
        if not self.is_over():
            os.kill(self.main, signal.SIGKILL)
            os.waitpid(self.main, 0)
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def start():
    with ExitStack() as stack:

        def start(work, in_child=lambda: None):
            return stack.enter_context(closing(Pair(work, in_child)))

        yield start


def in_turns(said):
    """Each of the two had it, and gave it back before the other had it."""
    first, second = said[0][0], said[-1][0]
    assert {first, second} == {"main", "child"}, said
    assert said == [
        [who, what] for who in (first, second) for what in ("has", "gives")
    ]


def use(lock, say):
    if not lock.acquire(timeout=PATIENCE):
        raise TimeoutError
    say("has")
    time.sleep(0.05)
    say("gives")
    lock.release()


def use_twice(lock, say):
    with ExitStack() as stack:
        if not lock.acquire(timeout=PATIENCE):
            raise TimeoutError
        stack.callback(lock.release)
        with lock:
            say("has")
            time.sleep(0.05)
        say("gives")


def repair(lock, say):
    with lock.repair(timeout=PATIENCE):
        say("has")
        time.sleep(0.05)
        say("gives")


ALONE = {
    "Lock": (Lock, use),
    "Lock.repair": (Lock, repair),
    "RLock": (RLock, use_twice),
    "RLock.repair": (RLock, repair),
    "Semaphore": (Semaphore, use),
    "BoundedSemaphore": (BoundedSemaphore, use),
    "RWLock.write": (lambda: RWLock().write, use),
    "RWLock.write.repair": (lambda: RWLock().write, repair),
    "Condition.acquire": (Condition, use_twice),
}


@pytest.mark.parametrize("kind", ALONE)
def test_each_has_it_alone(start, kind):
    make, work = ALONE[kind]
    lock = make()
    lock.acquire()
    pair = start(lambda say: work(lock, say))
    pair.fork(lambda: True)
    time.sleep(0.1)
    assert pair.lines() == [["main", "forked"]]
    lock.release()
    in_turns(pair.end())
    assert lock.acquire(timeout=0)
    lock.release()


@pytest.mark.parametrize("kind", ALONE)
def test_child_whose_handler_raises_takes_nothing(start, kind):
    make, work = ALONE[kind]
    lock = make()
    lock.acquire()
    pair = start(lambda say: work(lock, say), in_child=stop)
    pair.fork(lambda: True)
    pair.hears("child", "SystemExit")
    lock.release()
    assert pair.end() == [
        ["child", "SystemExit"],
        ["main", "has"],
        ["main", "gives"],
    ]
    assert lock.acquire(timeout=0)
    lock.release()


def stop():
    raise SystemExit


def test_each_reads_as_itself(start):
    lock = RWLock()
    lock.write.acquire()
    pair = start(lambda say: use(lock.read, say))
    pair.fork(lambda: True)
    lock.write.release()
    assert sorted(pair.end()) == [
        ["child", "gives"],
        ["child", "has"],
        ["main", "gives"],
        ["main", "has"],
    ]
    assert lock.write.acquire(timeout=0)
    lock.write.release()


def test_each_reads_as_itself_when_a_slot_is_free(start):
    lock = RWLock(readers=1)
    lock.read.acquire()
    pair = start(lambda say: use(lock.read, say))
    pair.fork(lambda: True)
    lock.read.release()
    in_turns(pair.end())
    assert lock.write.acquire(timeout=0)
    lock.write.release()


def test_each_writes_when_the_readers_are_gone(start):
    lock = RWLock()
    lock.read.acquire()
    pair = start(lambda say: use(lock.write, say))
    pair.fork(lock.write.locked)
    lock.read.release()
    in_turns(pair.end())
    assert lock.write.acquire(timeout=0)
    lock.write.release()


HOLDERS = {
    "Lock": Lock,
    "RLock": RLock,
    "RWLock.write": lambda: RWLock().write,
}


@pytest.fixture
def dying(start):
    """Both try to get it, and the child ends with it. Returns what was said
    when it has ended, while its parent lives."""
    done = Event()

    def both(lock, held):
        def work(say):
            parent = os.getpid()
            try:
                taken = lock.acquire(timeout=PATIENCE)
            except OwnerDied:
                say("learns")
            else:
                say("has" if taken else "waits")
                if os.getpid() != parent:
                    os._exit(0)
                lock.release()
            done.wait(3 * PATIENCE)  # set in any case

        held.acquire()
        pair = start(work)
        pair.fork(lambda: True)
        held.release()
        until(lambda: len(pair.lines()) == 3)  # one of them is "forked"
        return sorted(pair.lines())

    yield both
    done.set()


@pytest.mark.parametrize("kind", HOLDERS)
def test_child_that_ends_with_it_is_a_dead_holder(dying, kind):
    lock = HOLDERS[kind]()
    assert dying(lock, lock) in (
        [["child", "has"], ["main", "forked"], ["main", "has"]],
        [["child", "has"], ["main", "forked"], ["main", "learns"]],
    )
    with pytest.raises(OwnerDied):
        lock.acquire(timeout=PATIENCE)
    with lock.repair() as torn:
        assert torn
    with lock:
        pass


COUNTED = [["child", "has"], ["main", "forked"], ["main", "has"]]


def test_permit_of_a_child_that_ends_with_it_comes_back(dying):
    lock = BoundedSemaphore()
    assert dying(lock, lock) == COUNTED
    assert lock.acquire(timeout=PATIENCE)
    lock.release()
    assert lock.get_value() == 1


def test_reader_that_a_child_was_is_gone(dying):
    lock = RWLock()
    assert dying(lock.read, lock.write) == COUNTED
    assert lock.write.acquire(timeout=PATIENCE)
    lock.write.release()


def test_event_is_for_both(start):
    event = Event()
    pair = start(lambda say: say(str(event.wait(PATIENCE))))
    pair.fork(lambda: True)
    event.set()
    assert sorted(pair.end()) == [["child", "True"], ["main", "True"]]


# Conditions

CONDITIONS = {
    "RLock": lambda: Condition(),
    "Lock": lambda: Condition(Lock()),
    "another memory's": lambda: Condition(RLock()),
}


def waiting(condition, count):
    return lambda: (
        f"{count} wait" in repr(condition) and not condition.locked()
    )


def be_notified(condition, say):
    with condition:
        notified = condition.wait(PATIENCE)
        say("has", str(notified))
        time.sleep(0.05)
        say("gives")


@pytest.mark.parametrize("kind", CONDITIONS)
def test_child_waits_behind_its_parent(start, kind):
    condition = CONDITIONS[kind]()
    pair = start(lambda say: be_notified(condition, say))
    pair.fork(waiting(condition, 1))
    until(waiting(condition, 2))
    expected = []
    for who in ("main", "child"):
        with condition:
            condition.notify()
        expected += [[who, "has", "True"], [who, "gives"]]
        pair.hears(who, "gives")
    assert pair.end() == expected
    assert "0 wait" in repr(condition)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_child_misses_no_notification(start, kind):
    """One that came after the fork, and before the child could wait."""
    condition = CONDITIONS[kind]()
    pair = start(lambda say: be_notified(condition, say))
    until(waiting(condition, 1))
    with condition:
        pair.fork(lambda: True)
        condition.notify_all()
    said = pair.end()
    assert {who for who, *_ in said} == {"main", "child"}
    assert [what for _, *what in said] == [["has", "True"], ["gives"]] * 2
    assert "0 wait" in repr(condition)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_child_is_forked_while_its_parent_waits_for_the_lock(start, kind):
    condition = CONDITIONS[kind]()
    pair = start(lambda say: be_notified(condition, say))
    until(waiting(condition, 1))
    with condition:
        condition.notify()
        pair.fork(lambda: True)
    said = pair.end()
    assert {who for who, *_ in said} == {"main", "child"}
    assert [what for _, *what in said] == [["has", "True"], ["gives"]] * 2
    assert "0 wait" in repr(condition)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_child_whose_handler_raises_leaves_its_parents_wait_alone(start, kind):
    condition = CONDITIONS[kind]()
    pair = start(lambda say: be_notified(condition, say), in_child=stop)
    pair.fork(waiting(condition, 1))
    pair.hears("child", "SystemExit")
    assert waiting(condition, 1)()
    with condition:
        condition.notify()
    assert pair.end() == [
        ["child", "SystemExit"],
        ["main", "has", "True"],
        ["main", "gives"],
    ]
    assert "0 wait" in repr(condition)


def test_child_finds_no_room_to_wait(start):
    condition = Condition(waiters=1)
    pair = start(lambda say: be_notified(condition, say))
    pair.fork(waiting(condition, 1))
    pair.hears("child", "OSError")
    assert waiting(condition, 1)()
    with condition:
        condition.notify()
    assert pair.end() == [
        ["child", "OSError"],
        ["main", "has", "True"],
        ["main", "gives"],
    ]


def test_wait_that_ends_in_time(start):
    """Of both, each with the lock."""
    condition = Condition()

    def work(say):
        with condition:
            say(str(condition.wait(3)))

    pair = start(work)
    pair.fork(waiting(condition, 1))
    assert sorted(pair.end()) == [["child", "False"], ["main", "False"]]
    assert waiting(condition, 0)()


# Barriers: who has come is the parent.


def come(barrier, say):
    try:
        say("passes", str(barrier.wait(PATIENCE) in (0, 1)))
    except RuntimeError as error:
        say("BrokenBarrier" if "broken" in str(error) else "RuntimeError")


@pytest.mark.parametrize("in_child", [lambda: None, stop])
def test_child_has_not_come_to_the_barrier(start, in_child):
    barrier = Barrier(2)
    pair = start(lambda say: come(barrier, say), in_child)
    pair.fork(lambda: barrier.n_waiting == 1)
    raised = "SystemExit" if in_child is stop else "RuntimeError"
    pair.hears("child", raised)
    assert (barrier.n_waiting, barrier.broken) == (1, False)
    barrier.wait(PATIENCE)
    assert pair.end() == [["child", raised], ["main", "passes", "True"]]
    assert not barrier.broken


def test_child_may_come_to_the_barrier_itself(start):
    barrier = Barrier(3)

    def work(say):
        try:
            barrier.wait(PATIENCE)
        except RuntimeError:
            barrier.wait(PATIENCE)
        say("passes")
        barrier._leave()  # or its end would be a death

    pair = start(work)
    pair.fork(lambda: barrier.n_waiting == 1)
    until(lambda: barrier.n_waiting == 2)
    barrier.wait(PATIENCE)
    assert sorted(pair.end()) == [["child", "passes"], ["main", "passes"]]


def test_child_that_waits_for_a_place_at_the_barrier(start):
    """All are taken, so its parent has none either."""
    done = Event()
    barrier = Barrier(2, done.wait)
    others = [start(lambda say: come(barrier, say)) for _ in range(2)]
    until(lambda: barrier.n_waiting == 2)
    gate = barrier.offset + 16 + 4
    pair = start(lambda say: come(barrier, say))
    pair.fork(lambda: barrier.memory.buf[gate] & 1)
    pair.hears("child", "RuntimeError")
    done.set()
    for other in others:
        assert other.end() == [["main", "passes", "True"]]
    with suppress(RuntimeError):
        barrier.wait(PATIENCE)  # these others count as dead, perhaps
    assert pair.end()[0] == ["child", "RuntimeError"]


@pytest.mark.parametrize("in_child", [lambda: None, stop])
def test_child_of_an_action_leads_nobody(start, in_child):
    def action():
        child = os.fork()
        if child == 0:
            in_child()
        else:
            os.waitpid(child, 0)

    barrier = Barrier(1, action)
    raised = "SystemExit" if in_child is stop else "RuntimeError"
    assert start(lambda say: come(barrier, say)).end() == [
        ["child", raised],
        ["main", "passes", "True"],
    ]
