# SPDX-License-Identifier: MIT
"""SharedMemoryManager and its server, in place of multiprocessing.managers'.

The segments made through a manager are its server's: they are gone when it
shuts down, and when it dies, however it dies. The server keeps them as a
family of its own, apart from that of the process that started it.
"""

import os
from multiprocessing import managers, util
from typing import Any

from . import _managed

__all__ = ["SharedMemoryManager", "SharedMemoryServer"]


# What typeshed leaves out of multiprocessing.managers.
_managers: Any = managers


class _SharedMemoryTracker(
    _managed._SharedMemoryTracker,
    _managers._SharedMemoryTracker,  # type: ignore[misc]
):
    "Manages one or more shared memory segments."

    def __init__(
        self, name: str, segment_names: list[str] | None = None
    ) -> None:
        super().__init__(name, [] if segment_names is None else segment_names)


class SharedMemoryServer(  # type: ignore[misc]
    _managed.SharedMemoryServer, managers.SharedMemoryServer
):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _managers.Server.__init__(self, *args, **kwargs)
        address = self.address
        if isinstance(address, bytes):
            address = os.fsdecode(address)
        self.shared_memory_context = _SharedMemoryTracker(
            f"shm_{address}_{os.getpid()}"
        )
        util.debug(f"SharedMemoryServer started by pid {os.getpid()}")


class SharedMemoryManager(  # type: ignore[misc]
    _managed.SharedMemoryManager, managers.SharedMemoryManager
):
    """Makes SharedMemory and ShareableList objects that end with it."""

    _Server = SharedMemoryServer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Without the stdlib's tracker, which the stdlib's class starts.
        managers.BaseManager.__init__(self, *args, **kwargs)
        util.debug(f"{type(self).__name__} created by pid {os.getpid()}")
