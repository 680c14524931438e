# SPDX-License-Identifier: MIT
"""Ends of a channel, and of waits for it: shutdown(), close(), timeouts and
signals."""

import queue
import signal
import threading
import time

import pytest
from channel_children import PATIENCE
from waiters import wait_until_asleep

from shmemext.channels import Channel, ShutDown


def test_shutdown_drains(channel):
    channel.put_many([b"1", b"2", b"3"])
    channel.shutdown()
    channel.shutdown()
    for call in (
        lambda: channel.put(b"x"),
        lambda: channel.put_nowait(b"x"),
        lambda: channel.put_many([b"x"]),
        lambda: channel.reserve(1),
    ):
        with pytest.raises(ShutDown, match="was shut down"):
            call()
    assert channel.get() == b"1"
    assert list(channel) == [b"2", b"3"]
    assert list(channel) == [] == list(channel.messages())
    for call in (
        channel.get,
        channel.get_nowait,
        channel.get_many,
        channel.receive,
    ):
        with pytest.raises(ShutDown):
            call()


def test_shut_down_is_an_exception_of_the_standard_library():
    assert getattr(queue, "ShutDown", EOFError) is ShutDown


def test_shutdown_wakes_who_waits(full):
    raised = []

    def wait(call):
        try:
            call()
        except ShutDown as error:
            raised.append(error)

    with Channel(create=True, size=4096) as empty:
        calls = [empty.get, empty.receive, empty.get_many] * 3
        calls += [lambda: full.put(bytes(500)), lambda: full.reserve(500)] * 3
        threads = [threading.Thread(target=wait, args=(c,)) for c in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            wait_until_asleep(thread)
        empty.shutdown()
        full.shutdown()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(raised) == len(calls)
        empty.unlink()


def test_closed(channel):
    views = channel.messages()
    channel.close()
    channel.close()
    for call in (
        lambda: channel.put(b"x"),
        lambda: channel.put_nowait(b"x"),
        lambda: channel.put_many([b"x"]),
        lambda: channel.reserve(1),
        channel.get,
        channel.get_nowait,
        channel.get_many,
        channel.receive,
        channel.qsize,
        channel.empty,
        channel.full,
        channel.shutdown,
        lambda: channel.peers,
        lambda: channel.size,
        lambda: next(channel),
        lambda: next(views),
        channel.__enter__,
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert repr(channel) == f"<Channel({channel.name!r}), closed>"


def test_close_leaves_who_waits_alone(channel):
    got = []
    waiting = threading.Thread(target=lambda: got.append(channel.get()))
    waiting.start()
    wait_until_asleep(waiting)
    with Channel(channel.name) as other:
        channel.close()
        other.put(b"x")
        waiting.join(PATIENCE)
    assert got == [b"x"]


def test_close_with_messages_leaves_them(channel):
    channel.put(b"x")
    with Channel(channel.name) as other:
        channel.close()
        assert other.get() == b"x"


def test_timeouts_last_as_long(channel):
    begin = time.monotonic()
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.1)
    assert time.monotonic() - begin >= 0.1


def test_interrupted_wait_raises(channel, full):
    class Stop(Exception):
        pass

    def stop(*args):
        raise Stop

    old = signal.signal(signal.SIGALRM, stop)
    try:
        for call in (
            channel.get,
            channel.receive,
            channel.get_many,
            lambda: next(channel),
            lambda: full.put(bytes(500)),
            lambda: full.put_many([bytes(500)]),
            lambda: full.reserve(500),
        ):
            with pytest.raises(Stop):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    channel.put(b"x")
    assert channel.get() == b"x"


def test_handled_signal_goes_on_waiting(channel):
    old = signal.signal(signal.SIGALRM, lambda *args: channel.put(b"x"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert channel.get(timeout=PATIENCE) == b"x"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
