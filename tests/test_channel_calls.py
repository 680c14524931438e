# SPDX-License-Identifier: MIT
"""What a call takes and gives that is easily forgotten: numbers of any type,
names of arguments, messages as sequences of numbers."""

import asyncio
import queue

import pytest

from shmemext.channels import Broadcast, Channel


class Number:
    """As numpy's are."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


@pytest.mark.parametrize("kind", [Channel, Broadcast])
def test_size_of_any_type_of_number(kind):
    with kind(create=True, size=Number(5000)) as made:
        made.unlink()
        assert made.size >= 5000
    with pytest.raises(TypeError):
        kind(create=True, size=5000.0)
    with pytest.raises(TypeError):
        kind(create=True, size="5000")


def test_size_that_is_no_number_is_said_to_be():
    with pytest.raises(TypeError, match=r"'str' object .* as an integer"):
        Channel(create=True, size="5000")


def test_arguments_of_get_many_have_names(channel):
    channel.put_many([b"a", b"b", b"c"])
    assert channel.get_many(max=2) == [b"a", b"b"]
    assert channel.get_many(block=False, max=Number(7)) == [b"c"]
    for nothing in {"timeout": 0.001}, {"block": False}, {"timeout": -1}:
        with pytest.raises(queue.Empty):
            channel.get_many(max=2, **nothing)
    for error, wrong in (
        (ValueError, {"max": 0}),
        (TypeError, {"max": 1.5}),
        (TypeError, {"max": None}),
        (TypeError, {"most": 1}),
        (TypeError, {"timeout": "1"}),
    ):
        with pytest.raises(error):
            channel.get_many(**wrong)
    with pytest.raises(TypeError):
        channel.get_many(1, max=2)


def test_message_is_iterated_as_its_bytes_are(channel):
    channel.put(b"\x00\xffa")
    with channel.receive() as message:
        assert list(message) == [0, 255, 97]
        assert 255 in message
        assert 1 not in message
        assert max(message) == 255
        assert [*reversed(bytes(message))] == [97, 255, 0]
    with pytest.raises(ValueError, match="given back"):
        iter(message)


def test_iterator_keeps_the_message(channel):
    """As an array over it does."""
    channel.put(b"ab")
    with channel.receive() as message:
        numbers = iter(message)
    assert channel._look()[2] == 1
    assert list(numbers) == [97, 98]
    del numbers
    assert channel._look()[2] == 0


def test_iterated_message_was_looked_at(channel):
    channel.put(b"ab")
    assert sum(channel.receive()) == 195
    assert channel.empty()


def test_frame_is_iterated_too():
    with Broadcast(create=True, size=3) as cast:
        cast.unlink()
        cast.put(b"abc")
        with cast.receive() as frame:
            assert list(frame) == [97, 98, 99]
            assert 98 in frame


@pytest.mark.parametrize("kind", [Channel, Broadcast])
def test_async_with_closes_it(kind, name):
    async def use():
        async with kind(name, create=True, size=100) as made:
            made.put(b"x")
            made.unlink()
            assert type(made) is kind
        with pytest.raises(ValueError, match="closed"):
            made.put(b"x")
        with pytest.raises(ValueError, match="closed"):
            async with made:
                raise AssertionError
        with pytest.raises(ZeroDivisionError):
            async with kind(create=True, size=100) as other:
                other.unlink()
                raise ZeroDivisionError
        with pytest.raises(ValueError, match="closed"):
            other.put(b"x")

    asyncio.run(use())


def test_longest_is_said_as_it_is(channel):
    """One byte over the longest is less than the half."""
    longest = channel.size // 2 - 16
    with pytest.raises(ValueError, match=f"has {longest}, .* size=131072"):
        channel.put(bytes(longest + 1))
