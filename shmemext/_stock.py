# SPDX-License-Identifier: MIT
"""dumps() and loads(): pickles by hand, which whoever has them sends."""

import os
import threading
from pickle import loads
from typing import TYPE_CHECKING

from . import _pickles, _pools

if TYPE_CHECKING:
    from ._pools import Reference

__all__ = ["dumps", "loads"]


def dumps(obj: object, once: bool = False) -> bytes:
    """Return a pickle of obj in which buffers of 64 KiB and more are
    references, so that it is small; arrays of shmemext.arrays are references
    whatever they take. pickle.loads() makes the object of it, in any process
    of this family.

    It can be loaded any number of times, and each time gives arrays of their
    own, which can be written; shared ones are shared. The bytes are kept in
    memory until this process ends, half of the pool at most, see
    handoff.enable(): beyond it, and where there is no room, they are in the
    pickle, as ever.

    obj: what pickle can pickle
    once: True: it is loaded once, and nothing is kept, or copied when it is
        loaded; loads() raises LookupError if it is loaded again, or if what
        was kept is gone with the process that kept it

    pickle.PicklingError, AttributeError, TypeError: it cannot be pickled."""
    sending = _pickles.Sending() if once else _Keeping()
    sending.least = min(sending.least, _pickles.MIN_SIZE)
    return bytes(_pickles.pack(obj, sending))


class _Keeping(_pickles.Sending):
    """What it refers to stays."""

    size = 0

    def refer(self, raw: memoryview) -> "Reference | None":
        if _pools.is_shared(raw):
            return _pools.refer(raw, kept=True)
        size = raw.nbytes
        if not _take(size):
            return None
        reference = _pools.refer(raw, kept=True)
        if reference is None:
            _give_back(size)
        elif _is_too_much():  # there was no pool before
            _pools.withdraw((reference,))
            _give_back(size)
            return None
        else:
            self.size += size
        return reference

    def withdraw(self) -> None:
        super().withdraw()
        _give_back(self.size)
        self.size = 0


_kept = 0
_lock = threading.Lock()


def size() -> int:
    """Bytes that are kept."""
    return _kept


def _take(size: int) -> bool:
    global _kept
    with _lock:
        _kept += size
    if _is_too_much():
        _give_back(size)
        return False
    return True


def _give_back(size: int) -> None:
    global _kept
    with _lock:
        _kept -= size


def _is_too_much() -> bool:
    limit = _pools.stats()["size"]
    return limit > 0 and _kept > limit // 2


def _begin_child() -> None:
    """Of a fork: what its parent keeps is its parent's, and another thread may
    have had the lock."""
    global _kept, _lock
    _kept = 0
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_begin_child)
