# SPDX-License-Identifier: MIT
"""numpy, and what else takes or gives a buffer."""

import hashlib
import io
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
import numpy.typing as npt

from shmemext import (
    AnonymousMemory,
    MappedFile,
    Memory,
    ShareableList,
    SharedMemory,
    arrays,
)


def view(memory: Memory, count: int) -> npt.NDArray[np.float64]:
    return np.ndarray(count, dtype=np.float64, buffer=memory.buf)


if __name__ == "__main__":
    shm = SharedMemory(create=True, size=80)
    array = view(shm, 10)
    array[:] = np.arange(10)
    print(array.sum(), np.frombuffer(shm.buf, dtype="f8")[9])
    if sys.version_info >= (3, 12):  # where numpy's stubs know of buffers
        print(np.frombuffer(shm, dtype=np.float64)[9])
        print(np.ndarray(10, dtype="f8", buffer=shm)[9])

    assert_type(shm.ndarray(10), npt.NDArray[np.float64])
    assert_type(shm.ndarray((2, 5), np.int16, 8), npt.NDArray[np.int16])
    assert_type(shm.ndarray([2], dtype=np.dtype("u1")), npt.NDArray[np.uint8])
    assert_type(shm.ndarray(2, [("x", "f4")]), npt.NDArray[Any])
    shm.write(np.ones(10))
    shm.write(array, offset=0)
    shm.readinto(np.zeros(10))
    shm.readinto(bytearray(10), offset=5)
    shm.write(b"bytes")
    shm.write(memoryview(b"view"))
    print(bytes(shm)[:5], memoryview(shm).nbytes)
    print(hashlib.sha256(shm).hexdigest()[:8])
    print(struct.unpack_from("q", shm, 8))
    struct.pack_into("q", shm, 0, 7)
    print(io.BytesIO(b"from a file").readinto(shm))
    print(int.from_bytes(shm.buf[:4], "little"))
    here, there = socket.socketpair()
    here.sendall(shm)
    print(there.recv_into(shm))
    here.close()
    there.close()
    shm.unlink()

    table = arrays.zeros((3, 4))
    assert_type(table, npt.NDArray[np.float64])
    assert_type(arrays.ones(3, np.int16), npt.NDArray[np.int16])
    assert_type(arrays.empty(3, np.dtype("u1")), npt.NDArray[np.uint8])
    assert_type(arrays.full((3,), 2, "i2"), npt.NDArray[Any])
    assert_type(arrays.array(table), npt.NDArray[np.float64])
    assert_type(arrays.array(table, np.float32), npt.NDArray[np.float32])
    assert_type(arrays.array([[1, 2], [3, 4]]), npt.NDArray[Any])
    assert_type(arrays.asarray(table[::2]), npt.NDArray[np.float64])
    assert_type(arrays.copy(table), npt.NDArray[np.float64])
    assert_type(arrays.zeros_like(table), npt.NDArray[np.float64])
    assert_type(arrays.empty_like([1], dtype=np.int8), npt.NDArray[np.int8])
    assert_type(arrays.full_like(table, 5), npt.NDArray[np.float64])
    assert_type(arrays.arange(5), npt.NDArray[Any])
    assert_type(arrays.linspace(0, 1), npt.NDArray[Any])
    print(arrays.linspace(0, 1, retstep=True)[1])
    named = arrays.create("typing-arrays", (3, 4), np.int32, exist_ok=True)
    assert_type(named, npt.NDArray[np.int32])
    assert_type(arrays.create("typing-more", 3), npt.NDArray[np.float64])
    assert_type(arrays.open("typing-more", timeout=1), npt.NDArray[Any])
    arrays.unlink("typing-arrays")
    arrays.unlink("typing-more", missing_ok=True)

    anonymous = AnonymousMemory(100)
    with anonymous as memory:
        assert_type(memory, AnonymousMemory)
        memory.write(shm)
    whole = ShareableList(list(np.arange(3)))
    assert_type(whole[0], int)
    singles = ShareableList([np.float32(0.5)])
    assert_type(singles[0], float)
    print(list(whole), list(singles), type(whole[0]), type(singles[0]))
    for sl in whole, singles:
        sl.shm.unlink()

if TYPE_CHECKING:
    shm.write("text")  # E: arg-type
    shm.write(5)  # E: arg-type
    shm.ndarray(2.5)  # E: call-overload
    arrays.zeros("3")  # E: arg-type
    arrays.open("name", 5)  # E: call-arg
    arrays.array([1], order="X")  # E: call-overload
    shm.ndarray(2, offset="8")  # E: call-overload
    MappedFile(5)  # E: arg-type
