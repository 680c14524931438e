# SPDX-License-Identifier: MIT
"""What the peers have of queues of bytes, as channels.py uses them.

    queue()      a thing with put(data), get() and close(); and with
                 put_many(all) and get_many(), where its peer has these
    broadcast()  the same for frames that each of two readers sees: put(frame)
                 of who made it, and reader(index), which has seen(): the next
                 one's sum of pages

All can be given to a process that multiprocessing spawns."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from typing import Any

from . import sum_of_pages

PATIENCE = 120.0
ROOM = 1 << 20  # bytes, of those that are told
MANY = 1000
DEPTH = 10  # of posix_ipc's queues: more needs a privilege
LONGEST = 8192  # the same
READERS = 2
CONTEXT = multiprocessing.get_context("spawn")

_numbers = itertools.count()


class Queue:
    """Of whatever has put() and get(), and can be given to a child."""

    def __init__(self, made: Any) -> None:
        self.made = made
        self.put, self.get = made.put, made.get

    def close(self) -> None:
        self.made.close()


class Channel(Queue):
    """shmemext's."""

    def __init__(self) -> None:
        from shmemext import Channel

        super().__init__(Channel(create=True, size=ROOM))
        self.put_many = self.made.put_many

    def get_many(self) -> list[bytes]:
        received: list[bytes] = self.made.get_many(MANY)
        return received

    def close(self) -> None:
        self.made.close()
        self.made.unlink()


class Pipe:
    """Of two ends, so for one writer and one reader."""

    def __init__(self) -> None:
        self.reader, self.writer = CONTEXT.Pipe(duplex=False)
        self.get, self.put = self.reader.recv_bytes, self.writer.send_bytes

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


class Fifo:
    """faster-fifo's, which pickles if nobody says otherwise."""

    def __init__(self) -> None:
        import faster_fifo

        self.made = faster_fifo.Queue(ROOM, loads=bytes, dumps=bytes)

    def put(self, data: bytes) -> None:
        self.made.put(data, timeout=PATIENCE)

    def get(self) -> bytes:
        data: bytes = self.made.get(timeout=PATIENCE)
        return data

    def put_many(self, all_of_them: list[bytes]) -> None:
        self.made.put_many(all_of_them, timeout=PATIENCE)

    def get_many(self) -> list[bytes]:
        received: list[bytes] = self.made.get_many(
            timeout=PATIENCE, max_messages_to_get=MANY
        )
        return received

    def close(self) -> None:
        """It goes with the last reference."""


class Pickler(Fifo):
    """The same as it is by default."""

    def __init__(self) -> None:
        import faster_fifo

        self.made = faster_fifo.Queue(ROOM)


class PosixQueue:
    def __init__(self, name: str | None = None) -> None:
        import posix_ipc

        self.name = name or f"/shmemext-bench-{os.getpid()}-{next(_numbers)}"
        self.made = posix_ipc.MessageQueue(
            self.name,
            posix_ipc.O_CREX if name is None else 0,
            max_messages=DEPTH,
            max_message_size=LONGEST,
        )
        self.put = self.made.send

    def __reduce__(self) -> Any:
        return type(self), (self.name,)

    def get(self) -> bytes:
        data: bytes = self.made.receive()[0]
        return data

    def close(self) -> None:
        self.made.close()
        self.made.unlink()


class Frames:
    """shmemext's Broadcast."""

    def __init__(self, size: int) -> None:
        from shmemext import Broadcast

        self.made = Broadcast(create=True, size=size, readers=READERS)
        self.put = self.made.put

    def reader(self, index: int) -> Any:
        return FramesReader(self.made)

    def close(self) -> None:
        self.made.close()
        self.made.unlink()


class FramesReader:
    def __init__(self, made: Any) -> None:
        self.made = made

    def seen(self) -> int:
        with self.made.receive(timeout=PATIENCE) as frame:
            return sum_of_pages(frame)


class Pipes:
    """One for each reader."""

    def __init__(self) -> None:
        self.all = [Pipe() for _ in range(READERS)]

    def put(self, frame: Any) -> None:
        for pipe in self.all:
            pipe.put(frame)

    def reader(self, index: int) -> Any:
        return PipeReader(self.all[index])

    def close(self) -> None:
        for pipe in self.all:
            pipe.close()


class PipeReader:
    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe

    def seen(self) -> int:
        return sum_of_pages(self.pipe.get())
