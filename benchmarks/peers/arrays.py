# SPDX-License-Identifier: MIT
"""Peers that share numpy arrays: SharedArray, joblib's memmap, pyshmem."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from . import Peer
from .handing import Receiver, Segments, Sender
from .stores import StoreReceiver, StoreSender


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


class Pyshmem(Peer):
    """Streams: a reader gets a copy that no writer was in the middle of."""

    modes = ("reused",)

    def __init__(self) -> None:
        import numpy
        import pyshmem

        self.np, self.streams = numpy, pyshmem

    def create(self, name: str, size: int) -> Any:
        return self.streams.create(name, shape=(size,), dtype=self.np.uint8)

    def attach(self, name: str, size: int = 0) -> Any:
        return self.streams.open(name)

    def put(self, handle: Any, data: Any) -> None:
        handle.write(self.np.frombuffer(data, self.np.uint8))

    def get(self, handle: Any, size: int) -> Any:
        return handle.read()

    def got(self, handle: Any) -> None:
        """It is a copy."""

    def close(self, handle: Any) -> None:
        handle.close()

    def unlink(self, name: str, handle: Any) -> None:
        self.streams.unlink(name)

    def left(self, name: str) -> bool:
        return any(Path("/dev/shm").glob("ps_*"))

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return StoreSender(self, size)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return StoreReceiver(self, shared)
