# SPDX-License-Identifier: MIT
"""Peers that share numpy arrays: SharedArray, and joblib's memmap."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from . import Peer
from .handing import Receiver, Segments, Sender


class SharedArray(Segments, Peer):
    def __init__(self) -> None:
        import numpy
        import SharedArray

        self.arrays, self.bytes = SharedArray, numpy.uint8
        self.int64 = numpy.int64

    def create(self, name: str, size: int) -> Any:
        return self.arrays.create(f"shm://{name}", size, self.bytes)

    def attach(self, name: str) -> Any:
        return self.arrays.attach(f"shm://{name}")

    def memory(self, handle: Any) -> memoryview:
        return memoryview(handle)

    def close(self, handle: Any) -> None:
        """It goes with the last reference."""

    def unlink(self, name: str, handle: Any) -> None:
        self.arrays.delete(f"shm://{name}")

    def array(self, handle: Any) -> Any:
        return handle

    def element(self) -> tuple[Any, Any, Any]:
        name = f"shm://shmemext-bench-{os.getpid()}"
        array = self.arrays.create(name, 100, self.int64)
        return array, 5, lambda: self.arrays.delete(name)


class Joblib(Peer):
    """What joblib.Parallel does with large arguments: dump() into /dev/shm,
    load() with a mmap_mode."""

    modes = ("fresh",)
    not_asked: ClassVar = dict.fromkeys(
        ("creator", "everybody"), "the file is the caller's"
    )

    def __init__(self) -> None:
        import joblib

        self.joblib = joblib

    def sender(self, mode: str, size: int, context: Any) -> JoblibSender:
        return JoblibSender(self.joblib)

    def receiver(self, mode: str, shared: Any) -> JoblibReceiver:
        return JoblibReceiver(self.joblib)

    def create(self, name: str, size: int) -> Any:
        import numpy as np

        path = f"/dev/shm/{name}"
        self.joblib.dump(np.zeros(size, np.uint8), path)
        return self.joblib.load(path, mmap_mode="r+")

    def attach(self, name: str) -> Any:
        return self.joblib.load(f"/dev/shm/{name}", mmap_mode="r+")

    def array(self, handle: Any) -> Any:
        return handle

    def close(self, handle: Any) -> None:
        """It goes with the last reference."""

    def put(self, handle: Any, data: bytes) -> None:
        memoryview(handle)[: len(data)] = data

    def get(self, handle: Any, size: int) -> bytes:
        return bytes(memoryview(handle)[:size])

    def unlink(self, name: str, handle: Any) -> None:
        Path("/dev/shm", name).unlink()


class JoblibSender(Sender):
    def __init__(self, joblib: Any) -> None:
        super().__init__(None)
        self.joblib = joblib
        self.path = Path(f"/dev/shm/shmemext-bench-{os.getpid()}.joblib")

    def send(self, array: Any) -> str:
        self.joblib.dump(array, self.path)
        return str(self.path)

    def done(self) -> None:
        self.path.unlink()


class JoblibReceiver(Receiver):
    def __init__(self, joblib: Any) -> None:
        super().__init__(None)
        self.joblib = joblib

    def receive(self, message: str) -> Any:
        return self.joblib.load(message, mmap_mode="r")
