# SPDX-License-Identifier: MIT
"""What a Broadcast is made of: two segments.

    NAME                     frames, which those who may only read it read
    shmemext-cast.<pair>     who holds which, written by all who use it

The first says by a number, the pair, which the other one is. That is there
before NAME is, and goes after it, so who finds NAME finds both; but for who
finds it at its very end, and looks again. Whoever is killed in between leaves
a segment that nobody asks for: it goes with its family, or with its last user,
as any does."""

import os
import sys
import time
from typing import Any, Literal, NamedTuple

from . import _channels, _heads, _shmemext
from ._channels import undo as undo
from ._shmemext import SharedMemory

PREFIX = "shmemext-cast."
_BROADCAST = 10
_WORD = 8  # bytes: head, pair, size
_LOOKS = 8  # for the other one, each time twice as long after the last
_Found = tuple[SharedMemory, SharedMemory | None]


class Shape(NamedTuple):
    """What one was created with."""

    size: int
    readers: int
    depth: int


def open(
    name: str | None = None,
    create: bool = False,
    size: int = 0,
    *,
    readers: int = 8,
    depth: int = 2,
    exist_ok: bool = False,
    timeout: float | None = None,
    mode: int | None = None,
    track: bool | None = None,
    lifetime: Literal["family", "users"] = "family",
) -> tuple[SharedMemory, SharedMemory]:
    """Both memories of a broadcast: created, whole, or attached."""
    arguments = {
        "name": name,
        "create": create,
        "exist_ok": exist_ok,
        "timeout": timeout,
        "mode": mode,
        "track": track,
        "lifetime": lifetime,
    }
    return _whole(Shape(size, readers, depth), arguments)


def shape_of(content: bytes) -> Shape:
    """Of one that begins with this: csrc/core/channels/broadcast.h."""
    words = [_heads.number(content[at : at + _WORD]) for at in (0, 2 * _WORD)]
    parameter = words[0] >> 32
    return Shape(words[1], parameter & 0x3FF, parameter >> 20 & 0xFF)


def control_name(content: bytes) -> str:
    """What the other segment of one that begins with this is called."""
    return f"{PREFIX}{_heads.number(content[_WORD : 2 * _WORD]):016x}"


def _describe(content: bytes) -> str:
    size, readers, depth = shape_of(content)
    return f"size={size}, readers={readers}, depth={depth}"


def _whole(
    shape: Shape, arguments: dict[str, Any]
) -> tuple[SharedMemory, SharedMemory]:
    """Where there is NAME alone somebody is about to unlink it, or has removed
    what it needs."""
    creates = arguments["create"] or arguments["exist_ok"]
    for look in range(_LOOKS):
        find = _create if creates else _attach
        data, control = find(shape, arguments)
        if control is not None:
            return data, control
        other = control_name(bytes(data.buf[: 3 * _WORD]))
        try:
            return data, SharedMemory(other, track=arguments["track"])
        except FileNotFoundError as error:
            data.close()
            missing = error
        except BaseException:
            data.close()
            raise
        time.sleep(2**look / 1000)
    missing.add_note(
        f"{data.name} is a Broadcast, and the segment that controls it is "
        f"gone: unlink() the name"
    )
    raise missing


def _attach(_: Shape, arguments: dict[str, Any]) -> _Found:
    """For writing too, if that is allowed here."""
    kind, content = _BROADCAST, b""
    try:
        return _channels.place(kind, content, 0, _describe, **arguments), None
    except PermissionError:
        readonly = {**arguments, "readonly": True}
    return _channels.place(kind, content, 0, _describe, **readonly), None


def _create(shape: Shape, arguments: dict[str, Any]) -> _Found:
    """Or what is there by that name, without the other one."""
    pair = int.from_bytes(os.urandom(_WORD), sys.byteorder)
    content, control_size, size = _shmemext._broadcast_layout(*shape, pair)
    control = _shmemext._publish(
        content,
        False,
        name=control_name(content),
        create=True,
        size=control_size,
        mode=_for_readers(arguments["mode"]),
        track=arguments["track"],
        lifetime=arguments["lifetime"],
    )
    try:
        data = _channels.place(
            _BROADCAST, content, size, _describe, reserve=False, **arguments
        )
    except BaseException:
        undo((control,))
        raise
    if data.created:
        return data, control
    undo((control,))
    found = bytes(data.buf[: 3 * _WORD])
    there = shape_of(found)
    if (
        there.size < shape.size
        or there.readers < shape.readers
        or there.depth < shape.depth
    ):
        data.close()
        raise ValueError(
            _channels.refuse_smaller(_BROADCAST, data.name, _describe(found))
        )
    return data, None


def _for_readers(mode: int | None) -> int | None:
    """Who may read the frames says what it holds."""
    return None if mode is None else mode & 0o444 | (mode & 0o444) >> 1
