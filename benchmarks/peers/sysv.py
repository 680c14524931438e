# SPDX-License-Identifier: MIT
"""sysv_ipc: numbers instead of names, and nothing in /dev/shm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from . import Peer, key
from .handing import Segments
from .locks import SysvSemaphore


class SysvIpc(Segments, Peer):
    not_asked: ClassVar = {"full": "its memory is not in /dev/shm"}

    def __init__(self) -> None:
        import sysv_ipc

        self.ipc = sysv_ipc

    def create(self, name: str, size: int) -> Any:
        return self.ipc.SharedMemory(key(name), self.ipc.IPC_CREX, size=size)

    def attach(self, name: str) -> Any:
        return self.ipc.SharedMemory(key(name))

    def memory(self, handle: Any) -> memoryview:
        return memoryview(handle)

    def close(self, handle: Any) -> None:
        handle.detach()

    def unlink(self, name: str, handle: Any) -> None:
        handle.remove()

    def array(self, handle: Any) -> Any:
        import numpy as np

        return np.ndarray(handle.size, np.uint8, buffer=handle)

    def left(self, name: str) -> bool:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return any(int(line.split()[0]) == key(name) for line in lines)

    def lock(self, name: str) -> SysvSemaphore:
        return SysvSemaphore(name)

    named = permit = lock
