# SPDX-License-Identifier: MIT
"""A signal's handler that forks while the process is in wait(), which goes on
in the child, in the parent, or in both: who does in the child is somebody
else."""

import os
import resource
import signal
import threading
import time
import traceback
from contextlib import contextmanager, suppress

import pytest
from channel_children import ended_well
from conftest import descriptors
from machine import wait_until
from waiters import HUNDREDS, PATIENCE, threads

from shmemext import wait

# They fork beside the threads that help to wait.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@contextmanager
def soon(act):
    """A handler that does this while the `with` waits."""
    old = signal.signal(signal.SIGALRM, lambda number, frame: act())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


class Forked(Exception):
    """In the one of both that does not go on."""


def forks(children, goes_on):
    """A handler that forks, and returns in the child, or in the parent."""

    def act():
        child = os.fork()
        if child:
            children.append(child)
        if (child == 0) != (goes_on == "child"):
            raise Forked

    return act


@contextmanager
def ends(children):
    """Whatever happens, a child does not come out of it: it has done well if
    it was the one that does not go on."""
    parent = os.getpid()
    status = 2
    try:
        yield
    except Forked:
        status = 0
        if os.getpid() == parent:
            raise
    except BaseException:
        if os.getpid() == parent:
            raise
        traceback.print_exc()  # nobody else says it
    finally:
        if os.getpid() != parent:
            os._exit(status)
    for child in children:
        ended_well(child)


def test_child_that_leaves_it_disturbs_no_helper_of_its_parent(channels, pipe):
    """The thread that waits for the pipe is the same one after it."""
    channel, children = channels(), []
    seen, before = [], threads()
    fork = forks(children, "parent")

    def look():
        for _ in range(100):
            seen.append(threads() - before - {threading.get_native_id()})
            time.sleep(0.002)
        channel.put(b"x")

    def act():
        fork()
        ended_well(children.pop())
        watcher.start()

    watcher = threading.Thread(target=look)
    with ends(children), soon(act):
        assert wait([channel, pipe[0]], PATIENCE) == [channel]
    watcher.join()
    assert len(set.union(*seen)) == 1


@pytest.mark.parametrize("count", [1, HUNDREDS])
def test_parent_does_not_hear_the_end_of_its_child(count, channels, pipe):
    """It had its helpers, and their bell."""
    children = []
    things = [pipe[0], *[channels() for _ in range(count)]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    with ends(children), soon(forks(children, "parent")):
        assert wait(things, 0.7) == []
    slept = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
    assert slept < 1000 + 5 * count  # some for each that looks at itself


@pytest.mark.parametrize("last", ["a channel", "a descriptor"])
def test_child_goes_on(last, channels, pipe):
    """And so does whoever waits in its parent, after it has ended."""
    children = []
    things = [*channels(HUNDREDS), pipe[0]]
    expected = things[-2:-1] if last == "a channel" else things[-1:]

    def act():
        if last == "a channel":
            expected[0].put(b"x")
        else:
            os.write(pipe[1], b"x")

    with ends(children):
        with suppress(Forked), soon(forks(children, "child")):
            ready = wait(things, PATIENCE)
            os._exit(ready != expected)
        act()
        assert wait(things, PATIENCE) == expected


def test_child_that_goes_on_has_helpers_of_its_own(channels, pipe):
    children, helping = [], []
    things, before = [channels(), pipe[0]], descriptors()
    fork = forks(children, "child")

    def look():
        helping.append(len(threads()))
        if helping[-1] == 2 or len(helping) == 10 * PATIENCE:
            os.write(pipe[1], b"x")
        else:  # it does not wait yet
            signal.setitimer(signal.ITIMER_REAL, 0.1)

    def act():
        if os.getpid() == parent:
            fork()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
        else:
            look()

    parent = os.getpid()
    with ends(children):
        with suppress(Forked), soon(act):
            ready = wait(things, PATIENCE)
            assert (ready, helping[-1]) == ([pipe[0]], 2)
            assert descriptors() <= before  # garbage may go
            wait_until(lambda: len(threads()) == 1)
            os._exit(0)
        assert wait(things, PATIENCE) == [pipe[0]]


@pytest.mark.parametrize("beside", [False, True])
def test_child_that_goes_on_has_nothing_in_hand(channels, pipe, beside):
    """So its parent's message is one that may come back, and the channel is
    not over."""
    channel, children = channels(), []
    things = [channel, pipe[0]] if beside else [channel]
    channel.put(b"x")
    with ends(children), channel.receive() as message:
        with suppress(Forked), soon(forks(children, "child")):
            ready = wait(things, 0.5)
            os._exit(ready != [])
        channel.shutdown()
        ended_well(children.pop())
        assert bytes(message) == b"x"
        assert wait([channel], 0) == [channel]
