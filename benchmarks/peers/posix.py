# SPDX-License-Identifier: MIT
"""posix_ipc, whose segments are mapped with the standard library's mmap."""

from __future__ import annotations

import mmap
from typing import Any

from . import Peer, messages, tasks
from .handing import Segments
from .locks import PosixSemaphore


class PosixIpc(Segments, Peer):
    def __init__(self) -> None:
        import posix_ipc

        self.ipc = posix_ipc

    def _mapped(self, shm: Any) -> mmap.mmap:
        try:
            return mmap.mmap(shm.fd, shm.size)
        finally:
            shm.close_fd()

    def create(self, name: str, size: int) -> mmap.mmap:
        return self._mapped(
            self.ipc.SharedMemory("/" + name, self.ipc.O_CREX, size=size)
        )

    def attach(self, name: str) -> mmap.mmap:
        return self._mapped(self.ipc.SharedMemory("/" + name))

    def memory(self, handle: mmap.mmap) -> mmap.mmap:
        return handle

    def close(self, handle: mmap.mmap) -> None:
        handle.close()

    def unlink(self, name: str, handle: Any) -> None:
        self.ipc.unlink_shared_memory("/" + name)

    def array(self, handle: mmap.mmap) -> Any:
        import numpy as np

        return np.ndarray(len(handle), np.uint8, buffer=handle)

    def tasks(self, name: str) -> tasks.OfPosix:
        return tasks.OfPosix(name)

    owned = True

    def left_tasks(self, name: str) -> bool:
        try:
            self.ipc.MessageQueue(f"/{name}").close()
        except self.ipc.ExistentialError:
            return False
        return True

    def tidy(self, name: str) -> None:
        """It is in no mount that goes with the case."""
        self.ipc.unlink_message_queue(f"/{name}")

    def lock(self, name: str) -> PosixSemaphore:
        return PosixSemaphore(name)

    named = permit = lock

    def queue(self) -> messages.PosixQueue:
        return messages.PosixQueue()
