# SPDX-License-Identifier: MIT
"""The type SharedMemory, in one process."""

import pytest

from shmemext import SharedMemory


@pytest.fixture
def shm():
    shm = SharedMemory(create=True, size=100)
    yield shm
    shm.close()
    shm.unlink(missing_ok=True)


def test_new_memory_is_zero_and_writable(shm):
    assert bytes(shm.buf) == bytes(100)
    shm.buf[:5] = b"hello"
    assert bytes(shm.buf[:5]) == b"hello"
