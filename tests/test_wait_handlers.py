# SPDX-License-Identifier: MIT
"""Handlers of signals that fork while wait() waits: who goes on in the child
is somebody else."""

import os
import resource
import signal
import time
from contextlib import contextmanager, suppress

import pytest

from shmemext import Channel, wait

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
PATIENCE = 60
HUNDREDS = 300  # more than a system sleeps at


@pytest.fixture
def channels():
    made = [Channel(create=True, size=1 << 12) for _ in range(HUNDREDS)]
    yield made
    for one in made:
        one.unlink()
        one.close()


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


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
    """Whatever happens, a child does not come out of it."""
    parent = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != parent:
            os._exit(2)
    for child in children:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("count", [1, HUNDREDS])
def test_parent_does_not_hear_the_end_of_its_child(count, channels, pipe):
    """It had its helpers, and their bell."""
    children = []
    things = [pipe[0], *channels[-count:]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    with ends(children), soon(forks(children, "parent")):
        try:
            ready = wait(things, 0.7)
        except Forked:
            os._exit(0)
        assert ready == []
    slept = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
    assert slept < 1000 + 5 * count  # some for each that looks at itself


@pytest.mark.parametrize("last", ["a channel", "a descriptor"])
def test_child_goes_on(last, channels, pipe):
    """And so does whoever waits in its parent, after it has ended."""
    children = []
    things = [*channels, pipe[0]]
    act = (
        (lambda: channels[-1].put(b"x"))
        if last == "a channel"
        else (lambda: os.write(pipe[1], b"x"))
    )
    expected = channels[-1:] if last == "a channel" else [pipe[0]]
    with ends(children):
        with suppress(Forked), soon(forks(children, "child")):
            ready = wait(things, PATIENCE)
            os._exit(ready != expected)
        act()
        assert wait(things, PATIENCE) == expected


def test_child_waits_as_itself(channels, pipe):
    """What its parent has in hand is not its own: after the end of the
    channel it may come back."""
    channel, children = channels[0], []
    channel.put(b"x")
    with ends(children), channel.receive() as message:
        with suppress(Forked), soon(forks(children, "child")):
            ready = wait([channel, pipe[0]], PATIENCE)
            os._exit(ready != [pipe[0]])
        channel.shutdown()
        time.sleep(0.3)  # for the child to believe that all is over
        os.write(pipe[1], b"x")
        assert bytes(message) == b"x"
        _, status = os.waitpid(children.pop(), 0)
        assert os.waitstatus_to_exitcode(status) == 0
