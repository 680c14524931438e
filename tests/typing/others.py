# SPDX-License-Identifier: MIT
"""What else there is to be imported."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import shmemext
from shmemext import AnonymousMemory, MappedFile, SharedMemory
from shmemext.managers import SharedMemoryManager


def of_a_manager() -> None:
    with SharedMemoryManager() as manager:
        shm = manager.SharedMemory(100)
        assert_type(shm, SharedMemory)
        sl = manager.ShareableList([1, 2])
        assert_type(sl[0], int)
        named = manager.ShareableList(["text"], name="typed-managed")
        assert_type(named[0], str)
        print(shm.size, list(sl), list(named))


def of_a_file(path: Path) -> None:
    with MappedFile(path, create=True, size=10) as file:
        assert_type(file, MappedFile)
        file.buf[:] = b"0123456789"
        file.flush()
        print(file.path == os.fspath(path), file.readonly)


if __name__ == "__main__":
    of_a_manager()
    with tempfile.TemporaryDirectory() as directory:
        of_a_file(Path(directory) / "file")
    memory = AnonymousMemory(10)
    memory.seal()
    print(memory.sealed, AnonymousMemory.from_fd(memory.fileno()).size)
    for segment in shmemext.segments():
        assert_type(segment.name, str)
    shmemext.install()
    shmemext.uninstall()

if TYPE_CHECKING:
    shmemext.segment()  # E: attr-defined
    MappedFile("path", timeout=1)  # E: call-arg
