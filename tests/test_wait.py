# SPDX-License-Identifier: MIT
"""shmemext.wait(): several things at a time, of any kinds."""

import multiprocessing
import os
import queue
import resource
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path

import preload
import pytest
from conftest import DEV_SHM, python

from shmemext import Broadcast, Channel, Event, wait
from shmemext.channels import ShutDown

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
PATIENCE = 60
HUNDREDS = 300  # more than a system sleeps at


@pytest.fixture
def channels(request):
    """As many as are asked for: by name, and gone at the end."""
    made = []

    def make(count=1, size=1 << 12):
        new = [Channel(create=True, size=size) for _ in range(count)]
        made.extend(new)
        return new if count > 1 else new[0]

    yield make
    for one in made:
        one.unlink()
        one.close()


@pytest.fixture
def pipe():
    """Its ends, as multiprocessing has them."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        yield reader, writer


def started(function, *arguments, method="fork"):
    context = multiprocessing.get_context(method)
    child = context.Process(target=function, args=arguments, daemon=True)
    child.start()
    return child


def waits(things, timeout=PATIENCE):
    """A thread that waits, asleep by now; what it got is in its list."""
    got = []
    thread = threading.Thread(
        target=lambda: got.append(wait(things, timeout)), daemon=True
    )
    thread.start()
    while not asleep(thread.native_id):
        time.sleep(0.001)
    return thread, got


def asleep(thread):
    text = Path(f"/proc/self/task/{thread}/stat").read_text()
    return text.rpartition(")")[2].split()[0] == "S"


def woken(waiting):
    thread, got = waiting
    thread.join(PATIENCE)
    return got[0]


def tasks_and_descriptors():
    return len([*Path("/proc/self/task").iterdir()]), len(
        [*Path("/proc/self/fd").iterdir()]
    )


# What is ready


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
    end, other = os.pipe()
    os.close(end)
    os.close(other)
    assert connection.wait([end]) == wait([end]) == [end]
    assert wait([channels(), end]) == [end]


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
    while channel.peers:
        time.sleep(0.001)
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


# What wakes


def put(channel):
    channel.put(b"x")


def reserve(channel):
    with channel.reserve(1) as view:
        view[:] = b"x"


def shut_down(channel):
    channel.shutdown()


@pytest.mark.parametrize("beside", ["nothing", "descriptors", "many"])
@pytest.mark.parametrize("act", [put, reserve, shut_down])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_process_wakes(act, method, beside, channels, pipe):
    channel = channels()
    others = [Event()]
    if beside != "nothing":
        others += [pipe[0], pipe[1].fileno()][:1]
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
    while len(got) < count:
        time.sleep(0.001)
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
    while channel.qsize():
        time.sleep(0.001)
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
    while wait([channel], 0) == []:
        time.sleep(0.001)
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


# Whoever waits


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
    before = tasks_and_descriptors()

    def handler(number, frame):
        raise ZeroDivisionError

    old = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(ZeroDivisionError):
                wait(things)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert tasks_and_descriptors() == before
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
