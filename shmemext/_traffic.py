# SPDX-License-Identifier: MIT
"""What there is in a channel or a broadcast, and who uses it.

Whatever stands there is looked at as a stranger's: it is read from the file,
and no memory is touched, no lock taken. What the bytes are,
csrc/core/channels/ring.h and broadcast.h say."""

import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from . import _heads
from ._synchronizers import Holder, Look

CONTROL = "shmemext-cast."
"""What the names begin with of the segments that control broadcasts."""

# What a file cannot be opened for that says nothing of it.
_OUR_OWN = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

_MOST = 1 << 20  # messages that are counted
_TRIES = 20
_CHUNK = 1 << 16
_PAGE = 4096
_TOKEN = (1 << 29) - 1
_PINNED = 1 << 31

# Where words are, of a ring and of a broadcast's control.
_SHUT, _TAIL, _HEAD, _NEXT, _DISCARDED, _REDELIVERED = (
    16,
    128,
    136,
    256,
    448,
    456,
)
_WRITER, _PID, _NEWEST, _ENTRIES = 72, 76, 192, 256

_UNIT, _UNITS = 16, (1 << 28) - 1
_BUSY, _READY, _TAKEN, _RETURNED, _KEPT, _LAST = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Traffic:
    """As it was when it was looked at; what is not known, or is nothing of
    its type, is None."""

    type: str
    version: int
    state: str
    """Of a channel open or shut down; of a broadcast written, by a writer who
    lives, died, or idle; of both damaged, or unknown: another version's."""
    size: int | None = None
    """Bytes of messages that a channel holds; of a broadcast's longest
    frame."""
    members: int | None = None
    """Processes that have it open."""
    messages: int | None = None
    bytes: int | None = None
    newest: int | None = None
    """The number of a broadcast's last frame; 0: there was none."""
    in_hand: int | None = None
    """Messages that somebody has, or frames that readers hold."""
    in_dead_hands: int | None = None
    """Of those: others will get these messages."""
    discarded: int | None = None
    redelivered: int | None = None
    writer: Holder | None = None


class Damaged(Exception):
    """What is there cannot be so."""


def look(file: int, open_control: Callable[[str], int]) -> Traffic | None:
    """At a segment, by a descriptor of it. None: it is neither of both, or has
    gone. OSError: what is looked at cannot be, for want of anything here.
    `open_control` opens a segment by its name."""
    head = _heads.read(_heads.number(Look(file).read(0, _heads.SIZE)))
    if head is None or head.kind not in _heads.CHANNELS:
        return None
    state = "unknown"
    with suppress(Damaged):
        if head.version == _heads.VERSION:
            state = "damaged"
            if head.type != "Broadcast":
                return _Ring(file, head).traffic()
            return _Cast(file, head, open_control).traffic()
    return Traffic(head.type, head.version, state)


class _Words:
    def __init__(self, file: int, head: _heads.Head) -> None:
        self._look = Look(file)
        self._file = file
        self._head = head

    def _word(self, at: int, size: int = 8) -> int:
        return int.from_bytes(self._look.read(at, size), sys.byteorder)

    def _members(self) -> int | None:
        return members(self._file)

    def _dead(self, tokens: list[int]) -> int:
        return [*map(self._look.is_alive, tokens)].count(False)


def members(file: int) -> int | None:
    """How many processes use it; None: the system does not say."""
    from ._shmemext import _next_token

    count, token = 0, 0
    try:
        while token < _TOKEN and (token := _next_token(file, token + 1)):
            count += 1
    except OSError:
        return None
    return count


class _Ring(_Words):
    def traffic(self) -> Traffic:
        """Others go on meanwhile: what lies beyond `head` stays where it is
        for as long as that does. Where it never does it is no damage: what
        was seen last is said, or nothing."""
        capacity = 1 << min(self._head.parameter, 63)
        if self._look.size < _PAGE + capacity:
            raise Damaged
        found: tuple[int, int, list[int]] | None = None
        for _ in range(_TRIES):
            head, counted = self._word(_HEAD), None
            with suppress(Damaged):
                found = counted = self._count(head, capacity)
            if self._word(_HEAD) == head:
                if counted is None:
                    raise Damaged
                break
        messages, size, taken = found or (None, None, None)
        return Traffic(
            self._head.type,
            self._head.version,
            "shut down" if self._word(_SHUT, 4) else "open",
            size=capacity,
            members=self._members(),
            messages=messages,
            bytes=size,
            in_hand=None if taken is None else len(taken),
            in_dead_hands=None if taken is None else self._dead(taken),
            discarded=self._word(_DISCARDED),
            redelivered=self._word(_REDELIVERED),
        )

    def _count(self, head: int, capacity: int) -> tuple[int, int, list[int]]:
        """Messages that wait, their bytes, and who has which in hand."""
        next, tail = self._word(_NEXT), self._word(_TAIL)
        if not 0 <= next - head <= tail - head <= capacity or (
            (head | next | tail) % _UNIT
        ):
            raise Damaged
        messages = size = 0
        taken = []
        for at, word, length in self._records(head, tail, capacity):
            state = word >> 61
            if state in (_TAKEN, _KEPT) and at < next:
                taken.append(word >> 28 & _TOKEN)
            elif state in (_READY, _RETURNED, _TAKEN, _KEPT):
                messages += 1
                size += min(length, (word & _UNITS) * _UNIT)
        return messages, size, taken

    def _records(
        self, at: int, tail: int, capacity: int
    ) -> Iterator[tuple[int, int, int]]:
        start, chunk = at, b""
        for _ in range(_MOST):
            if at == tail:
                return
            rest = capacity - at % capacity
            if at + _UNIT > start + len(chunk):
                length = min(_CHUNK, rest, tail - at)
                chunk = self._look.read(_PAGE + at % capacity, length)
                start = at
            word, length = struct.unpack_from("=QQ", chunk, at - start)
            span = (word & _UNITS) * _UNIT
            if not 0 < span <= min(rest, tail - at) or word >> 61 > _LAST:
                raise Damaged
            yield at, word, length
            at += span

    def places(self) -> Iterator[int]:
        """In the file, of the records that are somebody's or are to be."""
        capacity = 1 << min(self._head.parameter, 63)
        head, tail = self._word(_HEAD), self._word(_TAIL)
        for at, word, _ in self._records(head, tail, capacity):
            if word >> 61 in (_BUSY, _READY, _TAKEN, _RETURNED, _KEPT):
                yield _PAGE + at % capacity


def messages(file: int, head: _heads.Head) -> Iterator[int]:
    """Where they lie in the file of a channel, or a queue."""
    return _Ring(file, head).places()


class _Cast(_Words):
    def __init__(
        self, file: int, head: _heads.Head, open_control: Callable[[str], int]
    ) -> None:
        super().__init__(file, head)
        self._open_control = open_control

    def traffic(self) -> Traffic | None:
        """Who uses it says so in the other segment. None: it has gone."""
        pair = self._word(8)
        try:
            control = self._open_control(f"{CONTROL}{pair:016x}")
        except PermissionError:
            return Traffic(
                "Broadcast",
                self._head.version,
                "unknown",
                size=self._word(16),
            )
        except OSError as error:
            if error.errno in _OUR_OWN:
                raise
            if os.fstat(self._file).st_nlink == 0:
                return None  # both have gone meanwhile, this one first
            raise Damaged from None
        try:
            return _Control(control, self._head).traffic(
                pair, self._word(16), self._look.size
            )
        finally:
            os.close(control)


class _Control(_Words):
    def traffic(self, pair: int, size: int, held: int) -> Traffic:
        """`size`: of the longest frame, and `held` of the segment of frames,
        as that is."""
        readers = self._head.parameter & 0x3FF
        heirs = self._head.parameter >> 10 & 0x3FF
        depth = self._head.parameter >> 20 & 0xFF
        blocks = depth + readers + heirs + 1
        lengths = _ENTRIES + _round_up(depth * 8, 64)
        slots = lengths + _round_up(blocks * 8, 64)
        needed = _PAGE + _round_up(size or 1, _PAGE) * blocks
        if (
            (self._word(8), self._word(16)) != (pair, size)
            or not readers
            or not depth
            or held < needed
            or self._look.size < slots + (readers + heirs) * 8
        ):
            raise Damaged
        newest = self._word(_NEWEST)
        entry = self._word(_ENTRIES + newest % depth * 8)
        if newest and (entry >> 16 < newest or entry & 0xFFFF >= blocks):
            raise Damaged
        content = self._look.read(slots, (readers + heirs) * 8)
        taken = [word for word in memoryview(content).cast("Q") if word]
        tokens = [word & _TOKEN for word in taken if not word & _PINNED]
        writer = self._writer()
        return Traffic(
            "Broadcast",
            self._head.version,
            "idle" if not writer else "written" if writer.alive else "died",
            size=size,
            members=self._members(),
            newest=newest,
            in_hand=len(taken),
            in_dead_hands=self._dead(tokens),
            writer=writer,
        )

    def _writer(self) -> Holder | None:
        token = self._word(_WRITER, 4) & _TOKEN
        if not token:
            return None
        pid = self._word(_PID, 4)
        return Holder(pid or None, self._look.is_alive(token))


def _round_up(number: int, to: int) -> int:
    return -(-number // to) * to
