# SPDX-License-Identifier: MIT
"""What the C side asks about the process family: csrc/core/life/family.h."""

import os
import sys
from contextlib import suppress
from multiprocessing import process  # noqa: F401 (the C side looks it up)

from . import _shmemext

# No Path: pathlib takes longer to import than all of us.
REAPER = os.path.join(os.path.dirname(__file__), "shmemext-reaper")  # noqa: PTH118, PTH120


def family_id(authkey: bytes, euid: int) -> str:
    """32 hexadecimal digits that a family shares and nobody else can guess.

    One-way, since everybody may list /dev/shm."""
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    # Without keywords: in a subinterpreter of 3.12.1 they corrupt the heap.
    return blake2b(b"shmemext:%d:%b" % (euid, authkey)).hexdigest()[:32]


def join() -> None:
    """At import. What is in the way is told at the first create."""
    with suppress(OSError):
        _shmemext._join()


def join_in_children() -> None:
    """A forkserver that preloads us is a family of its own: the workers that
    it forks join theirs when they have got its authkey."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(join, lambda _: join())
