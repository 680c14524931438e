# SPDX-License-Identifier: MIT
"""A signal's handler that forks while the process is in wait(), and raises."""

import os
import queue
import signal
import time

import pytest
from machine import PATIENCE

from shmemext import wait
from shmemext.channels import ShutDown

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


class Enough(Exception):
    """Of the wait."""


def code_of(child):
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_child_that_raises_does_not_look_as_its_parent(channel, pipe):
    """Which works on a message, and may leave that to others: so there may be
    more for them."""
    parent = os.getpid()
    reads, writes = (end.fileno() for end in pipe)
    channel.put(b"x")
    taker = os.fork()
    if taker == 0:
        message = channel.receive()
        os.write(writes, b".")
        time.sleep(PATIENCE)
        os._exit(len(message))
    os.read(reads, 1)
    channel.shutdown()
    found = []

    def handler():
        child = os.fork()
        if child == 0:
            os.read(reads, 1)
            raise Enough
        os.kill(taker, signal.SIGKILL)
        os.waitpid(taker, 0)
        with channel.receive(timeout=PATIENCE) as message:
            os.write(writes, b".")
            found.append((message.deliveries, code_of(child), others()))
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
        return code_of(child)

    old = signal.signal(signal.SIGALRM, lambda *_: handler())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        wait([channel])
    except Enough:
        pass
    finally:
        signal.signal(signal.SIGALRM, old)
        if os.getpid() != parent:
            os._exit(0)
    assert found == [(2, 0, 0)]
