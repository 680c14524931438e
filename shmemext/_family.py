# SPDX-License-Identifier: MIT
"""What Python does for the process family: csrc/core/life/family.h. How it
reaches children is shmemext_family's part."""

import os
import sys
from typing import Any

import shmemext_family

from . import _shmemext

# No Path: pathlib takes longer to import than all of us.
REAPER = os.path.join(os.path.dirname(__file__), "shmemext-reaper")  # noqa: PTH118, PTH120

_watches = False
_carried = False  # at a first create, of this process or of one that forked it


def begin() -> None:
    """At import. Nothing is put into /dev/shm before there is a use for it."""
    shmemext_family.connect(_shmemext._share, _shmemext._enter)
    if shmemext_family.serves():
        _shmemext._serve()
    os.register_at_fork(before=_watch)
    _watch()


def prepare() -> str:
    """At a family's first create in this process: where the reaper is. Copies
    of multiprocessing may have been imported meanwhile. Else a forked child
    does not look: its parent has, and what is touched are pages to copy."""
    global _carried
    imported = sys.modules.keys() & shmemext_family.packages
    if not _carried or len(imported) > 1:
        _carried = True
        shmemext_family.carry()
    return REAPER


def _watch() -> None:
    """At import, and before each fork. As soon as there is
    multiprocessing.util: have it call us in each child when that has become a
    process of its own, and at that one's end. The child does not look: a fork
    may leave it the dict of modules locked for ever."""
    global _watches
    if _watches:
        return
    util: Any = sys.modules.get("multiprocessing.util")
    process: Any = sys.modules.get("multiprocessing.process")
    if util is None or process is None:
        return  # one without the other, when the interpreter ends
    _watches = True
    util.register_after_fork(_begin_child, _begin_child)
    if process.parent_process() is not None:
        _begin_child(None)


def _begin_child(_: object) -> None:
    """A worker does not finalize its interpreter, and has forgotten what was
    to be done at its parent's end. Its own atexit functions, where it calls
    any, come before us: what they write is for others to read."""
    from multiprocessing import popen_fork

    util: Any = sys.modules["multiprocessing.util"]
    shmemext_family.carry()
    if hasattr(popen_fork, "atexit"):  # since CPython 3.13
        sys.modules["atexit"].register(_end_child)
    else:
        util.Finalize(None, _end_child, exitpriority=-100)


def _end_child() -> None:
    """Threads of it may be at work still: multiprocessing waits for them, but
    not before this."""
    threading: Any = sys.modules["threading"]
    threading._shutdown()
    barriers: Any = sys.modules.get("shmemext._barriers")
    if barriers is not None:
        barriers.leave()
    queues: Any = sys.modules.get("shmemext._queues")
    if queues is not None:
        queues.leave()
    pools: Any = sys.modules.get("shmemext._pools")
    if pools is not None:
        pools.leave()
    _shmemext._leave()
