# SPDX-License-Identifier: MIT
"""shmemext and the standard library's module, in their variants."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

from . import Peer, messages, tasks
from .handing import Receiver, SegmentReceiver, Segments, Sender
from .locks import ShmemextLocks


class _SharedMemory(Segments, Peer):
    """Whatever has the interface of SharedMemory."""

    shared_memory: Any
    for_attach: Any
    generates = True

    def create(self, name: str | None, size: int) -> Any:
        return self.shared_memory(name=name, create=True, size=size)

    def attach(self, name: str) -> Any:
        return self.for_attach(name=name)

    def memory(self, handle: Any) -> Any:
        return handle.buf

    def close(self, handle: Any) -> None:
        handle.close()

    def unlink(self, name: str | None, handle: Any) -> None:
        handle.unlink()

    def array(self, handle: Any) -> Any:
        import numpy as np

        return np.ndarray(handle.size, np.uint8, buffer=handle.buf)


class _Elements:
    """Its memory, seen as 64 bit integers."""

    def element(self) -> tuple[Any, Any, Any]:
        shm = self.shared_memory(create=True, size=800)  # type: ignore
        view = shm.buf.cast("q")

        def close() -> None:
            view.release()
            shm.close()
            shm.unlink()

        return view, 5, close


class Shmemext(ShmemextLocks, _Elements, _SharedMemory):
    sends_many = True

    def __init__(self) -> None:
        super().__init__()
        from shmemext import SharedMemory

        self.shared_memory = self.for_attach = SharedMemory

    def queue(self) -> messages.Channel:
        return messages.Channel()

    def objects(self) -> messages.Queue:
        from shmemext import Queue

        return messages.Queue(Queue())

    def broadcast(self, size: int) -> messages.Frames:
        return messages.Frames(size)


class OurChannel(Peer):
    owned = True

    def tasks(self, name: str) -> tasks.OfChannel:
        from shmemext import Channel

        return tasks.OfChannel(Channel(name, create=True, size=tasks.ROOM))


class OurQueue(Peer):
    owned = True

    def tasks(self, name: str) -> tasks.Tasks:
        from shmemext import Queue

        made = Queue(name=name, create=True, size=tasks.ROOM)
        return tasks.Tasks(made)


class OurBroadcast(Peer):
    owned = True

    def frames(self, name: str) -> tasks.Cast:
        return tasks.Cast(name)


class Unreserved(_SharedMemory):
    """Leaves the pages to the first touch, as the standard library does."""

    modes = ()

    def __init__(self) -> None:
        from shmemext import SharedMemory

        self.shared_memory = partial(SharedMemory, reserve=False)
        self.for_attach = SharedMemory


class Written(_SharedMemory):
    """Filled by write(); read like any other."""

    modes = ("fresh", "reused")

    def __init__(self) -> None:
        from shmemext import SharedMemory

        self.shared_memory = self.for_attach = SharedMemory

    def memory(self, handle: Any) -> Any:
        return _Writer(handle)

    def plain(self, handle: Any) -> Any:
        """As others would write there."""
        return handle.buf

    def receiver(self, mode: str, shared: Any) -> SegmentReceiver:
        return SegmentReceiver(Shmemext(), mode)


class _Writer:
    """Looks like a memoryview to those who only fill it."""

    def __init__(self, shm: Any) -> None:
        self.shm = shm

    def __setitem__(self, where: slice, data: Any) -> None:
        self.shm.write(data)


class Populated(_SharedMemory):
    """populate() first, then filled like any other."""

    modes = ()

    def __init__(self) -> None:
        from shmemext import SharedMemory

        self.shared_memory = self.for_attach = SharedMemory

    def memory(self, handle: Any) -> Any:
        handle.populate()
        return handle.buf


class Anonymous(Peer):
    """Memory without a name, that crosses as a descriptor."""

    modes = ("fresh",)
    not_asked: ClassVar = {"full": "its memory is not in /dev/shm"}

    def __init__(self) -> None:
        from shmemext import AnonymousMemory

        self.anonymous_memory = AnonymousMemory

    def create(self, name: str, size: int) -> Any:
        return self.anonymous_memory(size)

    def memory(self, handle: Any) -> Any:
        return handle.buf

    def array(self, handle: Any) -> Any:
        import numpy as np

        return np.ndarray(handle.size, np.uint8, buffer=handle.buf)

    def close(self, handle: Any) -> None:
        handle.close()

    def unlink(self, name: str, handle: Any) -> None:
        """It has no name."""

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return AnonymousSender(self, size)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return AnonymousReceiver(shared)


class AnonymousSender(Sender):
    def __init__(self, peer: Anonymous, size: int) -> None:
        super().__init__(None)
        self.peer, self.size = peer, size
        self.memory: Any = None

    def send(self, array: Any) -> Any:
        self.memory = self.peer.create("", self.size)
        self.memory.buf[: self.size] = memoryview(array)
        return self.memory

    def done(self) -> None:
        self.memory.close()


class AnonymousReceiver(Receiver):
    memory: Any = None

    def receive(self, message: Any) -> Any:
        self.memory = message
        return message.buf

    def done(self) -> None:
        self.memory.close()


class Stdlib(_Elements, _SharedMemory):
    """As it is by default: tracked."""

    def __init__(self) -> None:
        from multiprocessing.shared_memory import SharedMemory

        self.shared_memory = self.for_attach = SharedMemory


class Untracked(_SharedMemory):
    """track=False. Before 3.13, which has it, what programs did instead: the
    module with its calls of the tracker taken out, here in a copy of it."""

    def __init__(self) -> None:
        if sys.version_info >= (3, 13):
            from multiprocessing.shared_memory import SharedMemory

            shared_memory: Any = partial(SharedMemory, track=False)
        else:
            shared_memory = self._copy().SharedMemory
        self.shared_memory = self.for_attach = shared_memory

    @staticmethod
    def _copy() -> Any:
        spec = importlib.util.find_spec("multiprocessing.shared_memory")
        assert spec is not None and spec.loader is not None
        copy: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(copy)
        copy.resource_tracker = SimpleNamespace(
            register=lambda name, kind: None,
            unregister=lambda name, kind: None,
        )
        return copy


class _List(Peer):
    shareable_list: Any

    def element(self) -> tuple[Any, Any, Any]:
        sl = self.shareable_list(range(100))

        def close() -> None:
            sl.shm.close()
            sl.shm.unlink()

        return sl, 5, close


class OurList(_List):
    def __init__(self) -> None:
        from shmemext import ShareableList

        self.shareable_list = ShareableList


class StdlibList(_List):
    def __init__(self) -> None:
        from multiprocessing.shared_memory import ShareableList

        self.shareable_list = ShareableList
