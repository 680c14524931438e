# SPDX-License-Identifier: MIT
"""Messages, by copy and in place, and by tasks."""

import asyncio
import queue
from contextlib import suppress
from typing import TYPE_CHECKING, assert_type

from shmemext import Broadcast, Channel, channels
from shmemext.channels import Frame, Message, Reservation, ShutDown


class Tiles(Channel):
    """Subclasses are as good."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name, create=True, size=1 << 16, lifetime="users")


def by_copy(channel: Channel) -> list[bytes]:
    assert_type(channel.put(b"x"), None)
    channel.put(bytearray(b"y"), True, 5)
    channel.put_nowait(memoryview(b"z"))
    assert_type(channel.put_many([b"a", memoryview(b"b")], timeout=1), int)
    assert_type(channel.get(), bytes)
    assert_type(channel.get(block=True, timeout=0.5), bytes)
    assert_type(channel.get_nowait(), bytes)
    assert_type(
        (channel.qsize(), channel.peers, channel.size), tuple[int, int, int]
    )
    return channel.get_many(10, False)


def in_place(channel: Channel) -> bytes:
    reservation = channel.reserve(3)
    assert_type(reservation, Reservation)
    with reservation as view:
        assert_type(view, memoryview)
        view[:] = b"abc"
    with channel.receive() as message:
        assert_type(message, Message)
        assert_type(message.deliveries, int)
        return bytes(message)


class Camera(Broadcast):
    def __init__(self) -> None:
        super().__init__(create=True, size=100, readers=2, lifetime="users")


def frames(cast: Broadcast) -> int:
    assert_type(cast.put(b"x"), None)
    with cast.reserve() as view:
        assert_type(view, memoryview)
    with cast.reserve(3) as view:
        view[:] = b"abc"
    with cast.receive(timeout=5) as frame:
        assert_type(frame, Frame)
        assert_type((frame.seq, len(frame), frame[0]), tuple[int, int, int])
        assert bytes(frame[1:]) == b"bc"
    assert_type(cast.writer, int | None)
    return cast.seq + cast.missed


async def tasks(channel: Channel) -> int:
    await channel.put_async(b"x")
    assert_type(await channel.get_async(), bytes)
    channel.shutdown()
    count = 0
    async for data in channel:
        assert_type(data, bytes)
        count += 1
    return count


def main() -> None:
    with Camera() as cast:
        assert frames(cast) == 3

        async def newest() -> Frame:
            cast.put(b"next")
            return await cast.receive_async()

        assert asyncio.run(newest()).seq == 4
    with Tiles() as channel:
        assert by_copy(channel) == [b"a", b"b"]
        assert in_place(channel) == b"abc"
        with suppress(queue.Empty):
            channel.get_nowait()
        assert asyncio.run(tasks(channel)) == 0
        for message in channel.messages():
            assert_type(message, Message)
        try:
            channel.get()
        except ShutDown:
            print("shut down")


if TYPE_CHECKING:
    channel = channels.Channel()
    channel.put("text")  # E: arg-type
    channel.get(None, "1")  # E: arg-type
    Channel(size="1")  # E: arg-type
    Channel(lifetime="never")  # E: arg-type
    channel.recieve()  # E: attr-defined
    cast = channels.Broadcast("camera")
    cast.put("text")  # E: arg-type
    cast.reserve("1")  # E: arg-type
    Broadcast(depth="1")  # E: arg-type
    cast.seq = 1  # E: misc
    print(cast.receive().deliveries)  # E: attr-defined

if __name__ == "__main__":
    main()
