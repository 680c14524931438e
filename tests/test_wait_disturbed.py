# SPDX-License-Identifier: MIT
"""Whoever waits for several things is disturbed, or lacks what it would sleep
with."""

import os
import resource
import signal
import threading
from contextlib import suppress
from pathlib import Path

import preload
import pytest
from conftest import descriptors, python
from machine import wait_until
from waiters import HUNDREDS, PATIENCE, threads, waits, woken

from shmemext import Channel, Event, wait

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


def test_close_meanwhile_disturbs_nobody(channels):
    channel, other = channels(2)
    waiting = waits([other, channel])
    same = Channel(channel.name)
    channel.close()
    same.put(b"x")
    assert woken(waiting) == [channel]
    same.close()


@pytest.mark.parametrize("count", [1, HUNDREDS])
def test_signal_handler_ends_it(count, channels, pipe):
    """Nothing is left of it, and what it slept for others get."""
    things = [pipe[0], Event(), *[channels() for _ in range(count)]]
    before, files = threads(), descriptors()

    def handler(number, frame):
        raise ZeroDivisionError

    old = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                wait(things)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    # What others have left may go meanwhile.
    wait_until(lambda: threads() <= before)
    assert descriptors() <= files
    things[-1].put(b"x")
    assert wait(things) == things[-1:]


def test_signal_handler_that_returns_ends_nothing(channels, pipe):
    things = [pipe[0], channels()]
    seen = []

    def handler(number, frame):
        seen.append(number)
        if len(seen) == 5:
            things[1].put(b"x")

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        assert wait(things) == things[1:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(seen) >= 5


def test_fork_while_others_wait(channels, pipe):
    """A child has nothing of their waits, and waits itself."""
    channel, many = channels(), channels(HUNDREDS)
    waiting = [waits([*many, pipe[0], channel]) for _ in range(3)]
    for _ in range(5):
        child = os.fork()
        if child == 0:
            try:
                ready = wait([many[-1], pipe[0]], 0.01)
                channel.put(b"x")
                ready += wait([*many, pipe[0], channel], PATIENCE)
                os._exit(ready != [channel])
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        assert status == 0
    assert [woken(one) for one in waiting] == [[channel]] * 3


def test_program_ends_while_a_daemon_thread_waits():
    python(
        """
import os, threading, time
from shmemext import Channel, Event, wait

channels = [Channel(create=True, size=4096) for _ in range(300)]
threading.Thread(target=wait, args=([*channels, os.pipe()[0]],), daemon=True
                 ).start()
time.sleep(0.1)
"""
    )


def test_no_descriptor_is_left_for_it(channels, pipe):
    """Then it looks every now and then."""
    channel = channels()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len([*Path("/proc/self/fd").iterdir()])
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 5, hard))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        assert wait([channel, pipe[0]], 0) == []
        assert wait([channel, pipe[0]], 0.01) == []
        timer = threading.Timer(0.1, pipe[1].send_bytes, [b"x"])
        timer.start()
        assert wait([channel, pipe[0]]) == [pipe[0]]
        channel.put(b"x")
        assert wait([channel, pipe[0]]) == [channel, pipe[0]]
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert taken
    timer.join()


def test_no_thread_is_left_for_it(channels, pipe):
    """Then it looks every now and then."""
    code = """
import os, resource, signal, sys, threading, time
from shmemext import Channel, wait

if os.getuid() == 0:
    os.setuid(12345)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
channels = [Channel(create=True, size=4096) for _ in range(300)]
end, other = os.pipe()

def handler(number, frame):
    if wait([channels[-1], end], 0) == []:
        act()

signal.signal(signal.SIGALRM, handler)
for place in 0, -1:
    def act():
        channels[place].put(b"x")
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    assert wait([*channels, end]) == [channels[place]]
    channels[place].get()
def act():
    os.write(other, b"x")
signal.setitimer(signal.ITIMER_REAL, 0.3)
assert wait([*channels, end]) == [end]
for one in channels:
    one.unlink()
"""
    python(code)


def test_system_that_sleeps_at_one_word(tmp_path):
    """Before Linux 5.16, and in a sandbox that does not know the call."""
    library = preload.build("missing", tmp_path)
    code = """
import os, threading, time
from shmemext import Channel, Event, wait

channels = [Channel(create=True, size=4096) for _ in range(300)]
end, other = os.pipe()
event = Event()
for things, last in [
    ([event, channels[0]], channels[0]),
    ([channels[0], event, end], channels[0]),
    (channels, channels[-1]),
    ([*channels, end, event], channels[130]),
]:
    threading.Timer(0.3, last.put, [b"x"]).start()
    assert wait(things) == [last]
    last.get()
    assert wait(things, 0.1) == []
threading.Timer(0.3, os.write, [other, b"x"]).start()
assert wait([event, end, channels[1]]) == [end]
os.read(end, 1)
threading.Timer(0.3, event.set).start()
assert wait([channels[1], end, event]) == [event]
for one in channels:
    one.unlink()
"""
    for refused in ("waitv=38", "waitv=1"):
        env = {**preload.environment(library), "MISSING": refused}
        python(code, env=env)
