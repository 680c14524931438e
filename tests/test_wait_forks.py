# SPDX-License-Identifier: MIT
"""A signal's handler that forks while the process is in wait(), which goes on
in the child, in the parent, or in both."""

import os
import queue
import signal
import threading
import time

import pytest

from shmemext import Channel, wait
from shmemext.channels import ShutDown

PATIENCE = 60

# They fork beside the threads that help to wait.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


class Enough(Exception):
    """Of the wait."""


@pytest.fixture
def channel():
    with Channel(create=True, size=4096) as made:
        yield made
        made.unlink()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def on_alarm():
    """What the handler does, in a moment."""
    old = signal.getsignal(signal.SIGALRM)

    def ask(handler):
        signal.signal(signal.SIGALRM, lambda *_: handler())
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    yield ask
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


def threads():
    return {int(one) for one in os.listdir("/proc/self/task")}  # noqa: PTH208


def ended(child):
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_child_that_leaves_it_disturbs_no_helper_of_its_parent(
    channel, pipe, on_alarm
):
    """The thread that waits for the pipe is the same one after it."""
    seen, before = [], threads()

    def look():
        for _ in range(100):
            seen.append(threads() - before - {threading.get_native_id()})
            time.sleep(0.002)
        channel.put(b"x")

    class Left(Exception):
        pass

    def handler():
        child = os.fork()
        if child == 0:
            raise Left
        assert ended(child) == 0
        watcher.start()

    watcher = threading.Thread(target=look)
    on_alarm(handler)
    try:
        assert wait([channel, pipe[0]], PATIENCE) == [channel]
    except Left:
        os._exit(0)
    watcher.join()
    assert len(set.union(*seen)) == 1


def test_child_that_goes_on_has_helpers_of_its_own(channel, pipe, on_alarm):
    parent = os.getpid()
    children, helping = [], []
    descriptors = os.listdir("/proc/self/fd")  # noqa: PTH208

    def look():
        helping.append(len(threads()))
        os.write(pipe[1], b"x")

    def handler():
        children.append(os.fork())
        if children == [0]:
            on_alarm(look)

    on_alarm(handler)
    status = 1
    try:
        ready = wait([channel, pipe[0]], PATIENCE)
        if os.getpid() != parent:
            left = os.listdir("/proc/self/fd")  # noqa: PTH208
            assert (helping, left) == ([2], descriptors)
            assert ready == [pipe[0]] and len(threads()) == 1
            status = 0
    finally:
        if os.getpid() != parent:
            os._exit(status)
    assert ready == [pipe[0]]
    assert ended(*children) == 0


@pytest.mark.parametrize("beside", [False, True])
def test_child_that_goes_on_has_nothing_in_hand(
    channel, pipe, on_alarm, beside
):
    """So its parent's message is one that may come back."""
    parent = os.getpid()
    children = []
    channel.put(b"x")
    with channel.receive():

        def handler():
            children.append(os.fork())
            if children[0] != 0:
                raise Enough

        on_alarm(handler)
        ready = None
        try:
            ready = wait([channel, pipe[0]] if beside else [channel], 0.5)
        except Enough:
            channel.shutdown()
        finally:
            if os.getpid() != parent:
                os._exit(ready != [])
        assert ended(*children) == 0
        assert wait([channel], 0) == [channel]


def test_child_that_raises_does_not_look_as_its_parent(
    channel, pipe, on_alarm
):
    """Which works on a message, and may leave that to others: so there may be
    more for them."""
    parent = os.getpid()
    channel.put(b"x")
    taker = os.fork()
    if taker == 0:
        message = channel.receive()
        os.write(pipe[1], b".")
        time.sleep(PATIENCE)
        os._exit(len(message))
    os.read(pipe[0], 1)
    channel.shutdown()
    found = []

    def handler():
        child = os.fork()
        if child == 0:
            os.read(pipe[0], 1)
            raise Enough
        os.kill(taker, signal.SIGKILL)
        os.waitpid(taker, 0)
        with channel.receive(timeout=PATIENCE) as message:
            os.write(pipe[1], b".")
            found.append((message.deliveries, ended(child), others()))
        raise Enough

    def others():
        """What another process is told meanwhile."""
        child = os.fork()
        if child == 0:
            try:
                channel.get(timeout=0.1)
            except queue.Empty:
                os._exit(0)
            except ShutDown:
                os._exit(1)
        return ended(child)

    on_alarm(handler)
    try:
        wait([channel])
    except Enough:
        pass
    finally:
        if os.getpid() != parent:
            os._exit(0)
    assert found == [(2, 0, 0)]
