# SPDX-License-Identifier: MIT
"""Every operation of channels, for operations.py.

What goes wrong loses no message: what was put and not had is there yet."""

import pickle
import queue
from contextlib import suppress

from shmemext import Broadcast, Channel
from shmemext.channels import ShutDown


def named(shm):
    return f"{shm.name[: -len('old')]}new"


def create(shm):
    return Channel(named(shm), create=True, size=4096)


def users(shm):
    """It goes with this, whatever goes wrong after it."""
    return Channel(named(shm), create=True, size=4096, lifetime="users")


def used(operation):
    """On one that has a message, which is still there if that failed."""

    def run(shm):
        channel = Channel(create=True, size=4096, lifetime="users")
        channel.put(b"first")
        operation(channel)
        return channel

    return run


def attach(shm):
    first = users(shm)
    Channel(first.name).close()
    first.close()


def exist_ok(shm):
    first = users(shm)
    return first, Channel(
        first.name, create=True, size=4096, exist_ok=True, lifetime="users"
    )


def wrong(shm):
    with suppress(ValueError):
        Channel(shm.name)
    with suppress(ValueError):
        Channel(named(shm), create=True, size=-1)
    with suppress(FileNotFoundError):
        Channel(named(shm))


def receive(channel):
    with channel.receive() as message:
        assert bytes(message) == b"first"
        return memoryview(message)[1:]


def reserve(channel):
    with channel.reserve(10) as view:
        view[:] = bytes(10)
    with suppress(ZeroDivisionError), channel.reserve(10):
        1 / 0  # noqa: B018


def many(channel):
    assert channel.put_many([b"a", b"b"]) == 2
    assert len(channel.get_many()) == 3


def nothing(channel):
    channel.get()
    with suppress(queue.Empty):
        channel.get_nowait()
    with suppress(queue.Empty):
        channel.get_many(5, False)
    with suppress(queue.Empty):
        channel.receive(False)


def full(channel):
    with suppress(queue.Full):
        while True:
            channel.put_nowait(bytes(1000))


def shut_down(channel):
    channel.shutdown()
    with suppress(ShutDown):
        channel.put(b"x")
    assert list(channel) == [b"first"]


def messages(channel):
    channel.shutdown()
    for message in channel.messages():
        assert bytes(message) == b"first"


def look(channel):
    assert channel.qsize() == 1 and not channel.empty() and not channel.full()
    assert channel.peers == 0 and repr(channel) and channel._look()


def broadcast(shm, name=named, **options):
    return Broadcast(name(shm), create=True, size=100, **options)


def shown(operation):
    """On a Broadcast that has a frame, which is the newest one if that
    failed."""

    def run(shm):
        cast = Broadcast(create=True, size=100, readers=1, lifetime="users")
        cast.put(b"first")
        operation(cast)
        return cast

    return run


def attach_broadcast(shm):
    first = broadcast(shm, lifetime="users")
    Broadcast(first.name).close()
    first.close()


def broadcast_exist_ok(shm):
    first = broadcast(shm, lifetime="users")
    return first, broadcast(shm, exist_ok=True, lifetime="users")


def wrong_broadcast(shm):
    with suppress(ValueError):
        Broadcast(shm.name)
    with suppress(ValueError):
        broadcast(shm, readers=0)
    with suppress(FileNotFoundError):
        Broadcast(named(shm))


def unlink_broadcast(shm):
    """Again where it failed, half way or before: then nothing is left."""
    cast = broadcast(shm)
    try:
        cast.unlink()
    finally:
        with suppress(FileNotFoundError):
            cast.unlink()


def receive_frame(cast):
    with cast.receive(0) as frame:
        assert bytes(frame) == b"first" and frame.seq == 1
        return memoryview(frame)[1:]


def receive_nothing(cast):
    frame = cast.receive(0)
    for timeout in 0, 0.001:
        with suppress(queue.Empty):
            cast.receive(timeout)
    return frame


def receive_too_many(cast):
    frame = cast.receive(0)
    cast.put(b"second")
    with suppress(OSError):
        cast.receive(0)
    return frame


def reserve_frame(cast):
    with cast.reserve(10) as view:
        view[:] = bytes(10)
    with suppress(ZeroDivisionError), cast.reserve():
        1 / 0  # noqa: B018


def write_second(cast):
    with Broadcast(cast.name) as other:
        with suppress(OSError):
            other.put(b"no")
        cast.close()
        other.put(b"second")


def look_at_broadcast(cast):
    assert (cast.seq, cast.missed, cast.peers) == (1, 0, 0)
    assert (cast.size, cast.readers, cast.depth) == (100, 1, 2)
    assert cast.writer and repr(cast) and cast._look()


OPERATIONS = {
    "Channel": create,
    "attach to a Channel": attach,
    "Channel, create or attach": exist_ok,
    "Channel, wrong": wrong,
    "get": used(lambda channel: channel.get()),
    "put": used(lambda channel: channel.put(b"x")),
    "receive": used(receive),
    "reserve": used(reserve),
    "put and get many": used(many),
    "get of nothing": used(nothing),
    "put of too much": used(full),
    "messages": used(messages),
    "shutdown": used(shut_down),
    "look at a Channel": used(look),
    "pickle a Channel by a name": used(
        lambda channel: pickle.loads(pickle.dumps(channel))
    ),
    "attach to a Broadcast": attach_broadcast,
    "Broadcast, create or attach": broadcast_exist_ok,
    "Broadcast, wrong": wrong_broadcast,
    "create and unlink a Broadcast": unlink_broadcast,
    "put a frame": shown(lambda cast: cast.put(b"x")),
    "reserve a frame": shown(reserve_frame),
    "receive a frame": shown(receive_frame),
    "receive no frame": shown(receive_nothing),
    "receive more frames than readers": shown(receive_too_many),
    "second writer of a Broadcast": shown(write_second),
    "look at a Broadcast": shown(look_at_broadcast),
    "pickle a Broadcast by a name": shown(
        lambda cast: pickle.loads(pickle.dumps(cast))
    ),
}
