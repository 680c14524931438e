# SPDX-License-Identifier: MIT
"""Somebody is stopped, by SIGSTOP or a debugger, in the few instructions for
which it has one of a channel's locks. It lives, so nobody takes that from it.

Here a process that lives is written into the word of the lock."""

import asyncio
import contextlib
import queue
import struct
import threading
import time

import pytest
from channel_children import PATIENCE, kill, take_and_stay, told

from shmemext import SharedMemory, wait

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
PUT, TAKE = 72, 200  # their words: csrc/core/channels/ring.h
DATA, TOKEN = 4096, (1 << 29) - 1


@pytest.fixture
def words(channel):
    """Sets a word of its memory."""
    with SharedMemory(channel.name, track=False) as memory:

        def set(where, value):
            struct.pack_into("=I", memory.buf, where, value)

        set.record = lambda: struct.unpack_from("=Q", memory.buf, DATA)[0]
        yield set


@pytest.fixture
def stopped(channel, words):
    """The token of another process that has it open."""
    channel.put(b"in hand")
    child, connection = told(take_and_stay, channel)
    connection.recv()
    yield words.record() >> 28 & TOKEN
    kill(child)


TRIES = 3  # others use the machine, too


def is_quick(call):
    """In less than the second for which it would wait."""
    for _ in range(TRIES):
        began = time.monotonic()
        with pytest.raises(queue.Empty):
            call()
        if time.monotonic() - began < 0.9:
            return True
    return False


def test_empty_is_said_at_once(channel, words, stopped):
    """That needs no lock; a look after the dead does, and may wait."""
    words(PUT, stopped)
    for call in (
        channel.get_nowait,
        lambda: channel.get(False),
        lambda: channel.get(timeout=0),
        lambda: channel.receive(block=False),
        lambda: channel.get_many(block=False),
    ):
        assert is_quick(call)
    words(PUT, 0)
    assert wait([channel], 0) == []


@pytest.mark.parametrize("lock", [PUT, TAKE])
def test_what_cannot_be_said_ends(lock, channel, words, stopped):
    """After a second, or what is left of a timeout."""
    channel.put(b"x")
    words(lock, stopped)
    call, error = {
        PUT: (lambda *args: channel.put(b"y", *args), queue.Full),
        TAKE: (channel.get, queue.Empty),
    }[lock]
    for arguments in [(False,), (True, 0.05), (True, 0)]:
        with pytest.raises(error):
            call(*arguments)
    words(lock, 0)
    call()


def test_message_that_comes_meanwhile_is_got(channel, words, stopped):
    """Who waits looks after the dead, which needs a lock that who is about to
    send does not."""
    got = []

    def get():
        with contextlib.suppress(queue.Empty):
            got.append(channel.get(timeout=3))

    with channel.reserve(1) as view:
        view[0] = ord("x")
        words(PUT, stopped)
        reader = threading.Thread(target=get)
        reader.start()
        time.sleep(0.2)
    reader.join()
    words(PUT, 0)
    assert got == [b"x"]


@pytest.mark.parametrize("lock", [PUT, TAKE])
def test_loop_goes_on(lock, channel, words, stopped):
    """Other tasks run; this one may be cancelled, and it gets what it wants
    when that one goes on."""
    for _ in range(TRIES):
        if lock == TAKE:
            channel.put(b"x")
        longest, got = asyncio.run(hold_up(lock, channel, words, stopped))
        assert got == (None if lock == PUT else b"x")
        assert channel.qsize() == (lock == PUT)
        if longest < 0.9:  # a second, where the loop waits for it
            return
        if lock == PUT:
            channel.get()
    pytest.fail("the loop waits")


async def hold_up(lock, channel, words, stopped):
    """How long the loop did, at most, and what the task got."""

    def call():
        return channel.put_async(b"y") if lock == PUT else channel.get_async()

    words(lock, stopped)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(call(), 0.05)
    task = asyncio.create_task(call())
    began = before = time.monotonic()
    longest = 0.0
    while before - began < 1.5:
        await asyncio.sleep(0.001)
        now = time.monotonic()
        before, longest = now, max(longest, now - before)
    assert not task.done()
    words(lock, 0)
    return longest, await asyncio.wait_for(task, PATIENCE)
