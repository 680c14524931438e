# SPDX-License-Identifier: MIT
"""Who lives, where a process changes what it is: a daemon that has closed all
descriptors, a program that was executed."""

import os
import signal
import sys
import time

import pytest
from channel_children import PATIENCE
from family_children import wait_until

from shmemext import Channel

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


def forked(function):
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(1)
    return pid


def wait_for(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def become_daemon():
    """As they do: nothing is left of whoever started it."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in 0, 1, 2:
        os.dup2(nothing, fd)
    os.closerange(3, 4096)


@pytest.fixture
def news():
    with Channel(create=True, size=4096) as made:
        yield made
        made.unlink()


def test_daemon_that_has_closed_all_descriptors(channel, news):
    """It counts, and what it has in hand comes back when it is killed."""
    channel.put(b"job")

    def daemon():
        become_daemon()
        with channel.receive() as message:
            news.put(b"%d has %b" % (os.getpid(), message))
            time.sleep(600)

    assert wait_for(forked(daemon)) == 0
    pid, has, job = news.get(timeout=PATIENCE).split()
    try:
        assert (has, job) == (b"has", b"job")
        # Those between may end yet.
        assert wait_until(lambda: channel.peers == 1)
    finally:
        os.kill(int(pid), signal.SIGKILL)
    with channel.receive(timeout=PATIENCE) as message:
        assert (bytes(message), message.deliveries) == (b"job", 2)
    assert wait_until(lambda: channel.peers == 0)


def test_daemon_finds_what_others_left_in_hand(channel, news):
    """It sees that they are dead, without a descriptor of its own."""
    channel.put(b"job")

    def killed():
        with channel.receive():
            os.kill(os.getpid(), signal.SIGKILL)

    def daemon():
        become_daemon()
        assert wait_for(forked(killed)) == -signal.SIGKILL
        with channel.receive(timeout=PATIENCE) as message:
            news.put(b"%d" % message.deliveries)
        os._exit(0)

    assert wait_for(forked(daemon)) == 0
    assert news.get(timeout=PATIENCE) == b"2"


def test_executed_program_has_nothing_in_hand(channel, news):
    """Nor is it a reader any more, though the process lives."""
    channel.put(b"job")

    def execute():
        reservation = channel.reserve(100)
        view = reservation.__enter__()
        with channel.receive():
            view[:2] = b"xx"
            news.put(b"has it")
            os.execv(SLEEPS[0], SLEEPS)

    pid = forked(execute)
    try:
        assert news.get(timeout=PATIENCE) == b"has it"
        with channel.receive(timeout=PATIENCE) as message:
            assert (bytes(message), message.deliveries) == (b"job", 2)
        channel.put(b"after")  # what was reserved before it
        assert channel.get(timeout=PATIENCE) == b"after"
        assert wait_until(lambda: channel.peers == 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        wait_for(pid)
