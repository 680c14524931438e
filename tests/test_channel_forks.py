# SPDX-License-Identifier: MIT
"""A child that a fork makes has nothing of its parent's in hand."""

import os
import queue
import signal
import threading
import time
from contextlib import suppress

import pytest
from channel_children import PATIENCE, ended_well, in_a_fork
from machine import wait_until

from shmemext.channels import Broadcast, Channel


def taken(channel):
    """How many messages are in somebody's hand."""
    return channel._look()[2]


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


def test_child_gives_nothing_of_its_parents_back(channel):
    channel.put(b"hello")
    with channel.receive() as message:

        def end():
            message.__exit__(None, None, None)

        in_a_fork(end)
        assert taken(channel) == 1
        time.sleep(0.1)  # nor does its death
        with pytest.raises(queue.Empty):
            channel.get(timeout=0.1)
        assert bytes(message) == b"hello"
    assert taken(channel) == 0


def test_child_sends_nothing_of_its_parents(channel):
    reservation = channel.reserve(5)
    with reservation as view:
        view[:] = b"hello"

        def end():
            reservation.__exit__(None, None, None)
            channel.put(b"child")

        in_a_fork(end)
        with pytest.raises(queue.Empty):
            channel.get(timeout=0.1)
        view[:] = b"HELLO"
    assert channel.get_many() == [b"HELLO", b"child"]


WAITS = {
    "receive": lambda channel: channel.receive().__enter__(),
    "reserve": lambda channel: channel.reserve(2000).__enter__(),
    "get": lambda channel: channel.get(),
    "get_many": lambda channel: channel.get_many(1),
    "put": lambda channel: channel.put(bytes(2000)),
}


@pytest.mark.parametrize("wait", WAITS)
def test_handler_that_forks_while_one_waits(wait):
    """The child returns from the handler, too, and goes on waiting: as itself.
    As its parent it would hold what nobody gives back."""
    parent, children = os.getpid(), []
    filled = wait in ("reserve", "put")
    old = signal.signal(
        signal.SIGALRM, lambda *args: children.append(os.fork())
    )
    with Channel(create=True, size=4096) as channel:
        if filled:
            channel.put_many([bytes(2000)] * 2)
        both = threading.Thread(target=go_on, args=(channel, filled, children))
        both.start()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        status = 1
        try:
            held = WAITS[wait](channel)
            del held
            status = 0
        finally:
            if os.getpid() != parent:
                os._exit(status)
            signal.signal(signal.SIGALRM, old)
        both.join()
        (child,) = children
        ended_well(child)
        assert taken(channel) == 0
        with suppress(queue.Empty):
            while True:
                channel.get_nowait()
        with channel.reserve(2000, timeout=PATIENCE):
            pass  # there is room again
        channel.unlink()


def go_on(channel, filled, children):
    """Both of those who wait may go on, one after the other."""
    wait_until(lambda: children)
    for _ in range(2):
        time.sleep(0.2)
        if filled:
            channel.get()
        else:
            channel.put(b"x")


def test_handler_that_forks_while_one_waits_for_a_frame():
    """The child holds what it receives as itself, and gives it back."""
    parent, children = os.getpid(), []
    told, tell = os.pipe()
    old = signal.signal(
        signal.SIGALRM, lambda *args: children.append(os.fork())
    )
    with Broadcast(create=True, size=100, readers=2) as cast:
        timer = threading.Thread(target=put_later, args=(cast, children))
        timer.start()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        status = 1
        try:
            with cast.receive() as frame:
                status = 0 if frame == b"frame" else 2
            if os.getpid() != parent:
                os.write(tell, b"x")
                # What is not its own it cannot give back: nor may it end.
                cast.receive(PATIENCE).__exit__()
        finally:
            if os.getpid() != parent:
                os._exit(status)
            signal.signal(signal.SIGALRM, old)
        timer.join()
        os.close(tell)
        os.read(told, 1)
        os.close(told)
        held = cast._look()[1]
        cast.put(b"last")
        ended_well(*children)
        assert (status, held) == (0, 0)
        cast.unlink()


def put_later(cast, children):
    wait_until(lambda: children)
    time.sleep(0.2)
    cast.put(b"frame")
