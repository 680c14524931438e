# SPDX-License-Identifier: MIT
"""Objects between processes, each to one of those that get: the type Queue.

What is pickled, and how, is here; where it lies, who has it in hand, and what
the dead leave, is the core's: csrc/core/channels/queue.h.
"""

import atexit
import os
import struct
import warnings
from collections import ChainMap
from copyreg import dispatch_table
from io import BytesIO
from pickle import Pickler, loads
from queue import Full
from time import monotonic
from typing import Any, Literal
from weakref import WeakSet

from . import _channels, _heads, _shmemext
from ._channels import undo as undo
from ._shmemext import SharedMemory, _Queue

_QUEUE = 12
_MOST = 2**31 - 1  # messages that maxsize may say
_LIMIT = 1 << 30  # bytes, where there is room for as many
_LEAST = 1 << 20
_PATIENCE = 1.0  # seconds, for which a put waits before it looks who is there
_SMALL = struct.calcsize("P") < 8  # there is little room for addresses

# What is open here: at the end of the process what it has in hand is given
# back, and nobody else is to have it.
_open: "WeakSet[Queue]" = WeakSet()


def leave() -> None:
    for queue in list(_open):
        queue._give()


atexit.register(leave)


def open(
    maxsize: int = 0,
    *,
    name: str | None = None,
    create: bool = False,
    size: int | None = None,
    exist_ok: bool = False,
    timeout: float | None = None,
    mode: int | None = None,
    track: bool | None = None,
    lifetime: Literal["family", "users"] | None = None,
) -> tuple[SharedMemory]:
    """The memory of a queue: created, whole, or attached."""
    if name is None:
        create = True
    if size is not None and size <= 0:
        raise ValueError("'size' must be a positive number of bytes")
    most = maxsize if 0 < maxsize <= _MOST else 0
    limit = _limit() if size is None else size
    while True:
        content, whole = _shmemext._queue_layout(limit, most)
        try:
            memory = _channels.place(
                _QUEUE,
                content,
                whole,
                _describe,
                name=name,
                create=create,
                exist_ok=exist_ok,
                timeout=timeout,
                mode=mode,
                track=track,
                lifetime=lifetime or ("family" if name else "users"),
                reserve=False,
            )
            break
        except (OSError, MemoryError) as error:
            # Of addresses, see `ulimit -v`: of memory nothing is taken.
            if size is not None or limit <= _LEAST or not _is_room(error):
                raise
            limit //= 2
    found = _heads.number(bytes(memory.buf[24:28]))
    if most and not memory.created and found != most:
        memory.close()
        raise ValueError(
            f"Queue(name={name!r}) exists with maxsize={found}: ask for that, "
            "for 0, or unlink() it"
        )
    return (memory,)


def _is_room(error: BaseException) -> bool:
    import errno

    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    )


def _limit() -> int:
    """As much as there may be, which is less where /dev/shm is small."""
    limit = _LIMIT >> 4 if _SMALL else _LIMIT
    try:
        found = os.statvfs(_shmemext.DIRECTORY)
        room = found.f_blocks * found.f_frsize
    except OSError:
        room = 0
    while room and limit > room and limit > _LEAST:
        limit //= 2
    return limit


def _describe(content: bytes) -> str:
    head = _heads.read(_heads.number(content[: _heads.SIZE]))
    return f"size={1 << head.parameter % 64}" if head else ""


# As multiprocessing pickles: what is registered there, too, and both as they
# are when something is put.
_reducers: Any = None


def _registered() -> Any:
    global _reducers
    from multiprocessing.reduction import ForkingPickler

    extra: Any = getattr(ForkingPickler, "_extra_reducers", {})
    _reducers = ChainMap(extra, dispatch_table)
    return _reducers


def _dumps(obj: object) -> Any:
    buffer = BytesIO()
    pickler = Pickler(buffer, 5)
    pickler.dispatch_table = _reducers or _registered()
    pickler.dump(obj)
    return buffer.getbuffer()


class Queue(_Queue):
    """Queue(maxsize=0, *, name=None, create=False, size=None, exist_ok=False,
          timeout=None, mode=None, track=None, lifetime=None)

    A queue of objects between processes, with the methods of
    multiprocessing.Queue and JoinableQueue: any number of processes put and
    get, each object goes to one of them.

    Without a name it goes to children, of any start method, as an argument of
    theirs; with one strangers find it, see Channel for the arguments. maxsize
    is how many may wait, 0 any number. size is how many bytes of pickles it
    holds at most, 1 GiB or what /dev/shm has; memory is taken for what is in
    it, as it comes.

    put() pickles at once, in the caller: what cannot be pickled raises there,
    and there is no thread that is to be waited for. What its process has got
    last stays in its hand until the thread gets the next one, calls
    task_done(), or ends: if the process is killed before that another one gets
    it. Nobody's death stops the others."""

    __slots__ = ()
    __module__ = "shmemext"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _open.add(self)

    @classmethod
    def _rebuild(cls, *memories: Any) -> "Queue":
        made: Queue = super()._rebuild(*memories)
        _open.add(made)
        return made

    def put(
        self, obj: Any, block: bool = True, timeout: float | None = None
    ) -> None:
        """Put an object in. It is pickled now. While there is no room this
        waits, for timeout seconds if that is not None.

        queue.Full: no room within that time, or at once without block.
        ValueError: the queue is closed; or the pickle is longer than half of
        its size. OSError ENOSPC: /dev/shm is full."""
        data = _dumps(obj)
        if self._put(data) is False:
            self._wait_for_room(data, (), block, timeout)

    def put_nowait(self, obj: Any) -> None:
        """put(obj, block=False)."""
        self.put(obj, False)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next object. While there is none it waits, for timeout
        seconds if that is not None.

        queue.Empty: none within that time, or at once without block.
        ValueError: the queue is closed. Unpickling runs code: get from those
        only whom you trust."""
        return loads(self._get(block, timeout))

    def get_nowait(self) -> Any:
        """get(block=False)."""
        return loads(self._get(False))

    def _wait_for_room(
        self,
        data: Any,
        references: tuple[Any, ...],
        block: bool,
        timeout: float | None,
    ) -> None:
        if not block:
            raise Full
        ends = None if timeout is None else monotonic() + timeout
        if timeout is None or timeout > _PATIENCE:
            try:
                self._put(data, references, _PATIENCE)
                return
            except Full:
                self._warn()
        left = None if ends is None else max(ends - monotonic(), 1e-9)
        self._put(data, references, left)

    def _warn(self) -> None:
        if self.peers == 0 and not self._reads():
            warnings.warn(
                f"put() waits for room in {self!r}, and no other process has "
                f"it open: start those who get from it first, or make it "
                f"larger",
                RuntimeWarning,
                stacklevel=4,
            )

    def join_thread(self) -> None:
        """Nothing: there is no thread. As multiprocessing.Queue has it, for
        after close()."""

    def cancel_join_thread(self) -> None:
        """Nothing: there is no thread."""
