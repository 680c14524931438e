# SPDX-License-Identifier: MIT
"""What there is in a pool, and who holds it.

Whatever stands there is looked at as a stranger's: it is read from the file,
and no memory is touched, no lock taken. What the bytes are,
csrc/core/pool/pool.h says."""

import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from . import _heads
from ._segment import POOL
from ._synchronizers import Look

SUFFIX = ".data"
"""Of the name of the segment that has a pool's blocks. That of the one that
says who holds them is POOL and 16 digits."""

_DIGITS = 16
_TRIES = 5
_TOKEN = (1 << 29) - 1

# Where words are in the control, and in a block.
_PAIR, _SIZE, _OWNER, _PLACES, _BLOCKS = 8, 16, 64, 128, 2176
_MOST_PLACES, _MOST_BLOCKS = 256, 4096
_BLOCK = struct.Struct("=8Q")
_PINNED, _FREED = 1 << 31, 1 << 30
_IN_FLIGHT = _FREED - 1


@dataclass(frozen=True, slots=True)
class Holdings:
    """As it was when it was looked at; what is not known is None."""

    version: int
    state: str
    """owned: its owner lives. left: that one is dead, and something is held
    or in flight. abandoned: nothing is, and it goes when the next process
    looks. damaged. unknown: of another version."""
    limit: int | None = None
    """Bytes that it may take."""
    used: int | None = None
    """Bytes of blocks that are in flight, held or pinned."""
    idle: int | None = None
    """Bytes that its pages take besides."""
    blocks: int | None = None
    """That are in flight, held or pinned."""
    in_flight: int | None = None
    """References that were sent, and not received."""
    holders: int | None = None
    """Processes that hold any."""
    dead_holders: int | None = None
    """Of those: the owner takes it from them when it needs room."""
    pinned: int | None = None
    """Blocks that stay for good: who held them could not be written down."""


class Damaged(Exception):
    """What is there cannot be so."""


def is_control(name: str) -> bool:
    """Is a segment of that name where a pool begins?"""
    return len(name) == len(POOL) + _DIGITS and name.startswith(POOL)


def look(
    file: int, pair: str, state_of: Callable[[str], os.stat_result]
) -> Holdings | None:
    """At a control, by a descriptor of it; `pair` is what its name says, and
    `state_of` has the state of a segment by its name. None: it is none, or has
    gone."""
    words = Look(file)
    head = _heads.read(_heads.number(words.read(0, _heads.SIZE)))
    if head is None or head.kind != _heads.POOL:
        return None
    if head.version != _heads.VERSION:
        return Holdings(head.version, "unknown")
    try:
        data = state_of(f"{POOL}{pair}{SUFFIX}")
    except OSError:
        if os.fstat(file).st_nlink == 0:
            return None
        return Holdings(head.version, "damaged")
    pool = _Pool(words, head.parameter, pair, data)
    for _ in range(_TRIES):  # others go on meanwhile, and it may look torn
        with suppress(Damaged):
            return pool.holdings(head.version)
    return Holdings(head.version, "damaged")


class _Pool:
    def __init__(
        self, words: Look, blocks: int, pair: str, data: os.stat_result
    ) -> None:
        self._words = words
        self._blocks = blocks
        self._pair = pair
        self._size = data.st_size
        self._held = data.st_blocks * 512

    def holdings(self, version: int) -> Holdings:
        """Raises Damaged."""
        if (
            not 0 < self._blocks <= _MOST_BLOCKS
            or self._words.size < _BLOCKS + self._blocks * _BLOCK.size
            or f"{self._number(_PAIR):016x}" != self._pair
            or self._number(_SIZE) != self._size
        ):
            raise Damaged
        living, dead = self._places()
        used = blocks = in_flight = pinned = 0
        kept = False
        content = self._words.read(_BLOCKS, self._blocks * _BLOCK.size)
        for word, _, *bits, offset, size in _BLOCK.iter_unpack(content):
            if word & _FREED:
                continue
            holders = sum(one << 64 * at for at, one in enumerate(bits))
            flying = word & _IN_FLIGHT
            if not flying and not word & _PINNED and not holders:
                continue
            if not 0 < size <= self._size - min(offset, self._size):
                raise Damaged
            blocks += 1
            used += size
            in_flight += flying
            pinned += word & _PINNED != 0
            kept |= flying > 0 or holders & living != 0
        used = min(used, self._size)
        return Holdings(
            version,
            self._state(kept),
            limit=self._size,
            used=used,
            idle=max(0, self._held - used),
            blocks=blocks,
            in_flight=in_flight,
            holders=living.bit_count() + dead.bit_count(),
            dead_holders=dead.bit_count(),
            pinned=pinned,
        )

    def _state(self, kept: bool) -> str:
        if self._words.is_alive(self._number(_OWNER) & _TOKEN):
            return "owned"
        return "left" if kept else "abandoned"

    def _places(self) -> tuple[int, int]:
        """Those of the living and those of the dead, a bit each."""
        content = self._words.read(_PLACES, _MOST_PLACES * 8)
        living = dead = 0
        for place, (word,) in enumerate(struct.iter_unpack("=Q", content)):
            if not word:
                continue
            if self._words.is_alive(word & _TOKEN):
                living |= 1 << place
            else:
                dead |= 1 << place
        return living, dead

    def _number(self, at: int) -> int:
        return int.from_bytes(self._words.read(at, 8), sys.byteorder)
