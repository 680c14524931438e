# SPDX-License-Identifier: MIT
"""What lies in a queue that nobody has any more: the last one out takes out of
flight what its messages refer to.

Who is the last is known afterwards, when the name is gone. So what there is is
read before, where nobody else has used it: who has come and gone in between
may have got some of it. To take that out of flight once more does nothing, but
where it is shared, and may be in flight for another message by now: that is
left to the end of the family."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from . import _heads, _pools, _shmemext, _traffic

if TYPE_CHECKING:
    from ._pools import Reference
    from ._queues import Queue

_HEADER = 16  # of a record, and of a letter
_WORDS = 6
_MOST = 1 << 16  # of one message


def look(queue: "Queue") -> "list[Reference]":
    """What its messages refer to, if nobody else has it."""
    try:
        if queue.peers:
            return []
        file = os.open(_path(queue), os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return []
    try:
        return _read(file)
    except (OSError, _traffic.Damaged):
        return []
    finally:
        os.close(file)


def withdraw(queue: "Queue", references: "list[Reference]") -> None:
    """It is closed."""
    if references and not os.path.lexists(_path(queue)):
        with suppress(Exception):
            _pools.withdraw(references)


def _path(queue: "Queue") -> str:
    return f"{_shmemext.DIRECTORY}/{queue.name}"


def _read(file: int) -> "list[Reference]":
    head = _heads.read(_heads.number(os.pread(file, _heads.SIZE, 0)))
    if head is None or head.type != "Queue":
        raise _traffic.Damaged
    found: list[Reference] = []
    for place in _traffic.messages(file, head):
        number, done, words = _letter(file, place)
        for i in range(max(done - 1, 0), number):
            one = words[i * _WORDS : (i + 1) * _WORDS]
            if len(one) == _WORDS and not one[5] & _pools.SHARED:
                a, b, c, d, e, f = one
                found.append((a, b, c, d, e, f))
    return found


def _letter(file: int, place: int) -> tuple[int, int, list[int]]:
    start = os.pread(file, _HEADER, place + _HEADER)
    count, done = memoryview(start).cast("I")[2:]
    size = min(count, _MOST) * _WORDS * 8
    words = os.pread(file, size, place + 2 * _HEADER) if size else b""
    return min(count, _MOST), done, memoryview(words).cast("Q").tolist()
