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
from collections.abc import Callable
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
    if create or exist_ok:
        shape = Shape(size, readers, depth)
        return _whole(lambda: _create(shape, arguments), track)
    return _whole(lambda: (_attach(arguments), None), track)


def shape_of(content: bytes) -> Shape:
    """Of one that begins with this: csrc/core/channels/broadcast.h."""
    words = [_heads.number(content[at : at + _WORD]) for at in (0, 2 * _WORD)]
    parameter = words[0] >> 32
    return Shape(words[1], parameter & 0x3FF, parameter >> 20 & 0xFF)


def control_name(content: bytes) -> str:
    """What the other segment of one that begins with this is called."""
    return f"{PREFIX}{_heads.number(content[_WORD : 2 * _WORD]):016x}"


def _describe(content: bytes) -> str:
    return ", ".join(f"{k}={v}" for k, v in shape_of(content)._asdict().items())


def _whole(
    find: Callable[[], _Found], track: bool | None
) -> tuple[SharedMemory, SharedMemory]:
    """Where there is NAME alone somebody is about to unlink it, or has removed
    what it needs."""
    for look in range(_LOOKS):
        data, control = find()
        if control is not None:
            return data, control
        other = control_name(bytes(data.buf[: 3 * _WORD]))
        try:
            return data, SharedMemory(other, track=track)
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


def _attach(arguments: dict[str, Any]) -> SharedMemory:
    """For writing too, if that is allowed here."""
    try:
        return _channels.place(_BROADCAST, b"", 0, _describe, **arguments)
    except PermissionError:
        readonly = {**arguments, "readonly": True}
    return _channels.place(_BROADCAST, b"", 0, _describe, **readonly)


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
    if any(a < b for a, b in zip(shape_of(found), shape, strict=True)):
        data.close()
        raise ValueError(
            _channels.refuse_smaller(_BROADCAST, data.name, _describe(found))
        )
    return data, None


def _for_readers(mode: int | None) -> int | None:
    """Who may read the frames says what it holds."""
    return None if mode is None else mode & 0o444 | (mode & 0o444) >> 1
