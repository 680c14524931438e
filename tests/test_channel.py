# SPDX-License-Identifier: MIT
"""Channel: arguments, exceptions and messages by copy, beside queue.Queue and
multiprocessing.Queue."""

import array
import inspect
import math
import multiprocessing
import queue
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest
from machine import wait_until

from shmemext import channels
from shmemext.channels import Channel

PATIENCE = 60


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
        assert q.qsize() >= 1
        wait_until(lambda: not q.empty())  # multiprocessing's has a thread
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
        limits = "no channel|index-sized"  # of its records, of words
        with pytest.raises((ValueError, OverflowError), match=limits):
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
