# SPDX-License-Identifier: MIT
"""Every way to wait for channels and their like, for operations.py: wait(),
tasks, and looking at them from outside.

Nobody else acts, so what is not there is waited for in vain, for a moment."""

import asyncio
import os
from contextlib import suppress
from warnings import filterwarnings

from shmemext import (
    AnonymousMemory,
    Broadcast,
    Channel,
    Event,
    _traffic,
    wait,
)
from shmemext.channels import Frame, Message, Reservation, ShutDown

KINDS = Broadcast, Channel, Frame, Message, Reservation

MOMENT = 1e-4  # seconds, which are slept all the same
MANY = 130  # more than the system sleeps at

# As wide as what asyncio asks of one, when nothing is waited for.
LOOP = asyncio.new_event_loop()

# A coroutine for which there is no memory has no other end.
filterwarnings("ignore", "coroutine .* was never awaited")


# They are here all the time: waiting takes nothing.
EMPTY, FULL = os.pipe(), os.pipe()
os.write(FULL[1], b"x")
SIZE = 4096
channel, full_channel = (
    Channel(create=True, size=SIZE, lifetime="users") for _ in range(2)
)
cast, full_cast = (
    Broadcast(create=True, size=9, lifetime="users") for _ in range(2)
)
event, full_event = (Event(AnonymousMemory(SIZE)) for _ in range(2))
full_channel.put(b"x"), full_cast.put(b"x"), full_event.set()


def let_go():
    """For who looks at what a fork makes of one memory alone."""
    for noun in "channel", "cast", "event":
        del globals()[noun], globals()[f"full_{noun}"]


def wait_at_once(_):
    full = [full_event, full_channel, full_cast]
    for timeout in 0, None:
        assert wait([channel, *full, event, cast], timeout) == full


def wait_for_one(_):
    for thing in channel, cast, event:
        assert wait([thing], MOMENT) == []


def wait_in_vain(_):
    things = channel, cast, event
    assert wait(things, MOMENT) == wait(things, 0) == []


def wait_for_many(_):
    """With a helper."""
    assert wait([event] * MANY, MOMENT) == []


def wait_beside_a_descriptor(_):
    """With another one."""
    assert wait([event, EMPTY[0]], MOMENT) == []
    assert wait([EMPTY[0], event, FULL[0]]) == [FULL[0]]


def wait_for_wrong_things(_):
    for things, error in (
        ([event, None], ValueError),
        ([event, -1], ValueError),
        ([event, 0, 0], KeyError),
        (event, TypeError),
    ):
        with suppress(error):
            wait(things)


def watch(_):
    """As a thread does for a task."""
    channel._watch(MOMENT, None)
    channel._watch(MOMENT, b"x")
    cast._watch(MOMENT)


def step(coroutine):
    """What comes of it; it waits for nothing."""
    asyncio._set_running_loop(LOOP)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        asyncio._set_running_loop(None)
        coroutine.close()
    raise AssertionError("it waits")


def of_new_ones(operation):
    def run(shm):
        with (
            Channel(create=True, size=SIZE, lifetime="users") as channel,
            Broadcast(f"{shm.name}-cast", True, 9, lifetime="users") as cast,
        ):
            return operation(channel, cast)

    return run


def task(channel, cast):
    step(channel.put_async(b"first"))
    step(channel.put_async(b"second"))
    assert step(channel.get_async()) == b"first"
    channel.shutdown()
    assert step(aiter(channel).__anext__()) == b"second"
    with suppress(StopAsyncIteration):
        step(aiter(channel).__anext__())
    with suppress(ShutDown):
        step(channel.put_async(b"x"))
    cast.put(b"x")
    with step(cast.receive_async()) as frame:
        assert bytes(frame) == b"x"


def hold_beyond_close(channel, cast):
    """What is in hand is there until it goes."""
    channel.put(b"x")
    message = channel.receive()
    room = channel.reserve(1)
    cast.put(b"x")
    frame = cast.receive()
    other = cast.reserve(1)
    channel.close()
    cast.close()
    assert bytes(message) == bytes(frame) == b"x"
    with room as view, other as another:
        view[:] = another[:] = b"y"


def opened(name):
    return os.open(f"/dev/shm/{name}", os.O_RDONLY)


def seen(name):
    file = opened(name)
    try:
        return _traffic.look(file, opened)
    finally:
        os.close(file)


def look_from_outside(_):
    found = seen(full_channel.name)
    assert (found.state, found.messages) == ("open", 1)
    found = seen(full_cast.name)
    assert (found.state, found.newest) == ("written", 1)
    assert found.members in (1, None)


OPERATIONS = {
    "wait for things at once": wait_at_once,
    "wait for one thing in vain": wait_for_one,
    "wait for things in vain": wait_in_vain,
    "wait for many things": wait_for_many,
    "wait for things beside a descriptor": wait_beside_a_descriptor,
    "wait for wrong things": wait_for_wrong_things,
    "watch a Channel and a Broadcast": watch,
    "task at a Channel and a Broadcast": of_new_ones(task),
    "hold what a Channel and a Broadcast had": of_new_ones(hold_beyond_close),
    "look at a Channel and a Broadcast from outside": look_from_outside,
}
