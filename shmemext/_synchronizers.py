# SPDX-License-Identifier: MIT
"""What synchronizers there are in a memory, and who has them.

Whatever stands there is looked at as a stranger's: it is read from the file,
and no memory is touched. What a cell is, csrc/core/sync/cell.h says, and what
its words mean, the header of its kind."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from . import _heads, _shmemext

MOST = 10_000  # of one memory, which somebody may have filled with heads
_CHUNK = 1 << 20
_WAITED, _TORN, _TOKEN = 1 << 31, 1 << 30, (1 << 29) - 1
_FIRST_SLOT = 64
_MOST_SLOTS = 4096
_LOCK, _WAITERS = 64, 128  # of a condition


@dataclass(frozen=True, slots=True)
class Holder:
    pid: int | None
    """As its own pid namespace has it; None: that is not known."""
    alive: bool


@dataclass(frozen=True, slots=True)
class Synchronizer:
    """What is at one place of a memory, as it was when it was read."""

    offset: int
    type: str
    version: int
    state: str
    """free, held, torn (its holder died, and nobody has repaired it), repair,
    set, clear; else unknown."""
    holders: tuple[Holder, ...]
    free: int | None
    """Units or permits, where it has any."""
    victim: int | None
    """Who died while it held it, where it is torn."""
    waited: bool
    """Somebody waits, or did when it was last looked at by who has it."""
    waiters: int | None
    """How many, where the memory says."""


class Look:
    """At a memory, by a descriptor of it."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.size = os.fstat(file).st_size
        self.is_whole = True
        """Were there no more than MOST?"""

    def parties(self) -> bool:
        """Has any process a synchronizer here?"""
        try:
            return _shmemext._next_token(self._file, 1) != 0
        except OSError:
            return False

    def all(self) -> Iterator[Synchronizer]:
        """Of each place where one may be; what is no cell, but looks like
        one, is among them."""
        found, end = 0, 0
        for offset, head in self._heads():
            if offset < end:  # within the one before
                continue
            if found == MOST:
                self.is_whole = False
                return
            found += 1
            cell = _Cell(self, offset, head)
            end = offset + cell.size()
            yield cell.synchronizer()

    def at(self, offset: int) -> Synchronizer | None:
        """What is there; None: no cell."""
        head = _heads.read(_heads.number(self.read(offset, _heads.SIZE)))
        return head and _Cell(self, offset, head).synchronizer()

    def read(self, offset: int, size: int) -> bytes:
        """Zeros for what is not there, or cannot be read."""
        try:
            content = os.pread(self._file, size, offset)
        except OSError:
            content = b""
        return content.ljust(size, b"\0")

    def is_alive(self, token: int) -> bool:
        return _shmemext._next_token(self._file, token) == token

    def _heads(self) -> Iterator[tuple[int, _heads.Head]]:
        """In chunks, and of these only the bytes that may begin a head."""
        first, second = _heads.MAGIC.to_bytes(2, "little")
        low = 0 if sys.byteorder == "little" else _heads.SIZE - 1
        step = 1 if sys.byteorder == "little" else -1
        for start, chunk in self._chunks():
            firsts = chunk[low :: _heads.ALIGNMENT]
            seconds = chunk[low + step :: _heads.ALIGNMENT]
            at = firsts.find(first)
            while at >= 0:
                offset = at * _heads.ALIGNMENT
                if at < len(seconds) and seconds[at] == second:
                    content = chunk[offset : offset + _heads.SIZE]
                    head = _heads.read(_heads.number(content))
                    if (
                        head is not None
                        and head.kind in _heads.KINDS
                        and len(content) == _heads.SIZE
                    ):
                        yield start + offset, head
                at = firsts.find(first, at + 1)

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """Of what has pages: the rest is zeros."""
        at = 0
        while at < self.size:
            try:
                at = os.lseek(self._file, at, os.SEEK_DATA)
            except OSError:
                return  # there are none from here on
            at -= at % _heads.ALIGNMENT
            chunk = os.pread(self._file, _CHUNK, at)
            if not chunk:
                return
            yield at, chunk
            at += _CHUNK


class _Cell:
    def __init__(self, look: Look, offset: int, head: _heads.Head) -> None:
        self._look = look
        self._offset = offset
        self._head = head
        content = look.read(offset, _FIRST_SLOT)
        self._words = _words(content)

    def size(self) -> int:
        """At least: within that there is no other one."""
        if self._head.type == "Condition":
            return _WAITERS + 16 * self._parameter()
        return _FIRST_SLOT + 8 * self._slots()

    def synchronizer(self) -> Synchronizer:
        known = self._head.version == _heads.VERSION
        read = _READERS.get(self._head.type) if known else None
        return (read or _Cell._unknown)(self)

    def _make(
        self,
        state: str,
        holders: tuple[Holder, ...] = (),
        *,
        free: int | None = None,
        victim: int | None = None,
        waited: bool = False,
        waiters: int | None = None,
    ) -> Synchronizer:
        return Synchronizer(
            offset=self._offset,
            type=self._head.type,
            version=self._head.version,
            state=state,
            holders=holders,
            free=free,
            victim=victim,
            waited=waited,
            waiters=waiters,
        )

    def _unknown(self) -> Synchronizer:
        return self._make("unknown")

    def _lock(self, words: tuple[int, ...] | None = None) -> Synchronizer:
        words = self._words if words is None else words
        word, pid, victim = words[2], words[3], words[14]
        token, torn = word & _TOKEN, word & _TORN != 0
        holders: tuple[Holder, ...] = ()
        if token:
            holders = (Holder(pid or None, self._look.is_alive(token)),)
            state = "repair" if torn else "held"
        else:
            state = "torn" if torn else "free"
        return self._make(
            state,
            holders,
            victim=(victim or None) if torn else None,
            waited=word & _WAITED != 0,
        )

    def _semaphore(self) -> Synchronizer:
        word = self._words[2]
        free = (self._head.parameter - word) & ~_WAITED & 0xFFFFFFFF
        return self._make(
            "free" if free else "held", free=free, waited=word & _WAITED != 0
        )

    def _bounded_semaphore(self) -> Synchronizer:
        permits = self._slots()
        holders = self._owners(_FIRST_SLOT, permits)
        free = permits - len(holders)
        return self._make(
            "free" if free else "held",
            holders,
            free=free,
            waited=self._words[2] & 1 != 0,
        )

    def _event(self) -> Synchronizer:
        word = self._words[2]
        return self._make("set" if word & 1 else "clear", waited=word & 2 != 0)

    def _condition(self) -> Synchronizer:
        """It is its lock's state: its own, or one that lies elsewhere."""
        content = self._look.read(self._offset + _LOCK, _FIRST_SLOT)
        waiting = self._look.read(
            self._offset + _WAITERS, 16 * self._parameter()
        )
        return replace(
            self._lock(_words(content)),
            waiters=sum(
                any(waiting[at : at + 8]) for at in range(0, len(waiting), 16)
            ),
        )

    def _rwlock(self) -> Synchronizer:
        """A reader is whoever has a slot."""
        found = self._lock()
        readers = self._owners(_FIRST_SLOT, self._slots())
        if found.holders or not readers:
            return found
        return replace(found, state="held", holders=readers)

    def _barrier(self) -> Synchronizer:
        return self._make("unknown")

    def _parameter(self) -> int:
        """As a number of slots: never more than there may be."""
        return min(self._head.parameter & ~_WAITED, _MOST_SLOTS)

    def _slots(self) -> int:
        """How many follow, of eight bytes: never more than there may be."""
        if self._head.type not in ("BoundedSemaphore", "RWLock"):
            return 0
        return self._parameter()

    def _owners(self, offset: int, slots: int) -> tuple[Holder, ...]:
        words = _words(self._look.read(self._offset + offset, 8 * slots))
        low = words[0 if sys.byteorder == "little" else 1 :: 2]
        alive: dict[int, bool] = {}
        for word in low:
            token = word & _TOKEN
            if token and token not in alive:
                alive[token] = self._look.is_alive(token)
        return tuple(
            Holder(None, alive[word & _TOKEN]) for word in low if word & _TOKEN
        )


_READERS: dict[str, Callable[[_Cell], Synchronizer]] = {
    "Lock": _Cell._lock,
    "RLock": _Cell._lock,
    "Semaphore": _Cell._semaphore,
    "BoundedSemaphore": _Cell._bounded_semaphore,
    "Event": _Cell._event,
    "Condition": _Cell._condition,
    "Barrier": _Cell._barrier,
    "RWLock": _Cell._rwlock,
}


def _words(content: bytes) -> tuple[int, ...]:
    return tuple(memoryview(content).cast("I"))
