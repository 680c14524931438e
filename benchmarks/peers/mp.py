# SPDX-License-Identifier: MIT
"""What else multiprocessing has: pipes, queues, arrays, managers."""

from __future__ import annotations

import multiprocessing
from typing import Any

from . import Peer, messages, tasks
from .handing import Receiver, Sender


class PipeSender(Sender):
    """Blocks until the worker reads."""

    first = True

    def __init__(self, ends: Any) -> None:
        reader, self.writer = ends
        super().__init__(reader)

    def send(self, array: Any) -> None:
        self.writer.send(array)


class PipeReceiver(Receiver):
    def receive(self, message: None) -> Any:
        return self.shared.recv()


class Pipe(Peer):
    modes = ("fresh",)
    is_for_all = False

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return PipeSender(context.Pipe(duplex=False))

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return PipeReceiver(shared)

    def queue(self) -> messages.Pipe:
        return messages.Pipe()

    def broadcast(self, size: int) -> messages.Pipes:
        return messages.Pipes()


class QueueSender(Sender):
    first = True

    def send(self, array: Any) -> None:
        self.shared.put(array)


class QueueReceiver(Receiver):
    def receive(self, message: None) -> Any:
        return self.shared.get()


class Queue(Peer):
    modes = ("fresh",)

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return QueueSender(context.Queue())

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return QueueReceiver(shared)

    def queue(self) -> messages.Queue:
        return messages.Queue(messages.CONTEXT.Queue())

    def objects(self) -> messages.Queue:
        return self.queue()

    def tasks(self, name: str) -> tasks.Tasks:
        return tasks.Tasks(tasks.CONTEXT.Queue())

    owned = True


class SimpleQueue(Peer):
    def queue(self) -> messages.Queue:
        return messages.Queue(messages.CONTEXT.SimpleQueue())

    def objects(self) -> messages.Queue:
        return self.queue()

    def tasks(self, name: str) -> tasks.Patient:
        return tasks.Patient(tasks.CONTEXT.SimpleQueue())

    owned = True


class ManagerQueue(Peer):
    """A server process has it."""

    def __init__(self) -> None:
        self.manager = multiprocessing.Manager()

    def tasks(self, name: str) -> tasks.Tasks:
        return tasks.Tasks(self.manager.Queue())

    owned = True


class ArraySender(Sender):
    def __init__(self, raw: Any, mode: str) -> None:
        super().__init__(raw)
        self.view = memoryview(raw).cast("B")
        self.mode = mode

    def made(self, array: Any) -> None:
        self.view[:] = memoryview(array)

    def send(self, array: Any) -> None:
        if self.mode == "reused":
            self.view[:] = memoryview(array)


class ArrayReceiver(Receiver):
    def receive(self, message: None) -> Any:
        return memoryview(self.shared).cast("B")


class RawArray(Peer):
    """Made before the worker starts, and given to it."""

    modes = ("reused", "in place")

    def create(self, name: str, size: int) -> Any:
        return multiprocessing.RawArray("B", size)

    def memory(self, handle: Any) -> Any:
        return memoryview(handle).cast("B")

    def array(self, handle: Any) -> Any:
        import numpy as np

        return np.ndarray(len(handle), np.uint8, buffer=handle)

    def close(self, handle: Any) -> None:
        """It goes with the last reference."""

    def unlink(self, name: str, handle: Any) -> None:
        """It has no name."""

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return ArraySender(context.RawArray("B", size), mode)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return ArrayReceiver(shared)

    def element(self) -> tuple[Any, Any, Any]:
        return multiprocessing.RawArray("q", 100), 5, lambda: None


class Array(Peer):
    """With its lock, as it is by default."""

    def element(self) -> tuple[Any, Any, Any]:
        return multiprocessing.Array("q", 100), 5, lambda: None


class ManagerSender(Sender):
    def __init__(self, context: Any) -> None:
        self.manager = context.Manager()
        super().__init__(self.manager.list([None]))

    def send(self, array: Any) -> None:
        self.shared[0] = array

    def close(self) -> None:
        self.manager.shutdown()


class ManagerReceiver(Receiver):
    def receive(self, message: None) -> Any:
        return self.shared[0]


class ManagerList(Peer):
    modes = ("fresh",)

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return ManagerSender(context)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return ManagerReceiver(shared)

    def element(self) -> tuple[Any, Any, Any]:
        manager = multiprocessing.Manager()
        return manager.list(range(100)), 5, manager.shutdown


class ManagerDict(Peer):
    by_key = True

    def element(self) -> tuple[Any, Any, Any]:
        manager = multiprocessing.Manager()
        return manager.dict({"5": 5}), "5", manager.shutdown
