# SPDX-License-Identifier: MIT
"""Locks and the like that processes share by a memory or a name, and that
survive the death of whoever holds them.

    from shmemext import synchronize

    lock = synchronize.Lock("gpu")

The names are multiprocessing's, and so are their methods and exceptions."""

# What the types import when they are made: a fork beside a first import would
# find that unfinished in the child, for ever.
from . import _barriers as _barriers
from . import _cells as _cells
from . import _named as _named
from . import _repair as _repair
from ._shmemext import (
    Atomic,
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    OwnerDied,
    ReadLock,
    RLock,
    RWLock,
    Semaphore,
    WriteLock,
)

__all__ = [
    "Atomic",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "OwnerDied",
    "RLock",
    "RWLock",
    "ReadLock",
    "Semaphore",
    "WriteLock",
]
