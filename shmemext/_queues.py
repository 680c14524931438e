# SPDX-License-Identifier: MIT
"""Objects between processes, each to one of those that get: the type Queue.

What is pickled, and how, is here; where it lies, who has it in hand, and what
the dead leave, is the core's: csrc/core/channels/queue.h.

Large buffers go by reference, see _pools.py: what a message refers to is in
flight while the message is there, and whoever gets it has the bytes as they
were put, in a window of its own. So another one, who gets it after a death,
has them too. When the message is given back it is out of flight. A queue with
a name is for those, too, who may outlive our pools: there all bytes lie in the
queue."""

import atexit
import copyreg
import errno
import os
import pickle
import struct
import sys
import warnings
from contextlib import suppress
from io import BytesIO
from queue import Full
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from . import _channels, _heads, _shmemext
from ._channels import undo as undo
from ._shmemext import SharedMemory, _Queue

if TYPE_CHECKING:
    from ._pickles import Sending
    from ._pools import Reference

PREFIX = "shmemext-queue."
"""What the names begin with of queues that were given none."""

_QUEUE = 12
_MOST = 2**31 - 1  # messages that maxsize may say
_LIMIT = 1 << 30  # bytes, where there is room for as many
_LEAST = 1 << 20
_PATIENCE = 1.0  # seconds, for which a put waits before it looks who is there
_FEW_ADDRESSES = struct.calcsize("P") < 8

# What is open here: at the end of the process what it has in hand is given
# back, and nobody else is to have it.
_open: "WeakSet[Queue]" = WeakSet()


def leave() -> None:
    for queue in list(_open):
        queue._give()


atexit.register(leave)


# The memory


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
    if size is not None and size <= 0:
        raise ValueError("'size' must be a positive number of bytes")
    most = maxsize if 0 < maxsize <= _MOST else 0
    arguments: dict[str, Any] = {
        "name": name or f"{PREFIX}{os.urandom(8).hex()}",
        "create": create or name is None,
        "exist_ok": exist_ok,
        "timeout": timeout,
        "mode": mode,
        "track": track,
        "lifetime": lifetime or ("users" if name is None else "family"),
    }
    limit = _limit() if size is None else size
    while True:
        content, whole = _shmemext._queue_layout(limit, most, name is None)
        try:
            memory = _channels.place(
                _QUEUE, content, whole, _describe, reserve=False, **arguments
            )
            break
        except (OSError, MemoryError) as error:
            # Of addresses, see `ulimit -v`: of memory nothing is taken.
            if size is not None or limit <= _LEAST or not _lacks_room(error):
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


def _lacks_room(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    )


def _limit() -> int:
    """As much as there may be, which is less where /dev/shm is small."""
    limit = _LIMIT >> 4 if _FEW_ADDRESSES else _LIMIT
    room = 0
    with suppress(OSError):
        status = os.statvfs(_shmemext.DIRECTORY)
        room = status.f_blocks * status.f_frsize
    while room and limit > room and limit > _LEAST:
        limit //= 2
    return limit


def _describe(content: bytes) -> str:
    head = _heads.read(_heads.number(content[: _heads.SIZE]))
    return f"size={1 << head.parameter % 64}" if head else ""


# Pickles


def _dumps(obj: object, sending: "Sending | None" = None) -> Any:
    """As multiprocessing pickles: what is registered there counts, too. Beside
    it lies what is in flight then, and `sending` withdraws."""
    file = BytesIO()
    reducers: Any = copyreg.dispatch_table | _registered()
    if sending is None:
        pickler = pickle.Pickler(file, 5)
    else:
        pickler = pickle.Pickler(file, 5, True, sending)
        if sending.shares and "numpy" in sys.modules:
            _pickles()._refer_to_arrays(reducers, sending)
    pickler.dispatch_table = reducers
    pickler.dump(obj)
    return file.getbuffer()


_module: Any = None


def _pickles() -> Any:
    """Imported when it is needed, since that takes time."""
    global _module
    if _module is None:
        from . import _pickles

        _module = _pickles
    return _module


def _send() -> "Sending":
    pickles = _pickles()
    sending: Sending = pickles.Sending()
    sending.least = pickles.MIN_SIZE
    return sending


_extra: Any = None


def _registered() -> Any:
    global _extra
    if _extra is None:
        from multiprocessing.reduction import ForkingPickler

        _extra = getattr(ForkingPickler, "_extra_reducers", {})
    return _extra


def _loads(data: Any) -> Any:
    """What _get() has got."""
    if type(data) is bytes:
        return pickle.loads(data)
    from . import _pools

    content, references = data
    buffers = []
    for reference in references:
        lease = _pools.receive(_pools.keeping(reference), private=True)
        buffers.append(memoryview(lease))
        if reference[5] & _pools.SHARED:
            _pickles()._go_on_sharing()
    return pickle.loads(content, buffers=buffers)


def withdraw(reference: "Reference") -> None:
    """Of a message that is done with."""
    from . import _pools

    _pools.withdraw((reference,))


class Queue(_Queue):
    """Queue(maxsize=0, *, name=None, create=False, size=None, exist_ok=False,
          timeout=None, mode=None, track=None, lifetime=None)

    A queue of objects between processes, with the methods of
    multiprocessing.Queue and JoinableQueue: any number of processes put and
    get, each object goes to one of them.

    Without a name it goes to children, of any start method, as an argument of
    theirs; with one strangers find it.

    put() pickles at once, in the caller: what cannot be pickled raises there,
    and there is no thread that is to be waited for. Buffers of 64 KiB and
    more, as of arrays, are copied once, and whoever gets them has them as
    they were put; what shmemext.arrays made is shared. Not so in a queue with
    a name, which holds all bytes itself.

    What a thread has got last stays in its hand until it gets the next one,
    calls task_done(), or ends: if the process is killed before that another
    one gets it. Nobody's death stops the others.

    maxsize: how many may wait; 0: any number
    size: bytes of pickles that it holds at most, for which memory is taken
        as they come; None: 1 GiB, or what /dev/shm has
    lifetime: as of a SharedMemory; None: "users" without a name
    Other arguments are SharedMemory's.

    ValueError: there is a segment of that name that is no queue, or one of
    another maxsize. Errors are SharedMemory's, too."""

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

    def close(self) -> None:
        """Let go of it here. It stays, with what is in it, for those who have
        it open, and goes with the last of them. Nothing has to be flushed."""
        rest: list[Reference] = []
        if self._has_referred():
            from . import _queue_rest

            self._give()
            rest = _queue_rest.look(self)
        super().close()
        if rest:
            _queue_rest.withdraw(self, rest)

    def __del__(self) -> None:
        # Where memory fails there is none for suppress().
        try:  # noqa: SIM105
            self.close()
        except Exception:
            pass

    def put(
        self, obj: Any, block: bool = True, timeout: float | None = None
    ) -> None:
        """Put an object in. It is pickled now.

        obj: what pickle can pickle
        block: False: do not wait for room
        timeout: seconds to wait for room; None: for ever

        queue.Full: no room within that time, or at once without block.
        ValueError: the queue is closed; or the pickle is longer than half of
        its size. pickle.PicklingError, AttributeError, TypeError: it cannot
        be pickled. OSError ENOSPC: /dev/shm is full."""
        if not self._refers:
            self._send(_dumps(obj), None, block, timeout)
            return
        sending = _send()
        try:
            data = _dumps(obj, sending)
            self._send(data, sending.references, block, timeout)
        except BaseException:
            sending.withdraw()
            raise

    def put_nowait(self, obj: Any) -> None:
        """put(obj, block=False). Arguments and errors are put()'s."""
        self.put(obj, False)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next object. Unpickling runs code: get from those only
        whom you trust.

        block: False: do not wait for one
        timeout: seconds to wait for one; None: for ever

        queue.Empty: none within that time, or at once without block.
        ValueError: the queue is closed."""
        data = self._get(block, timeout)
        return pickle.loads(data) if type(data) is bytes else _loads(data)

    def get_nowait(self) -> Any:
        """get(block=False). Errors are get()'s."""
        return self.get(False)

    def _send(
        self,
        data: Any,
        references: "list[Reference] | None",
        block: bool,
        timeout: float | None,
    ) -> None:
        """What it refers to is the queue's when it is in, and the list empty:
        whichever exception comes after that."""
        if self._put(data, references) is not False:
            return
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
        """Does nothing: there is no thread. As multiprocessing.Queue has it,
        for after close()."""

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread."""
