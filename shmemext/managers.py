# SPDX-License-Identifier: MIT
"""SharedMemoryManager and its server, in place of multiprocessing.managers'.

The segments made through a manager are its server's: they are gone when it
shuts down, and when it dies, however it dies. The server keeps them as a
family of its own, apart from that of the process that started it.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import managers, util
from typing import Any, TypeVar

from . import _shmemext
from .shared_memory import ShareableList, SharedMemory

__all__ = ["SharedMemoryManager", "SharedMemoryServer"]


_Item = TypeVar("_Item", bound=float | str | bytes | None)

# What typeshed leaves out of multiprocessing.managers.
_managers: Any = managers


class _SharedMemoryTracker(_managers._SharedMemoryTracker):  # type: ignore[misc]
    "Manages one or more shared memory segments."

    def __init__(
        self, name: str, segment_names: list[str] | None = None
    ) -> None:
        super().__init__(name, [] if segment_names is None else segment_names)
        self._family = os.urandom(16).hex()

    def register_segment(self, segment_name: str) -> None:
        _shmemext._adopt(segment_name, self._family)
        super().register_segment(segment_name)

    def destroy_segment(self, segment_name: str) -> None:
        util.debug(f"Destroy segment {segment_name!r} in pid {os.getpid()}")
        self.segment_names.remove(segment_name)
        with (
            suppress(FileNotFoundError),
            SharedMemory(segment_name) as segment,
        ):
            segment.unlink()
        _shmemext._disown(segment_name)


class SharedMemoryServer(managers.SharedMemoryServer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _managers.Server.__init__(self, *args, **kwargs)
        address = self.address
        if isinstance(address, bytes):
            address = os.fsdecode(address)
        self.shared_memory_context = _SharedMemoryTracker(
            f"shm_{address}_{os.getpid()}"
        )
        util.debug(f"SharedMemoryServer started by pid {os.getpid()}")


class SharedMemoryManager(managers.SharedMemoryManager):
    """Makes SharedMemory and ShareableList objects that end with it."""

    _Server = SharedMemoryServer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Without the stdlib's tracker, which the stdlib's class starts.
        managers.BaseManager.__init__(self, *args, **kwargs)
        util.debug(f"{type(self).__name__} created by pid {os.getpid()}")

    def _hand_over(self, shm: SharedMemory) -> None:
        me: Any = self
        try:
            with me._Client(me._address, authkey=me._authkey) as conn:
                _managers.dispatch(conn, None, "track_segment", (shm.name,))
        except BaseException:
            shm.close()
            shm.unlink(missing_ok=True)
            raise
        _shmemext._disown(shm.name)

    def SharedMemory(  # type: ignore[override]
        self, size: int, name: str | None = None
    ) -> SharedMemory:
        """Return a new SharedMemory of size bytes, to be removed with the
        manager. ConnectionError, FileNotFoundError: the manager is gone."""
        shm = SharedMemory(name, create=True, size=size)
        self._hand_over(shm)
        return shm

    def ShareableList(  # type: ignore[override]
        self, sequence: Iterable[_Item] | None, name: str | None = None
    ) -> ShareableList[_Item]:
        """Return a new ShareableList of these items, to be removed with the
        manager."""
        items = ShareableList(sequence, name=name)
        self._hand_over(items.shm)
        return items
