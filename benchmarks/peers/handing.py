# SPDX-License-Identifier: MIT
"""Both ends of a hand-off through a segment: what all peers with segments do.

    fresh       a segment for each array: created, filled, attached, closed
    reused      one segment, attached by both: filled again for each array
    in place    the same, but the array is made in it: nothing is copied

A sender's `send` returns a small message for the worker, whose receiver turns
it into a buffer. `done` follows the reply, on both ends.
"""

from __future__ import annotations

import os
from typing import Any


class Segments:
    """Mixed into peers that have create, attach, memory, close, unlink."""

    modes: tuple[str, ...] = ("fresh", "reused", "in place")

    def sender(self, mode: str, size: int, context: Any) -> SegmentSender:
        return SegmentSender(self, mode, size)

    def receiver(self, mode: str, shared: Any) -> SegmentReceiver:
        return SegmentReceiver(self, mode)


class SegmentSender:
    shared: Any = None  # goes to the worker when that starts
    first = False  # the message goes before the data

    def __init__(self, peer: Any, mode: str, size: int) -> None:
        self.peer, self.mode, self.size = peer, mode, size
        self.serial = 0
        self.handle: Any = None
        self.name = ""
        if mode != "fresh":
            self._create()

    def _create(self) -> None:
        self.serial += 1
        self.name = f"shmemext-bench-{os.getpid()}-{self.serial}"
        self.handle = self.peer.create(self.name, self.size)

    def _drop(self) -> None:
        self.peer.close(self.handle)
        self.peer.unlink(self.name, self.handle)
        self.handle = None

    def made(self, array: Any) -> None:
        """In place: the array comes into being where it is needed."""
        self.peer.memory(self.handle)[: self.size] = memoryview(array)

    def send(self, array: Any) -> str:
        if self.mode == "fresh":
            self._create()
        if self.mode != "in place":
            self.peer.memory(self.handle)[: self.size] = memoryview(array)
        return self.name

    def done(self) -> None:
        if self.mode == "fresh":
            self._drop()

    def close(self) -> None:
        if self.mode != "fresh":
            self._drop()


class SegmentReceiver:
    def __init__(self, peer: Any, mode: str) -> None:
        self.peer, self.mode = peer, mode
        self.handle: Any = None

    def receive(self, name: str) -> Any:
        if self.handle is None:
            self.handle = self.peer.attach(name)
        return self.peer.memory(self.handle)

    def done(self) -> None:
        if self.mode == "fresh":
            self.close()

    def close(self) -> None:
        if self.handle is not None:
            self.peer.close(self.handle)
            self.handle = None


class Sender:
    """Through a channel that both ends have from the start. Subclasses put
    the array into it; `first`: the worker must be reading meanwhile."""

    first = False

    def __init__(self, shared: Any) -> None:
        self.shared = shared

    def made(self, array: Any) -> None:
        raise NotImplementedError

    def send(self, array: Any) -> Any:
        raise NotImplementedError

    def done(self) -> None:
        pass

    def close(self) -> None:
        pass


class Receiver:
    def __init__(self, shared: Any) -> None:
        self.shared = shared

    def receive(self, message: Any) -> Any:
        raise NotImplementedError

    def done(self) -> None:
        pass

    def close(self) -> None:
        pass
