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
_TOKEN_BITS = 29
_WAITED, _TORN, _TOKEN = 1 << 31, 1 << 30, (1 << _TOKEN_BITS) - 1
_IGNORES, _HAS_LOCK = 1 << 31, 1 << 30  # of parameters
_FIRST_SLOT = 64
_LOCK, _WAITERS, _GONE = 64, 128, 1 << 30  # of a condition
_BROKEN, _GENERATION = 1, 4  # of a barrier
_MOST_SLOTS = {
    "BoundedSemaphore": 4096,
    "Condition": 65535,
    "Barrier": 65536,
    "RWLock": 4096,
}


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
    """free, held, torn (its holder died, and nobody has repaired it), repair;
    read, by somebody; set, clear; whole, broken; elsewhere, as a condition's
    lock; else unknown."""
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
        self._alive: dict[int, bool] = {}
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
        """0, which may be written anywhere, is nobody."""
        if token == 0:
            return False
        if token not in self._alive:
            found = _shmemext._next_token(self._file, token)
            self._alive[token] = found == token
        return self._alive[token]

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
            return _WAITERS + 16 * self._slots()
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
        holders = self._owners()
        free = self._slots() - len(holders)
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
        """It is as its lock is, unless that lies elsewhere."""
        waiting = _lows(
            self._look.read(self._offset + _WAITERS, 16 * self._slots())
        )
        waiters = sum(
            word & _TOKEN != 0 and word & _GONE == 0 for word in waiting[::2]
        )
        if self._head.parameter & _HAS_LOCK:
            return self._make("elsewhere", waiters=waiters)
        lock = self._look.read(self._offset + _LOCK, _FIRST_SLOT)
        return replace(self._lock(_words(lock)), waiters=waiters)

    def _rwlock(self) -> Synchronizer:
        """A reader is whoever has a slot; but for a writer who waits for the
        last of them to leave, it is his by then."""
        found = self._lock()
        if found.state != "free":
            return found
        readers = self._owners()
        return replace(
            found, state="read" if readers else "free", holders=readers
        )

    def _barrier(self) -> Synchronizer:
        state = self._words[4]
        if state & _BROKEN:
            return self._make("broken", waiters=0)
        flags = 2 | (state & _GENERATION) // _GENERATION
        slots = _lows(
            self._look.read(self._offset + _FIRST_SLOT, 8 * self._slots())
        )
        waiters = sum(word >> _TOKEN_BITS == flags for word in slots)
        return self._make("whole", waiters=waiters)

    def _slots(self) -> int:
        """How many follow: never more than there may be."""
        most = _MOST_SLOTS.get(self._head.type, 0)
        return min(self._head.parameter & ~(_IGNORES | _HAS_LOCK), most)

    def _owners(self) -> tuple[Holder, ...]:
        content = self._look.read(
            self._offset + _FIRST_SLOT, 8 * self._slots()
        )
        return tuple(
            Holder(None, self._look.is_alive(word & _TOKEN))
            for word in _lows(content)
            if word & _TOKEN
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


def _lows(content: bytes) -> tuple[int, ...]:
    """The lower halves of words of 64 bits."""
    return _words(content)[0 if sys.byteorder == "little" else 1 :: 2]
