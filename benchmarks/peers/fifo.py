# SPDX-License-Identifier: MIT
"""faster-fifo: a queue in shared memory."""

from __future__ import annotations

from typing import Any

from . import Peer, messages, tasks
from .handing import Receiver, Sender

PATIENCE = 120.0


class FifoSender(Sender):
    first = True

    def send(self, array: Any) -> None:
        self.shared.put(array, timeout=PATIENCE)


class FifoReceiver(Receiver):
    def receive(self, message: None) -> Any:
        return self.shared.get(timeout=PATIENCE)


class FasterFifo(Peer):
    modes = ("fresh",)
    sends_many = True

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        import faster_fifo

        room = size + size // 8 + (1 << 16)
        return FifoSender(faster_fifo.Queue(max_size_bytes=room))

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return FifoReceiver(shared)

    def queue(self) -> messages.Fifo:
        return messages.Fifo()

    def tasks(self, name: str) -> tasks.Tasks:
        import faster_fifo

        return tasks.Tasks(faster_fifo.Queue(tasks.ROOM))

    owned = True

    def objects(self) -> messages.Fifo:
        return messages.Pickler()
