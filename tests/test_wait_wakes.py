# SPDX-License-Identifier: MIT
"""What wakes who waits for several things: messages, ends, and deaths."""

import os
import queue
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest
from channel_children import started
from conftest import DEV_SHM
from machine import wait_until
from waiters import HUNDREDS, PATIENCE, waits, woken

from shmemext import Event, wait

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


# What wakes


def put(channel):
    channel.put(b"x")


def reserve(channel):
    with channel.reserve(1) as view:
        view[:] = b"x"


def shut_down(channel):
    channel.shutdown()


@pytest.mark.parametrize("beside", ["nothing", "a descriptor", "many"])
@pytest.mark.parametrize("act", [put, reserve, shut_down])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_process_wakes(act, method, beside, channels, pipe):
    channel = channels()
    others = [Event()]
    if beside != "nothing":
        others.append(pipe[0])
    if beside == "many":
        others = [*channels(HUNDREDS), *others]
    waiting = waits([*others, channel])
    child = started(act, channel, method=method)
    assert woken(waiting) == [channel]
    child.join(PATIENCE)


@pytest.mark.parametrize("place", [0, 126, 127, 253, 254, HUNDREDS - 1])
def test_each_of_hundreds_wakes(place, channels, pipe):
    things = channels(HUNDREDS)
    things.insert(HUNDREDS // 2, pipe[0])
    waiting = waits(things)
    event = Event()
    alike = [event if at == place else Event() for at in range(HUNDREDS)]
    also = waits(alike)
    event.set()
    assert woken(also) == [event]
    pipe[1].send_bytes(b"x")
    assert woken(waiting) == [pipe[0]]
    pipe[0].recv_bytes()
    waiting = waits(things)
    channel = things[place + (place >= HUNDREDS // 2)]
    channel.put(b"x")
    assert woken(waiting) == [channel]


def test_event_that_was_set_and_is_clear_wakes():
    """As Event.wait() has it."""
    event, other = Event(), Event()
    waiting = waits([other, event])
    event.set()
    event.clear()
    assert woken(waiting) == [event]
    assert wait([event], 0) == []


def test_sentinels_and_sockets_wake(channels, pipe):
    channel = channels()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = started(channel.get)
        things = [channel, ours, child.sentinel, Event(), pipe[0]]
        waiting = waits(things)
        theirs.send(b"x")
        assert woken(waiting) == [ours]
        ours.recv(1)
        waiting = waits(things)
        child.kill()
        assert woken(waiting) == [child.sentinel]
        theirs.shutdown(socket.SHUT_WR)
        assert wait(things) == [ours, child.sentinel]
        child.join(PATIENCE)


def test_time_is_over(channels, pipe):
    for things in [[channels()], [channels(), pipe[0]], channels(HUNDREDS)]:
        began = time.monotonic()
        assert wait(things, 0.2) == []
        assert time.monotonic() - began >= 0.2


def test_all_who_wait_are_woken_by_one_message(channels):
    """Nobody of them takes it."""
    channel = channels()
    all = [waits([Event(), channel]) for _ in range(8)]
    channel.put(b"x")
    assert [woken(one) for one in all] == [[channel]] * 8


def test_waiters_and_takers_leave_no_message(channels):
    """Whoever was woken in another's place tells that one."""
    some = channels(3)
    done, count, got = Event(), 2000, []

    def look():
        while not done.is_set():
            for channel in wait([*some, done]):
                with suppress(queue.Empty):
                    if channel is not done:
                        got.append(channel.get_nowait())

    def take():
        while not done.is_set():
            with suppress(queue.Empty):
                got.append(some[0].get(timeout=0.1))

    threads = [threading.Thread(target=run) for run in (look, look, take)]
    for one in threads:
        one.start()
    for number in range(count):
        some[number % 3].put(b"%d" % number)
    try:
        wait_until(lambda: len(got) >= count)
    finally:
        done.set()
    for one in threads:
        one.join(PATIENCE)
    assert sorted(map(int, got)) == list(range(count))


# Deaths


@pytest.mark.parametrize("beside", [0, HUNDREDS])
def test_message_of_a_killed_reader_wakes(beside, channels):
    channel = channels()
    others = channels(beside) if beside else []
    told, tell = os.pipe()
    child = started(hold_until, channel, told)
    channel.put(b"x")
    wait_until(lambda: channel.qsize() == 0)
    waiting = waits([*others, channel])
    os.write(tell, b"x")
    assert woken(waiting) == [channel]
    assert channel.receive(False).deliveries == 2
    child.join(PATIENCE)
    os.close(told)
    os.close(tell)


def hold_until(channel, told):
    message = channel.receive()
    message.__enter__()
    os.read(told, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_dead_writers_do_not_stop_it(channels, pipe):
    """What they have begun is dropped, and what was behind it comes."""
    first, second = channels(2)
    children = [started(die_writing, one) for one in (first, second)]
    for one in children:
        one.join(PATIENCE)
    assert wait([first, second, pipe[0]], 0.5) == []
    second.put(b"x")
    assert wait([first, second, pipe[0]], PATIENCE) == [second]
    assert second.get() == b"x"


def die_writing(channel):
    view = channel.reserve(8).__enter__()
    assert len(view) == 8  # in hand
    os.kill(os.getpid(), signal.SIGKILL)


def test_dead_writer_before_a_message(channels):
    """Who never waits finds it, too."""
    channel = channels()
    started(die_writing, channel).join(PATIENCE)
    channel.put(b"x")
    wait_until(lambda: wait([channel], 0) == [channel])
    assert channel.get_nowait() == b"x"


def test_stopped_taker_stops_nobody(channels):
    """It takes no lock that another one may have."""
    first, second = channels(2)
    child = started(take_for_ever, first)
    try:
        for _ in range(50):
            first.put(b"x")
            os.kill(child.pid, signal.SIGSTOP)
            second.put(b"y")
            assert second in wait([first, second], PATIENCE)
            second.get()
            os.kill(child.pid, signal.SIGCONT)
    finally:
        child.kill()
        child.join(PATIENCE)


def take_for_ever(channel):
    for _ in channel:
        pass


def test_memory_that_is_cut_short_is_ready(channels, pipe):
    """Whoever takes is told."""
    channel, other = channels(2)
    waiting = waits([other, pipe[0], channel])
    with pytest.warns(RuntimeWarning, match="cut short"):
        os.truncate(DEV_SHM / channel.name, 0)
        assert woken(waiting) == [channel]
    assert wait([other, channel]) == [channel]
    with pytest.raises(OSError, match="cut short"):
        channel.get()
