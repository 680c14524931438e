# SPDX-License-Identifier: MIT
"""How a process that is being started comes to be a user of a segment before
it attaches: with the segment comes a descriptor that holds a share of its
use, by shmemext_family's way."""

import os
from functools import partial
from typing import Any

import shmemext_family

from . import _shmemext
from ._shmemext import SharedMemory


def reduce(
    shm: SharedMemory, reduced: tuple[Any, ...], file: tuple[int, ...]
) -> tuple[Any, ...]:
    """What __reduce__ returns, in the same shape. In a queue a name is only
    a name."""
    # Not by an inner function: CPython 3.12 and 3.13 free the code of one for
    # which they get no memory, and crash in a later call.
    share = shmemext_family.share_for(file, partial(_make, shm))
    if share is None:
        return reduced
    maker, *rest = reduced
    ride: Any = _Share(file, share[1])
    return partial(_attach, maker, ride), *rest


def _make(shm: SharedMemory) -> tuple[None, int, bool] | None:
    descriptor = _shmemext._use(shm)
    return None if descriptor is None else (None, descriptor, True)


class _Share:
    """One for each process and segment, however often that is pickled."""

    def __init__(self, file: tuple[int, ...], descriptor: Any) -> None:
        self.file = file
        self.descriptor = descriptor

    def __reduce__(self) -> Any:
        return _arrive, (self.file, self.descriptor)


_arrived: set[tuple[int, ...]] = set()


def _arrive(file: tuple[int, ...], descriptor: Any) -> int | None:
    """In the child, for each time that it was pickled: the first counts."""
    if file in _arrived:
        return None
    _arrived.add(file)
    number: int = descriptor.detach()
    os.set_inheritable(number, False)
    return number


def _attach(maker: Any, share: int | None, *args: Any) -> Any:
    try:
        return maker(*args)
    finally:
        if share is not None:
            os.close(share)
