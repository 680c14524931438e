# SPDX-License-Identifier: MIT
"""Peers that keep values under keys: LMDB on /dev/shm, UltraDict and
shared-memory-dict. A hand-off replaces the value of one key."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from . import PAGE, Peer
from .handing import Receiver, Sender
from .locks import UltraLock


class StoreSender(Sender):
    def __init__(self, peer: Any, size: int) -> None:
        self.peer = peer
        self.name = f"shmemext-bench-{os.getpid()}"
        self.handle = peer.create(self.name, size)
        super().__init__((self.name, size))

    def send(self, array: Any) -> None:
        self.peer.put(self.handle, array)

    def close(self) -> None:
        self.peer.close(self.handle)
        self.peer.unlink(self.name, self.handle)


class StoreReceiver(Receiver):
    def __init__(self, peer: Any, shared: Any) -> None:
        super().__init__(shared)
        self.peer = peer
        self.handle: Any = None

    def receive(self, message: None) -> Any:
        if self.handle is None:
            self.handle = self.peer.attach(*self.shared)
        return self.peer.get(self.handle, self.shared[1])

    def done(self) -> None:
        self.peer.got(self.handle)


class _Store(Peer):
    modes = ("fresh",)
    by_key = True

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return StoreSender(self, size)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return StoreReceiver(self, shared)

    def got(self, handle: Any) -> None:
        """What was got is not needed any more."""


class Lmdb(_Store):
    """Its file is in /dev/shm: nothing is written to a disk."""

    not_asked: ClassVar = {
        "creator": "a database is made to stay",
        "everybody": "a database is made to stay",
        "race": "its name is a directory, made and removed in steps",
    }

    def __init__(self) -> None:
        import lmdb

        self.lmdb = lmdb
        self.reading: Any = None

    def _open(self, name: str, size: int, **options: Any) -> Any:
        # old pages are freed after the new ones are written
        room = 4 * size + (8 << 20)
        return self.lmdb.open(
            f"/dev/shm/{name}", map_size=room, sync=False, **options
        )

    def create(self, name: str, size: int) -> Any:
        return self._open(name, size)

    def attach(self, name: str, size: int = PAGE) -> Any:
        return self._open(name, size, create=False)

    def put(self, handle: Any, data: Any) -> None:
        with handle.begin(write=True) as txn:
            txn.put(b"5", data)

    def get(self, handle: Any, size: int) -> Any:
        self.reading = handle.begin(buffers=True)
        return self.reading.get(b"5")

    def got(self, handle: Any) -> None:
        self.reading.abort()

    def close(self, handle: Any) -> None:
        handle.close()

    def unlink(self, name: str, handle: Any) -> None:
        shutil.rmtree(f"/dev/shm/{name}")

    def element(self) -> tuple[Any, Any, Any]:
        name = f"shmemext-bench-{os.getpid()}"
        env = self.create(name, 4096)
        store = _Transactions(env)
        store[b"5"] = 5

        def close() -> None:
            env.close()
            self.unlink(name, env)

        return store, b"5", close


class _Transactions:
    """An int under a key, a transaction for each use."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def __getitem__(self, key: bytes) -> int:
        with self.env.begin() as txn:
            return int.from_bytes(txn.get(key), "little")

    def __setitem__(self, key: bytes, value: int) -> None:
        with self.env.begin(write=True) as txn:
            txn.put(key, value.to_bytes(8, "little"))


class UltraDict(_Store):
    def __init__(self) -> None:
        from UltraDict import UltraDict

        self.dict = UltraDict
        self.dump = ""

    def create(self, name: str, size: int) -> Any:
        return self.dict(name=name, create=True, auto_unlink=False)

    def attach(self, name: str, size: int = 0) -> Any:
        return self.dict(name=name, create=False, auto_unlink=False)

    def put(self, handle: Any, data: Any) -> None:
        handle["5"] = data

    def get(self, handle: Any, size: int) -> Any:
        return handle["5"]

    def close(self, handle: Any) -> None:
        # what is too large for its stream has a name that it makes up
        dump = bytes(handle.full_dump_memory_name_remote).decode()
        self.dump = dump.strip(" \0")
        handle.close()

    def lock(self, name: str) -> UltraLock:
        return UltraLock(name)

    named = lock

    def unlink(self, name: str, handle: Any) -> None:
        for own in (name, f"{name}_memory", self.dump):
            if own:
                Path("/dev/shm", own).unlink(missing_ok=True)

    def element(self) -> tuple[Any, Any, Any]:
        name = f"shmemext-bench-{os.getpid()}"
        store = self.create(name, 0)
        store["5"] = 5

        def close() -> None:
            self.close(store)
            self.unlink(name, store)

        return store, "5", close


class SharedMemoryDict(_Store):
    not_asked: ClassVar = {"race": "attaching creates"}

    def __init__(self) -> None:
        from shared_memory_dict import SharedMemoryDict

        self.dict = SharedMemoryDict

    def create(self, name: str, size: int) -> Any:
        return self.dict(name, size + 4096)

    def attach(self, name: str, size: int = 0) -> Any:
        return self.dict(name, size + 4096)

    def put(self, handle: Any, data: Any) -> None:
        handle["5"] = data

    def get(self, handle: Any, size: int) -> Any:
        return handle["5"]

    def close(self, handle: Any) -> None:
        handle.shm.close()

    def unlink(self, name: str, handle: Any) -> None:
        handle.shm.unlink()

    def element(self) -> tuple[Any, Any, Any]:
        store = self.create(f"shmemext-bench-{os.getpid()}", 4096)
        store["5"] = 5

        def close() -> None:
            store.shm.close()
            store.shm.unlink()

        return store, "5", close
