# SPDX-License-Identifier: MIT
"""What a Channel is made of: the segment, and what its users raise."""

import operator
import queue
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

from . import _heads, _shmemext
from ._shmemext import Channel, Message, SharedMemory

#: What is raised where there are no more messages, for good.
ShutDown: type[Exception] = getattr(queue, "ShutDown", EOFError)

_CHANNEL = 9


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
) -> tuple[SharedMemory]:
    """The memory of a channel: created, whole, or attached."""
    size = operator.index(size)
    if size <= 0:
        raise ValueError("'size' must be a positive number of bytes")
    head, whole = _shmemext._channel_layout(size)
    memory = place(
        _CHANNEL,
        head.to_bytes(_heads.SIZE, sys.byteorder),
        whole,
        _describe,
        name=name,
        create=create,
        exist_ok=exist_ok,
        timeout=timeout,
        mode=mode,
        track=track,
        lifetime=lifetime,
    )
    return (memory,)


def place(
    kind: int,
    content: bytes,
    size: int,
    describe: Callable[[bytes], str],
    *,
    name: str | None,
    create: bool,
    exist_ok: bool,
    **arguments: Any,
) -> SharedMemory:
    """The segment of that name, which is of that kind: published with this
    content, or the one that is there. `describe` says what one that begins so
    was created with."""
    try:
        memory = _shmemext._publish(
            content,
            False,
            name=name,
            create=create,
            size=size if create or exist_ok else 0,
            exist_ok=exist_ok,
            **arguments,
        )
    except ValueError:
        if exist_ok and name is not None:
            _explain(kind, name, describe)
        raise
    try:
        reason = _refusal(kind, memory)
        if reason is not None:
            type = _heads.CHANNELS[kind]
            raise ValueError(f"{type}({name!r}): {reason}")
    except BaseException:
        undo((memory,))
        raise
    return memory


def _describe(content: bytes) -> str:
    head = _heads.read(_heads.number(content[: _heads.SIZE]))
    return f"size={1 << head.parameter % 64}" if head else ""


def _explain(kind: int, name: str, describe: Callable[[bytes], str]) -> None:
    """Says more, where it may be seen, than that what is there is shorter."""
    with suppress(OSError), SharedMemory(name, readonly=True) as memory:
        reason = _refusal(kind, memory)
        if reason is None:
            content = bytes(memory.buf[:64])
            raise ValueError(
                refuse_smaller(kind, name, describe(content))
            ) from None
        raise ValueError(
            f"{_heads.CHANNELS[kind]}({name!r}): {reason}"
        ) from None


def refuse_smaller(kind: int, name: str, description: str) -> str:
    return (
        f"{_heads.CHANNELS[kind]}({name!r}) exists with {description}, which "
        "is less than was asked for: ask for no more, or unlink() it"
    )


def _refusal(kind: int, memory: SharedMemory) -> str | None:
    """Why what is there will not do."""
    type = _heads.CHANNELS[kind]
    content = bytes(memory.buf[: _heads.SIZE])
    found = _heads.read(_heads.number(content))
    if len(content) < _heads.SIZE or found is None:
        noun = type.lower()
        return f"there is a segment of that name, and no {noun} in it"
    if found.kind != kind:
        return f"there is a {found.type} of that name"
    if found.version != _heads.VERSION:
        return "it was made by another version of shmemext, and is unlike ours"
    return None


def undo(memories: tuple[SharedMemory, ...]) -> None:
    """Nothing is left of what could not be opened."""
    for memory in memories:
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
