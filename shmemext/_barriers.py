# SPDX-License-Identifier: MIT
"""At its normal end a process is no party of a barrier any more: what it does
not give back is taken for a death by those that it had met there."""

import atexit
from weakref import WeakSet

from ._shmemext import Barrier

_used: WeakSet[Barrier] = WeakSet()


def know(barrier: Barrier) -> None:
    _used.add(barrier)


def leave() -> None:
    for barrier in list(_used):
        barrier._leave()


atexit.register(leave)
