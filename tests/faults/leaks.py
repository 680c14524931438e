# SPDX-License-Identifier: MIT
"""Repeats each operation and counts what is left.

One object lost each time would be ROUNDS of them, every time that this is
tried. The interpreter's own caches (method caches, free lists, specialized
code, tables that double) fill up once, so one of TRIES stays below SLACK.
"""

import ctypes
import gc
import os
import sys
import time
from pathlib import Path

import operations
from operations import NEW, NEW_FILE, OLD, OLD_FILE, OPERATIONS, SIZE

from shmemext import (
    AnonymousMemory,
    MappedFile,
    ShareableList,
    SharedMemory,
)

ROUNDS = 400
TRIES = 8
SLACK = ROUNDS // 20


def references(*types):
    """All there are on a debug build, of those to our types elsewhere."""
    if hasattr(sys, "gettotalrefcount"):
        return sys.gettotalrefcount()
    return sum(map(sys.getrefcount, types))


class Heap(ctypes.Structure):
    """What the C library says of its memory, mallinfo2(3)."""

    _fields_ = [(f"other{i}", ctypes.c_size_t) for i in range(7)]
    _fields_ += [("used", ctypes.c_size_t), ("rest", ctypes.c_size_t * 2)]


libc = ctypes.CDLL(None)
heap = getattr(libc, "mallinfo2", Heap)  # not every one says it
heap.restype = Heap
SMALLEST = 24  # bytes, of what malloc() gives


def counts():
    gc.collect()
    return (
        heap().used // SMALLEST,
        sys.getallocatedblocks(),
        references(
            SharedMemory,
            MappedFile,
            AnonymousMemory,
            ShareableList,
            *operations.synchronizing.KINDS,
            *operations.awaiting.KINDS,
            type(spare._mmap),
            spare._name,
            spare.size,
        ),
    )


def repeat(operation, rounds):
    for _ in range(rounds):
        shm = SharedMemory(OLD, create=True, size=SIZE)
        result = operation(shm)
        del result
        operations.pooling.over()
        shm.close()
        for path in paths:
            path.unlink(missing_ok=True)
        if OLD_FILE.stat().st_size != SIZE:
            os.truncate(OLD_FILE, SIZE)
        del shm


def growth(operation):
    before = counts()
    repeat(operation, ROUNDS)
    return [now - was for was, now in zip(before, counts(), strict=True)]


assert sys.getallocatedblocks() > 0
spare = SharedMemory(create=True, size=100)
spare.unlink()
paths = Path(f"/dev/shm/{OLD}"), Path(f"/dev/shm/{NEW}"), NEW_FILE
before_all = operations.held()
threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
for name, operation in OPERATIONS.items():
    if name in operations.SLOW:
        continue
    tries = []
    while not tries or max(tries[-1]) >= SLACK:
        assert len(tries) < TRIES, (name, tries)
        tries.append(growth(operation))
assert operations.held() == before_all
while len(os.listdir("/proc/self/task")) != threads:  # noqa: PTH208
    time.sleep(0.01)  # one may have been joined, and not be gone yet
