# SPDX-License-Identifier: MIT
"""Where synchronizers are that are given no place: Lock().

They share a memory of the process, which has no name and one descriptor. A
place is given once. A forked child goes on with the same memory, in which
nobody gets a place twice; what is sent takes the memory along, once for each
pickle, and is one mapping where it arrives.

Nothing here is locked, so a fork finds it in order: threads that make such a
memory at the same time have one each, at worst. Nor does a place ask for the
lock that an object has without a GIL, of one that other threads use, too: a
child may inherit that locked for ever.
"""

import os
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from . import _shmemext
from ._shmemext import AnonymousMemory, Atomic, Synchronizer

_SIZE = 1 << 20  # pages are taken as they are touched

_Cells = TypeVar("_Cells", bound="Cells")


class Cells(AnonymousMemory):
    """One for each such memory in this process, however often it arrives."""

    @classmethod
    def from_fd(cls: type[_Cells], fd: int, *args: Any) -> _Cells:
        made = super().from_fd(fd, *args)
        there = _here.get(_shmemext._identity(made))
        if there is not None and _is_file(*_look_at(there)):
            made.close()
            return there  # type: ignore[return-value]
        _here[_shmemext._identity(made)] = made
        return made


class _Open(NamedTuple):
    """A memory as it was when it was made: what the object says by now would
    have to be asked."""

    taken: Atomic  # how much of it is; that keeps the memory mapped, too
    fd: int
    file: tuple[int, int]


_here: WeakValueDictionary[tuple[int, int, int], Cells] = WeakValueDictionary()
_open: _Open | None = None  # which the next place is in


def take(size: int) -> tuple[Synchronizer, int, int]:
    """A place of that many bytes, a multiple of 64, which is nobody else's: in
    the memory of that synchronizer, from that offset on; and the memory's
    descriptor."""
    global _open
    while True:
        last = _open
        if last is not None and _is_file(last.fd, last.file):
            offset = _shmemext._take(last.taken, size)
            if offset is not None:
                return last.taken, offset, last.fd
        made = Cells(max(_SIZE, 2 * size), reserve=False)
        _here[_shmemext._identity(made)] = made
        taken = Atomic(made, type="Q")
        if _open is last:
            _open = _Open(taken, *_look_at(made))


def _look_at(memory: Cells) -> tuple[int, tuple[int, int]]:
    """Its descriptor, and which file that has to be."""
    try:
        device, inode, _ = _shmemext._identity(memory)
        return memory.fileno(), (device, inode)
    except (OSError, ValueError):
        return -1, (0, 0)  # it is closed


def _is_file(fd: int, file: tuple[int, int]) -> bool:
    """A program may have closed all descriptors, and have their numbers again
    for other files: then nobody new can be a party there, and it cannot be
    sent."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == file
