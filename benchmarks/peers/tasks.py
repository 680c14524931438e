# SPDX-License-Identifier: MIT
"""What the peers have of queues and of frames for all, as crash_queues.py
kills their users.

    tasks(name)    a queue of bytes with put(data), get(seconds), which is
                   None when nothing came, and take(seconds): as get(), by the
                   way in which it is not lost if the peer has one
    frames(name)   a thing with write(number), write_half(number), reader(),
                   which has see(seconds): the number of a frame that it keeps

All can be given to a process that multiprocessing spawns."""

from __future__ import annotations

import multiprocessing
from queue import Empty
from time import monotonic, sleep
from typing import Any

CONTEXT = multiprocessing.get_context("spawn")
ROOM = 1 << 20
FRAME = 1 << 20
DEPTH = 10  # of posix_ipc's queues: more needs a privilege
LONGEST = 8192  # the same


class Tasks:
    """Of whatever has put(data) and get(block, timeout)."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def put(self, data: bytes) -> None:
        self.made.put(data)

    def get(self, seconds: float) -> bytes | None:
        try:
            data: bytes = self.made.get(True, seconds)
        except Empty:
            return None
        return data

    def take(self, seconds: float) -> bytes | None:
        return self.get(seconds)


class OfChannel(Tasks):
    """The dead worker's message is delivered again."""

    held: Any = None

    def take(self, seconds: float) -> bytes | None:
        if self.held is not None:
            self.held.__exit__(None, None, None)
        try:
            self.held = self.made.receive(timeout=seconds)
            return bytes(self.held.__enter__())
        except Empty:
            self.held = None
            return None


class Patient(Tasks):
    """Its get() knows no timeout."""

    def get(self, seconds: float) -> bytes | None:
        data: bytes = self.made.get()
        return data


class OfPosix(Tasks):
    def __init__(self, name: str) -> None:
        import posix_ipc

        self.name, self.busy = name, posix_ipc.BusyError
        super().__init__(
            posix_ipc.MessageQueue(
                f"/{name}",
                posix_ipc.O_CREAT,
                max_messages=DEPTH,
                max_message_size=LONGEST,
            )
        )

    def __reduce__(self) -> Any:
        return type(self), (self.name,)

    def put(self, data: bytes) -> None:
        self.made.send(data)

    def get(self, seconds: float) -> bytes | None:
        try:
            data: bytes = self.made.receive(seconds)[0]
        except self.busy:
            return None
        return data


class Cast:
    """shmemext's Broadcast."""

    def __init__(self, name: str) -> None:
        from shmemext import Broadcast

        self.made = Broadcast(name, create=True, size=FRAME)

    def write(self, number: int) -> None:
        self.made.put(bytes([number]) * FRAME)

    def write_half(self, number: int) -> None:
        self.half = self.made.reserve()
        view = self.half.__enter__()
        view[: FRAME // 2] = bytes([number]) * (FRAME // 2)

    def reader(self) -> Cast:
        return self

    def see(self, seconds: float) -> int | None:
        try:
            self.held = self.made.receive(timeout=seconds)
            frame = self.held.__enter__()
        except Empty:
            return None
        return whole(frame)


def whole(frame: Any) -> int:
    """Its number; none of those, where it is not one frame."""
    first: int = frame[0]
    return first if bytes(frame) == bytes([first]) * FRAME else -1


class Lent:
    """iceoryx2's. Each process is a node of its own, and opens what it
    uses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.made: Any = None

    def __reduce__(self) -> Any:
        return type(self), (self.name,)

    def loan(self, number: int, size: int) -> Any:
        from .iceoryx import service_of

        if self.made is None:
            self.service = service_of(self.name)
            builder = self.service.publisher_builder()
            self.made = builder.initial_max_slice_len(FRAME).create()
        loan = self.made.loan_slice_uninit(FRAME)
        view = loan.payload().as_memory_view().cast("B")
        view[:size] = bytes([number]) * size
        return loan

    def write(self, number: int) -> None:
        self.loan(number, FRAME).assume_init().send()

    def write_half(self, number: int) -> None:
        self.half = self.loan(number, FRAME // 2)

    def reader(self) -> Lent:
        from .iceoryx import service_of

        self.service = service_of(self.name)
        self.made = self.service.subscriber_builder().create()
        return self

    def see(self, seconds: float) -> int | None:
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            self.held = self.made.receive()
            if self.held is not None:
                return whole(self.held.payload().as_memory_view().cast("B"))
            sleep(0.001)
        return None
