# SPDX-License-Identifier: MIT
"""How an AnonymousMemory crosses to another process: multiprocessing has ways
of passing descriptors, one for each start method."""

from multiprocessing import reduction
from typing import Any

from ._shmemext import AnonymousMemory


def reduce(memory: AnonymousMemory) -> tuple[Any, ...]:
    passed: Any = reduction.DupFd(memory.fileno())
    return receive, (type(memory), passed)


def receive(kind: type[AnonymousMemory], passed: Any) -> AnonymousMemory:
    descriptor = passed.detach()
    try:
        return kind.from_fd(descriptor)
    except BaseException:
        import os

        os.close(descriptor)
        raise
