# SPDX-License-Identifier: MIT
"""A program that was written for multiprocessing.shared_memory."""

from multiprocessing import Process
from typing import TYPE_CHECKING, Any, assert_type

import shmemext as shared_memory
from shmemext import SharedMemory
from shmemext.shared_memory import ShareableList as ListOfTheModule


class Named(SharedMemory):
    """Subclasses add attributes, and call what is theirs."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name=name, create=True, size=size)
        self.used = 0

    def close(self) -> None:
        super().close()

    def __del__(self) -> None:
        super().__del__()


def work(name: str) -> None:
    shm = SharedMemory(name=name)
    shm.buf[0] += 1
    shm.close()


def first(shm: SharedMemory) -> int:
    buf: memoryview = shm.buf
    item: int = buf[0]
    return item


def contents(shm: SharedMemory) -> bytes | None:
    """Asks whether it is closed, as the stdlib's own stub wants it."""
    if shm.buf is None:
        return None
    return bytes(shm.buf)


if __name__ == "__main__":
    shm = shared_memory.SharedMemory(create=True, size=1024)
    shm.buf[:5] = b"hello"
    shm.buf[0:2] = bytearray([0, 4])
    assert_type(shm.name, str)
    assert_type(shm.size, int)
    process = Process(target=work, args=(shm.name,))
    process.start()
    process.join()
    assert shm.buf is not None
    print(first(shm), shm.buf.nbytes, len(shm.buf), shm.buf.readonly)
    other = SharedMemory(shm.name, False, 0, track=False)
    other.close()
    print(contents(shm) == b"\1\4llo" + bytes(1019), contents(other))
    shm.close()
    shm.unlink()

    named = Named("typed", 10)
    named.used += 1
    named.unlink()
    named.close()

    sl = ListOfTheModule([1, 2])
    print(list(sl))
    sl.shm.close()
    sl.shm.unlink()

if TYPE_CHECKING:

    def wrong(shm: SharedMemory) -> Any:
        SharedMemory(1)  # E: arg-type
        SharedMemory("x", create=True, size="1")  # E: arg-type
        SharedMemory("x", True, 1, None)  # E: call-arg
        shm.name = "another"  # E: misc
        shm.buf = None  # E: misc
        return shared_memory.Sharedmemory  # E: attr-defined

    def misspelt(shm: SharedMemory) -> Any:
        return shm.buf.nothing  # E: union-attr

    def text(shm: SharedMemory) -> str:
        return shm.buf  # E: return-value
