# SPDX-License-Identifier: MIT
"""Channel: arguments, exceptions and messages by copy, beside queue.Queue and
multiprocessing.Queue."""

import array
import gc
import inspect
import math
import multiprocessing
import queue
import random
import signal
import threading
import time
import weakref
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest

import shmemext
from shmemext import channels
from shmemext.channels import Channel, ShutDown

PATIENCE = 60


@pytest.fixture
def channel():
    with Channel(create=True, size=1 << 16) as made:
        yield made
        made.unlink()


@pytest.fixture
def full():
    """A channel that has no room for one byte more."""
    with Channel(create=True, size=4096) as made:
        with suppress(queue.Full):
            while True:
                made.put_nowait(bytes(100))
        with suppress(queue.Full):
            while True:
                made.put_nowait(b"")
        yield made
        made.unlink()


class OfQueue:
    """The same with another's names and limits."""

    def __init__(self, module):
        self.made = (
            Channel(create=True, size=4096)
            if module is channels
            else module.Queue(1)
        )
        self.item = bytes(2000)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        if isinstance(self.made, Channel):
            self.made.unlink()
        if hasattr(self.made, "close"):
            self.made.close()
            if hasattr(self.made, "join_thread"):
                self.made.join_thread()

    def fill(self):
        with suppress(queue.Full):
            while True:
                self.made.put(self.item, False)


three = pytest.mark.parametrize(
    "module",
    [queue, multiprocessing, channels],
    ids=lambda module: module.__name__,
)
two = pytest.mark.parametrize(
    "module", [multiprocessing, channels], ids=lambda module: module.__name__
)
NO_WAIT = [
    (False,),
    (False, None),
    (False, 5),
    (0,),
    (True, 0),
    (True, 1e-9),
    (1, 0.001),
]
NO_WAIT_BY_NAME = [
    {"block": False},
    {"block": False, "timeout": None},
    {"block": False, "timeout": 5},
    {"timeout": 0},
    {"timeout": 0.001},
    {"block": True, "timeout": 0.002},
]


@three
def test_messages_come_in_the_order_of_their_puts(module):
    with OfQueue(module) as each:
        q = each.made
        assert q.put(b"one") is None
        assert q.get() == b"one"
        assert q.put(b"two", True, 1) is None
        assert q.get(True, PATIENCE) == b"two"
        assert q.put_nowait(b"three") is None
        assert q.get(block=True, timeout=PATIENCE) == b"three"
        assert q.put(b"four", block=True, timeout=None) is None
        assert q.get(block=True, timeout=None) == b"four"
        assert q.empty() is True and q.full() is False


@three
def test_empty_and_full_are_the_exceptions_of_queue(module):
    with OfQueue(module) as each:
        q = each.made
        for args in NO_WAIT:
            with pytest.raises(queue.Empty):
                q.get(*args)
        for names in NO_WAIT_BY_NAME:
            with pytest.raises(queue.Empty):
                q.get(**names)
        with pytest.raises(queue.Empty):
            q.get_nowait()
        each.fill()
        for args in NO_WAIT:
            with pytest.raises(queue.Full):
                q.put(each.item, *args)
        for names in NO_WAIT_BY_NAME:
            with pytest.raises(queue.Full):
                q.put(each.item, **names)
        with pytest.raises(queue.Full):
            q.put_nowait(each.item)
        assert q.qsize() >= 1 and not q.empty()
        assert q.get(timeout=PATIENCE) == each.item


def test_empty_has_no_words():
    with OfQueue(channels) as each, pytest.raises(queue.Empty) as caught:
        each.made.get_nowait()
    assert caught.value.args == ()


@two
@pytest.mark.parametrize("timeout", [-1, -0.5, -1e300, -math.inf])
def test_negative_timeout_is_none_at_all(module, timeout):
    """Of queue.Queue it is a ValueError."""
    with OfQueue(module) as each:
        with pytest.raises(queue.Empty):
            each.made.get(True, timeout)
        each.fill()
        with pytest.raises(queue.Full):
            each.made.put(each.item, timeout=timeout)
        assert each.made.get(timeout=PATIENCE)
    with pytest.raises(ValueError):
        queue.Queue(1).get(timeout=-1)


def test_nan_is_no_timeout(channel):
    for call in (
        channel.get,
        channel.receive,
        channel.get_many,
        lambda **names: channel.put(b"x", **names),
        lambda **names: channel.put_many([b"x"], **names),
        lambda **names: channel.reserve(1, **names),
    ):
        with pytest.raises(ValueError, match="NaN"):
            call(timeout=math.nan)
    assert channel.empty()


@three
@pytest.mark.parametrize("timeout", ["0", b"0", [], 1j])
def test_timeout_of_a_wrong_type(module, timeout):
    with OfQueue(module) as each, pytest.raises(TypeError):
        each.made.get(True, timeout)


def test_timeouts_of_any_type_of_number(channel):
    for timeout in Decimal("0.001"), Fraction(1, 1000), True - 1:
        with pytest.raises(queue.Empty):
            channel.get(timeout=timeout)
    channel.put(b"x")
    for timeout in 2**63, 1e18, 1e300, math.inf:
        assert channel.get(timeout=timeout) == b"x"
        channel.put(b"x", timeout=timeout)
    with pytest.raises(OverflowError):
        channel.get(timeout=10**400)


@three
def test_wrong_calls(module):
    with OfQueue(module) as each:
        q = each.made
        for call in (
            lambda: q.put(),
            lambda: q.put(b"", True, None, 1),
            lambda: q.put(b"", nonsense=1),
            lambda: q.put(b"", True, block=True),
            lambda: q.get(True, None, 1),
            lambda: q.get(nonsense=1),
            lambda: q.get(True, block=True),
            lambda: q.get_nowait(1),
            lambda: q.put_nowait(),
            lambda: q.qsize(1),
            lambda: q.empty(1),
            lambda: q.full(1),
        ):
            with pytest.raises(TypeError):
                call()
        assert q.empty()


def test_signatures():
    for name in ("put", "get", "put_nowait", "get_nowait", "qsize"):
        theirs = inspect.signature(getattr(queue.Queue, name)).parameters
        ours = inspect.signature(getattr(Channel, name)).parameters
        assert list(ours)[-2:] == list(theirs)[-2:] or len(ours) < 3
        for kind in set(ours) & set(theirs) - {"self"}:
            assert ours[kind].default == theirs[kind].default
    for name, value in vars(Channel).items():
        if not name.startswith("_") and callable(value):
            assert inspect.signature(value), name
            assert value.__doc__


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        bytearray(b"abc"),
        memoryview(b"abcdef")[1:4],
        array.array("d", [1.5, -2]),
        b"long" * 5000,
        bytes(range(256)) * 100,
    ],
    ids=lambda data: f"{type(data).__name__}-{len(data)}",
)
def test_any_buffer_is_sent(channel, data):
    channel.put(data)
    channel.put_nowait(data)
    got = channel.get(), channel.get_nowait()
    assert got == (bytes(data), bytes(data))
    assert type(got[0]) is bytes


@pytest.mark.parametrize("data", ["text", 5, None, [1], object()], ids=repr)
def test_what_is_no_buffer_is_not_sent(channel, data):
    for call in (
        channel.put,
        channel.put_nowait,
        lambda data: channel.put_many([b"x", data]),
    ):
        with pytest.raises(TypeError):
            call(data)
    assert channel.empty()


def test_scattered_bytes_are_not_sent(channel):
    with pytest.raises(BufferError):
        channel.put(memoryview(b"abcdef")[::2])
    assert channel.empty()


def test_message_has_the_half_at_most():
    with Channel(create=True, size=1 << 16) as channel:
        most = (1 << 15) - 16
        channel.put(bytes(most))
        assert channel.get() == bytes(most)
        for call in (
            lambda size: channel.put(bytes(size)),
            lambda size: channel.put_nowait(bytes(size)),
            lambda size: channel.put_many([b"", bytes(size)]),
            lambda size: channel.reserve(size),
        ):
            with pytest.raises(ValueError, match=r"size=131072$"):
                call(most + 1)
            with pytest.raises(ValueError, match=r"size=1048576$"):
                call(1 << 18)
        assert channel.empty()
        with pytest.raises(ValueError, match="no channel"):
            channel.reserve(1 << 40)
        channel.unlink()
    with Channel(create=True, size=131072) as channel:  # as it says
        channel.put(bytes(most + 1))
        channel.unlink()


def test_longest_message_fits_wherever_the_end_is():
    with Channel(create=True, size=4096) as channel:
        for before in range(0, 2048, 16):
            channel.put(bytes(before))
            channel.get()
            channel.put(b"y" * 2032, timeout=0)
            assert channel.get() == b"y" * 2032
        channel.unlink()


# Several at once


def test_many(channel):
    sent = [bytes([i]) * i for i in range(100)]
    assert channel.put_many(sent) == 100
    assert channel.qsize() == 100
    assert channel.get_many(1) == sent[:1]
    assert channel.get_many(50) == sent[1:51]
    assert channel.get_many() == sent[51:]
    with pytest.raises(queue.Empty):
        channel.get_many(block=False)
    with pytest.raises(queue.Empty):
        channel.get_many(5, False)
    with pytest.raises(queue.Empty):
        channel.get_many(5, True, 0.001)


def test_many_takes_any_iterable(channel):
    assert channel.put_many(iter([b"a", bytearray(b"b")])) == 2
    assert channel.put_many(b"" for _ in range(3)) == 3
    assert channel.put_many([]) == 0
    assert channel.get_many() == [b"a", b"b", b"", b"", b""]
    for wrong in 5, None:
        with pytest.raises(TypeError):
            channel.put_many(wrong)
    with pytest.raises(ZeroDivisionError):
        channel.put_many(1 // i for i in (1, 0))
    assert channel.empty()


def test_many_takes_a_thousand_of_itself(channel):
    assert channel.put_many([b"x"] * 2000) == 2000
    assert len(channel.get_many()) == 1000
    assert len(channel.get_many(10**6)) == 1000
    for wrong in 0, -1:
        with pytest.raises(ValueError, match="max"):
            channel.get_many(wrong)
    for wrong in 1.5, "1", None:
        with pytest.raises(TypeError):
            channel.get_many(wrong)


def test_many_that_do_not_fit_are_some(full):
    with pytest.raises(queue.Full):
        full.put_many([b"x"], block=False)
    taken = full.get_many(5)
    sent = full.put_many([bytes(100)] * 10, block=False)
    assert 1 <= sent <= 5
    with suppress(queue.Full):
        assert full.put_many([b""] * 9, timeout=0.001) <= 9
    with pytest.raises(queue.Full):
        full.put_many([bytes(500)], timeout=0.001)
    assert len(taken) == 5


def test_many_that_wait_for_room_are_all_sent():
    with Channel(create=True, size=4096) as channel:
        got = []
        reader = threading.Thread(
            target=lambda: got.extend(channel.get() for _ in range(500))
        )
        reader.start()
        sent = [random.randbytes(i % 300) for i in range(500)]
        assert channel.put_many(sent) == 500
        reader.join()
        assert got == sent
        channel.unlink()


def test_many_that_are_shut_down_say_how_many():
    """Who has sent some is told; who has sent none is told why."""
    with Channel(create=True, size=4096) as channel:
        done = []
        writer = threading.Thread(
            target=lambda: done.append(channel.put_many([bytes(1000)] * 9))
        )
        writer.start()
        while not channel.full() and channel.qsize() < 3:
            time.sleep(0.001)
        time.sleep(0.02)
        channel.shutdown()
        writer.join()
        assert done == [len(list(channel))]
        with pytest.raises(ShutDown):
            channel.put_many([b"x"])
        channel.unlink()


# Ends


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
        time.sleep(0.05)
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
    time.sleep(0.03)
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
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Stop):
                call()
    finally:
        signal.signal(signal.SIGALRM, old)
    channel.put(b"x")
    assert channel.get() == b"x"


def test_handled_signal_goes_on_waiting(channel):
    old = signal.signal(signal.SIGALRM, lambda *args: channel.put(b"x"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert channel.get(timeout=PATIENCE) == b"x"
    finally:
        signal.signal(signal.SIGALRM, old)


# Objects


class Named(Channel):
    def __init__(self, label):
        super().__init__(create=True, size=5000)
        self.label = label


def test_subclass_has_an_init_of_its_own():
    with Named("tiles") as channel:
        assert channel.label == "tiles" and channel.size == 8192
        channel.put(b"x")
        assert channel.get() == b"x"
        channel.unlink()


def test_before_init():
    channel = Channel.__new__(Channel)
    assert repr(channel) == "Channel()"
    for call in (
        channel.get,
        lambda: channel.put(b""),
        channel.unlink,
        channel.__reduce__,
        lambda: channel.name,
        lambda: channel.size,
        channel.__enter__,
    ):
        with pytest.raises(ValueError):
            call()
    channel.close()


def test_init_again_is_another_channel(channel, name):
    channel.put(b"x")
    first = channel.name
    with Channel(first) as other:
        channel.__init__(name, create=True, size=4096)
        assert channel.name == name and channel.empty()
        assert other.get() == b"x"
        channel.unlink()
        channel.__init__(first)


def test_weak_reference_and_circle(name):
    channel = Channel(name, create=True, size=4096, lifetime="users")

    class Derived(Channel):
        pass

    circle = Derived(name)
    circle.me = circle
    dead = weakref.ref(channel), weakref.ref(circle)
    del channel, circle
    gc.collect()
    assert [ref() for ref in dead] == [None, None]
    with pytest.raises(FileNotFoundError):
        Channel(name)


def test_names_at_top_level():
    assert shmemext.Channel is Channel
    assert Channel.__module__ == "shmemext.channels"
    for name in channels.__all__:
        assert getattr(channels, name)
    for cls in channels.Message, channels.Reservation:
        with pytest.raises(TypeError):
            cls()
