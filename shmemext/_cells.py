# SPDX-License-Identifier: MIT
"""Where synchronizers are that are given no place: Lock().

They share a memory of the process, which has no name and one descriptor. A
place is given once. A forked child goes on with the same memory, in which
nobody gets a place twice; what is sent takes the memory along, once for each
pickle, and is one mapping where it arrives.

Nothing here is locked, so a fork finds it in order: threads that make such a
memory at the same time have one each, at worst.
"""

import os
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from . import _shmemext
from ._shmemext import AnonymousMemory

_SIZE = 1 << 20  # pages are taken as they are touched

_Cells = TypeVar("_Cells", bound="Cells")


class Cells(AnonymousMemory):
    """One for each such memory in this process, however often it arrives."""

    @classmethod
    def from_fd(cls: type[_Cells], fd: int, *args: Any) -> _Cells:
        made = super().from_fd(fd, *args)
        there = _here.get(_shmemext._identity(made))
        if there is not None and _is_whole(there):
            made.close()
            return there  # type: ignore[return-value]
        _here[_shmemext._identity(made)] = made
        return made


_here: WeakValueDictionary[tuple[int, int, int], Cells] = WeakValueDictionary()
_open: Cells | None = None  # which the next place is in


def take(size: int) -> tuple[AnonymousMemory, int]:
    """A place of that many bytes, a multiple of 64, which is nobody else's."""
    global _open
    while True:
        memory = _open
        if memory is not None and _is_whole(memory):
            offset = _shmemext._take(memory, size)
            if offset is not None:
                return memory, offset
        made = Cells(max(_SIZE, 2 * size), reserve=False)
        _here[_shmemext._identity(made)] = made
        if _open is memory:
            _open = made


def _is_whole(memory: Cells) -> bool:
    """A program may have closed all descriptors, and have their numbers again
    for other files: then nobody new can be a party there, and it cannot be
    sent."""
    try:
        status = os.fstat(memory.fileno())
        device, inode, _ = _shmemext._identity(memory)
    except (OSError, ValueError):
        return False
    return (status.st_dev, status.st_ino) == (device, inode)
