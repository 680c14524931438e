# SPDX-License-Identifier: MIT
"""How an AnonymousMemory crosses to another process: multiprocessing has ways
of passing descriptors, one for each start method.

What is on its way holds a descriptor of the sender's until it is received. A
Queue pickles in a thread of its own, when put() has long returned: what cannot
be sent there is lost to whoever waits for it, so that thread waits for a
descriptor, as it does for room in the pipe."""

import errno
import os
import resource
import threading
import time
from contextlib import suppress
from multiprocessing import reduction
from typing import Any

from ._shmemext import AnonymousMemory

_SPARE = 16  # for receiving; a create leaves more, see anonymous_memory.c
_PAUSE = 0.01  # seconds


def reduce(memory: AnonymousMemory) -> tuple[Any, ...]:
    descriptor = _descriptor_of(memory)
    while not _has_room(descriptor):
        if not _is_a_queues():
            raise OSError(
                errno.EMFILE,
                "too many open files: each AnonymousMemory on its way holds a "
                "descriptor until it is received. Receive some, or raise the "
                "limit (ulimit -n)",
            )
        time.sleep(_PAUSE)
    passed: Any = reduction.DupFd(descriptor)
    return receive, (type(memory), passed)


def _descriptor_of(memory: AnonymousMemory) -> int:
    try:
        return memory.fileno()
    except ValueError:
        raise ValueError(
            "cannot send: the anonymous memory is closed. A Queue pickles "
            "after put() has returned: do not close what was put, it goes "
            "with the last reference"
        ) from None


def _has_room(descriptor: int) -> bool:
    """Numbers are given out from the lowest: a high one tells."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        probe = os.dup(descriptor)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        return False
    os.close(probe)
    return limit == resource.RLIM_INFINITY or probe < limit - _SPARE


def _is_a_queues() -> bool:
    return threading.current_thread().name == "QueueFeederThread"


def receive(kind: type[AnonymousMemory], passed: Any) -> AnonymousMemory:
    descriptor = passed.detach()
    file = os.fstat(descriptor)
    try:
        return kind.from_fd(descriptor)
    except Exception:
        _close(descriptor, file)
        raise


def _close(descriptor: int, file: os.stat_result) -> None:
    """A subclass may fail when an object has had it already, and closed it:
    by now it may be somebody else's."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), file):
            os.close(descriptor)
