# SPDX-License-Identifier: MIT
"""What ours do otherwise than the classes of multiprocessing.managers, as
methods for those classes: shmemext.managers inherits them, and install() puts
them there.

multiprocessing.managers is not imported here: it may be halfway through its
own import.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import util
from types import FunctionType
from typing import Any, Literal, TypeVar

from . import _shmemext
from .shared_memory import ShareableList, SharedMemory

_Item = TypeVar("_Item", bound=float | str | bytes | None)


def _file_of(segment_name: str) -> tuple[int, int] | None:
    path = f"{_shmemext.DIRECTORY}/{segment_name}"
    with suppress(OSError):
        status = os.lstat(path)
        return status.st_dev, status.st_ino
    return None


class _SharedMemoryTracker:
    segment_names: list[str]

    def register_segment(self, segment_name: str) -> None:
        util.debug(f"Register segment {segment_name!r} in pid {os.getpid()}")
        mine = vars(self)
        if "_family" not in mine:
            mine["_family"] = _shmemext._found()
        _shmemext._adopt(segment_name, mine["_family"])
        mine.setdefault("_files", {})[segment_name] = _file_of(segment_name)
        self.segment_names.append(segment_name)

    def destroy_segment(self, segment_name: str) -> None:
        util.debug(f"Destroy segment {segment_name!r} in pid {os.getpid()}")
        self.segment_names.remove(segment_name)
        file = vars(self).get("_files", {}).pop(segment_name, None)
        with (
            suppress(FileNotFoundError),
            SharedMemory(segment_name) as segment,
        ):
            # Its name may have gone before, and be another's by now.
            if file in (None, _file_of(segment_name)):
                segment.unlink()
        _shmemext._disown(segment_name)


class SharedMemoryServer:
    shared_memory_context: _SharedMemoryTracker

    def track_segment(self, c: object, segment_name: str) -> bool:
        """Add the name to those that this server removes. True, where the
        stdlib's server has nothing to say: it owns the name by now.

        c: the connection
        segment_name: a name in /dev/shm

        FileNotFoundError: it is gone."""
        self.shared_memory_context.register_segment(segment_name)
        return True


class SharedMemoryManager:
    # Types in quotes: from Python 3.14 on they are looked up when they are
    # asked for, and then these names are the methods'.

    def _hand_over(self, shm: SharedMemory) -> None:
        from multiprocessing import managers

        me: Any = self
        dispatch: Any = vars(managers)["dispatch"]  # typeshed has it not
        try:
            with me._Client(me._address, authkey=me._authkey) as conn:
                owned = dispatch(conn, None, "track_segment", (shm.name,))
        except BaseException:
            shm.close()
            shm.unlink(missing_ok=True)
            raise
        if owned:
            _shmemext._disown(shm.name)

    def SharedMemory(
        self,
        size: int,
        name: str | None = None,
        lifetime: Literal["family", "users"] = "family",
    ) -> "SharedMemory":
        """Return a new SharedMemory, to be removed with the manager, or with
        its last user before that.

        Arguments are SharedMemory's.

        ConnectionError, FileNotFoundError: the manager is gone. Errors are
        SharedMemory's, too."""
        shm = SharedMemory(name, create=True, size=size, lifetime=lifetime)
        self._hand_over(shm)
        return shm

    def ShareableList(
        self,
        sequence: Iterable[_Item] | None,
        name: str | None = None,
        lifetime: Literal["family", "users"] = "family",
    ) -> "ShareableList[_Item]":
        """Return a new ShareableList of these items, to be removed with the
        manager, or with its last user before that.

        Arguments are ShareableList's.

        ConnectionError, FileNotFoundError: the manager is gone. Errors are
        ShareableList's, too."""
        items = ShareableList(sequence, name=name, lifetime=lifetime)
        self._hand_over(items.shm)
        return items


KINDS: tuple[type, ...] = (
    _SharedMemoryTracker,
    SharedMemoryServer,
    SharedMemoryManager,
)


def methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in vars(kind).items():
        if isinstance(value, FunctionType):
            yield name, value
