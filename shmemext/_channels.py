# SPDX-License-Identifier: MIT
"""What a Channel is made of: the segment, and what its users raise."""

import queue
import sys
from collections.abc import Iterator
from typing import Literal

from . import _heads, _shmemext
from ._shmemext import Channel, Message, SharedMemory

#: What is raised where there are no more messages, for good.
ShutDown: type[Exception] = getattr(queue, "ShutDown", EOFError)

_CHANNEL = 9
_LEAST, _MOST = 12, 61  # exponents of sizes: csrc/core/channels/ring.c


def open(
    name: str | None = None,
    create: bool = False,
    size: int = 1 << 20,
    *,
    exist_ok: bool = False,
    timeout: float | None = None,
    mode: int | None = None,
    track: bool | None = None,
    lifetime: Literal["family", "users"] = "family",
) -> SharedMemory:
    """The memory of a channel: created, whole, or attached."""
    if size <= 0:
        raise ValueError("'size' must be a positive number of bytes")
    head, whole = _shmemext._channel_layout(size)
    try:
        memory = _shmemext._publish(
            head.to_bytes(_heads.SIZE, sys.byteorder),
            False,
            name=name,
            create=create,
            size=whole if create or exist_ok else 0,
            exist_ok=exist_ok,
            timeout=timeout,
            mode=mode,
            track=track,
            lifetime=lifetime,
        )
    except ValueError:
        reason = _what_is_smaller(name, size) if exist_ok else None
        if reason is None:
            raise
        raise ValueError(f"Channel({name!r}): {reason}") from None
    try:
        check(memory)
    except BaseException:
        undo(memory)
        raise
    return memory


def check(memory: SharedMemory) -> None:
    """ValueError: what is there will not do."""
    reason = _refusal(memory)
    if reason is not None:
        raise ValueError(f"Channel({memory.name!r}): {reason}")


def _refusal(memory: SharedMemory) -> str | None:
    if memory.buf is None:
        return "it is closed"
    content = bytes(memory.buf[: _heads.SIZE])
    found = _heads.read(_heads.number(content))
    if len(content) < _heads.SIZE or found is None:
        return "there is a segment of that name, and no channel in it"
    if found.kind != _CHANNEL:
        return f"there is a {found.type} of that name"
    if found.version != _heads.VERSION:
        return "it was made by another version of shmemext, and is unlike ours"
    if not _LEAST <= found.parameter <= _MOST:
        return "it is damaged"
    if memory.size < _shmemext._channel_layout(1 << found.parameter)[1]:
        return "it was cut short"
    return None


def _what_is_smaller(name: str | None, size: int) -> str | None:
    """Why what is there is not of that size. It cannot grow: who has it open
    goes by the size that it had. None: it is not that."""
    try:
        memory = SharedMemory(name, readonly=True)
    except (OSError, TypeError, ValueError):
        return None
    with memory:
        reason = _refusal(memory)
        head = _heads.read(_heads.number(bytes(memory.buf[: _heads.SIZE])))
    if reason is not None or head is None:
        return reason
    there = 1 << head.parameter
    if there >= size:
        return None
    return (
        f"it is there with size={there}, and {size} is asked for. Ask for "
        f"{there} or less, or unlink() it: who has it open keeps the old one"
    )


def undo(memory: SharedMemory) -> None:
    """Nothing is left of one that could not be opened."""
    if memory.created:
        memory.unlink(missing_ok=True)
    memory.close()


def messages(channel: Channel) -> Iterator[Message]:
    """Who asks for the next one has done with the last. Kept in the loop's
    variable while that one is waited for, it would stand in the way of whoever
    is to send it."""
    while True:
        try:
            message = channel.receive()
        except ShutDown:
            return
        with message:
            yield message
        del message
