# SPDX-License-Identifier: MIT
"""Synchronizers by a name of their own: Lock("gpu").

Such a name is that of a segment of its users, which holds the cell and nothing
else, and has a prefix, so that it is nobody's segment by chance. It appears
with the cell's head in it, in one step, and goes with the last process that
has it. What is found is never written to: it is a synchronizer, or refused.
"""

import errno
import os
import sys
from typing import Any

from . import _heads, _shmemext
from ._shmemext import SharedMemory

PREFIX = "shmemext-sync."
_MODE = 0o600
_LONGEST = 255 - len(PREFIX)


def open(name: str, head: int, size: int, mode: int | None) -> SharedMemory:
    """The memory of that name, with the cell at its beginning: made, of this
    size and with this head and mode, where there is none.

    ValueError: there is something else. What it is stays as it is."""
    bare = name.lstrip("/")
    content = head.to_bytes(_heads.SIZE, sys.byteorder)
    try:
        if not bare:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
        memory = _shmemext._publish(
            content,
            True,
            name=PREFIX + bare,
            create=True,
            exist_ok=True,
            size=size,
            mode=_MODE if mode is None else mode,
            lifetime="users",
        )
    except FileExistsError:  # of a segment: it says nothing of a synchronizer
        raise ValueError(
            f"{name!r}: {PREFIX}{bare} in {_shmemext.DIRECTORY} is somebody "
            "else's, and no synchronizer"
        ) from None
    except OSError as error:
        if error.errno == errno.ENOSYS:  # as of those in a memory
            error.errno = errno.ENOTSUP
        if error.filename is not None:
            error.filename = name
        if len(os.fsencode(bare)) > _LONGEST:
            error.add_note(f"a name has at most {_LONGEST} bytes here")
        raise
    wanted = _heads.read(head)
    assert wanted is not None
    reason = _refusal(memory, wanted, size)
    if reason is not None:
        memory.close()
        raise ValueError(f"{wanted.type}({name!r}): {reason}")
    return memory


def _refusal(
    memory: SharedMemory, wanted: _heads.Head, size: int
) -> str | None:
    """Why what is there will not do."""
    what = f"{memory.name} in {_shmemext.DIRECTORY}"
    content = bytes(memory.buf[: _heads.SIZE])
    found = _heads.read(_heads.number(content))
    if len(content) < _heads.SIZE or found is None:
        return f"{what} is somebody else's, and no synchronizer"
    if found.kind != wanted.kind:
        return f"{what} is a {found.type}"
    if found.version != wanted.version:
        return (
            f"{what} was made by another version of shmemext, whose "
            f"{found.type} is another"
        )
    if memory.size < size:
        return f"{what} has {memory.size} bytes, and one takes {size}"
    return None


def reduce(
    memory: SharedMemory, maker: Any, arguments: tuple[Any, ...]
) -> tuple[Any, ...]:
    """What is pickled for one whose memory this is, and which maker makes:
    with it, to a process that is being started, goes a share of the name."""
    return _shmemext._ride(memory, (maker, arguments))
