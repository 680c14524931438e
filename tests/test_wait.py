# SPDX-License-Identifier: MIT
"""shmemext.wait(): several things at a time, of any kinds."""

import multiprocessing
import os
import signal
import socket
import subprocess
import threading
from multiprocessing import connection

import pytest
from channel_children import started
from machine import wait_until
from waiters import PATIENCE, waits, woken

from shmemext import Broadcast, Channel, Event, wait
from shmemext.channels import ShutDown

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


def test_wait_returns_what_is_ready_in_order(channels, pipe):
    reader, writer = pipe
    first, second, third = channels(3)
    event = Event()
    things = [reader, third, event, first, second]
    assert wait(things, 0) == wait(things, -1) == wait(things, 0.001) == []
    first.put(b"x")
    assert wait(things) == [first]
    writer.send_bytes(b"x")
    assert wait(things) == [reader, first]
    event.set()
    third.put(b"x")
    assert wait(iter(things)) == wait(things, 0) == things[:-1]


def test_wait_takes_nothing(channels):
    channel = channels()
    channel.put(b"x")
    for _ in range(10):
        assert wait([channel]) == [channel]
    assert channel.get() == b"x"
    assert wait([channel], 0) == []


def test_wait_for_nothing():
    assert wait([], 0) == wait([], timeout=0.01) == []
    assert connection.wait([], 0) == connection.wait([], timeout=0.01) == []


def test_wait_for_descriptors_alone(both_waits, pipe):
    reader, writer = pipe
    with subprocess.Popen(["true"], stdout=subprocess.PIPE) as child:
        assert both_waits([child.stdout]) == [child.stdout]
    assert both_waits([reader], 0.001) == []
    writer.send_bytes(b"x")
    assert both_waits([reader]) == [reader]
    assert both_waits([reader.fileno()], 0) == [reader.fileno()]


@pytest.fixture(params=[wait, connection.wait], ids=["ours", "theirs"])
def both_waits(request):
    return request.param


class Odd:
    """Says of itself what it likes."""

    def __init__(self, number):
        self.number = number

    def fileno(self):
        if isinstance(self.number, Exception):
            raise self.number
        return self.number


def closed_connection():
    ends = multiprocessing.Pipe()
    for end in ends:
        end.close()
    return ends[0]


def closed_socket():
    made = socket.socket()
    made.close()
    return made


WRONG = {
    "object": object,
    "text": lambda: "channel",
    "none": lambda: None,
    "number": lambda: -1,
    "fraction": lambda: 1.5,
    "event": threading.Event,  # not one of ours
    "connection": closed_connection,
    "socket": closed_socket,
    "fileno": lambda: Odd("x"),
    "raises": lambda: Odd(RuntimeError("x")),
    "fails": lambda: Odd(OSError(5, "x")),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("timeout", [0, None])
def test_wrong_thing_is_refused_as_by_multiprocessing(
    wrong, timeout, channels, pipe
):
    """Alone, and beside what is ready."""
    channel, thing = channels(), wrong()
    channel.put(b"x")
    raised = []
    for call, things in [
        (connection.wait, [pipe[0], thing]),
        (wait, [thing]),
        (wait, [channel, thing]),
        (wait, [thing, pipe[0], channel]),
    ]:
        with pytest.raises(Exception, match=r".") as caught:
            call(things, timeout)
        raised.append((caught.type, str(caught.value)))
    assert len(set(raised)) == 1, raised


def test_same_thing_twice(channels, pipe):
    """A descriptor is refused, as by multiprocessing."""
    channel, event = channels(), Event()
    event.set()
    again = Channel(channel.name)
    channel.put(b"x")
    things = [channel, event, channel, again, event]
    assert wait(things) == things
    again.close()
    raised = []
    for call, thing in [(wait, []), (wait, [channel]), (connection.wait, [])]:
        with pytest.raises(KeyError) as caught:
            call([pipe[0], *thing, pipe[0]], 0)
        raised.append(str(caught.value))
    assert len(set(raised)) == 1


def test_closed_descriptor_is_ready(channels):
    """As for multiprocessing: who reads is told."""
    channel = channels()
    end, other = os.pipe()
    os.close(end)
    os.close(other)
    assert connection.wait([end]) == wait([end]) == [end]
    assert wait([channel, end]) == [end]


@pytest.mark.parametrize("timeout", ["1", [], object()], ids=repr)
def test_wrong_timeout_is_refused(timeout, channels, pipe):
    for call, thing in [(wait, channels()), (connection.wait, pipe[0])]:
        with pytest.raises(TypeError):
            call([thing], timeout)
    with pytest.raises(TypeError):
        wait()
    with pytest.raises(TypeError):
        wait(channels())  # which gives its messages


def test_closed_channel_is_refused(channels):
    channel, event = channels(), Event()
    event.set()
    channel.close()
    with pytest.raises(ValueError, match="closed"):
        wait([event, channel])


def test_shut_down_channel_is_ready(channels):
    """What is at its end, and what is on its way there not yet."""
    channel = channels()
    channel.put(b"x")
    message = channel.receive()
    channel.shutdown()
    other = Channel(channel.name)
    assert wait([other]) == [other]  # this process has all that is left
    with message:
        pass
    assert wait([channel, other]) == [channel, other]
    with pytest.raises(ShutDown):
        other.get()
    other.close()


def test_dropped_messages_are_none(channels):
    channel = channels()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), channel.reserve(100):
            1 / 0  # noqa: B018
    assert wait([channel], 0) == []
    view = channel.reserve(100).__enter__()
    channel.put(b"x")
    assert wait([channel], 0) == []  # in its order
    assert channel.qsize() == 1
    view.release()
    del view


def test_message_that_came_back_is_ready_once(channels):
    channel = channels()
    child = started(hold, channel)
    channel.put(b"x")
    wait_until(lambda: channel.peers == 0)
    assert wait([channel], PATIENCE) == [channel]
    with channel.receive(False) as message:
        assert message.deliveries == 2
        assert wait([channel], 0) == []
    assert wait([channel], 0) == []
    child.join(PATIENCE)


def hold(channel):
    message = channel.receive()
    message.__enter__()
    os.kill(os.getpid(), signal.SIGKILL)


def test_broadcast_is_ready_while_there_is_a_newer_frame(channels, pipe):
    """Of each object: it is a reader of its own."""
    with (
        Broadcast(create=True, size=100) as cast,
        Broadcast(cast.name) as other,
    ):
        assert wait([cast, pipe[0], other], 0) == []
        waiting = waits([channels(), pipe[0], other])
        cast.put(b"x")
        assert woken(waiting) == [other]
        with other.receive():
            assert wait([other, cast], 0) == [cast]
        cast.put(b"y")
        assert wait([other, cast]) == [other, cast]
        cast.unlink()
