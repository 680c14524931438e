# SPDX-License-Identifier: MIT
"""Broadcasts where /dev/shm is full: what a frame that there is no room for
leaves to others, and where the kernel is too old to make pages present."""

import preload
import pytest

# Frames of a quarter of the room, and one that is longer than what is left.
CODE = """
import errno, os, sys, warnings
from shmemext import Broadcast, SharedMemory
warnings.simplefilter("error")

def room():
    found = os.statvfs("/dev/shm")
    return found.f_bavail * found.f_frsize

def refused(cast):
    before = room()
    for call in (lambda: cast.put(b"x")), cast.reserve:
        try:
            call()
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            assert error.filename == cast.name and "room" in str(error)
        else:
            raise AssertionError(room())
        assert room() == before > 0, (room(), before)

size = room() // 4
cast = Broadcast("shmemext-test-full", create=True, size=size, readers=20)
reader = Broadcast("shmemext-test-full")
frames = []
for i in range(3):
    cast.put(bytes([i]) * size)
    frames.append(reader.receive(0))
for _ in range(3):
    refused(cast)
assert (cast.seq, reader.seq) == (3, 3)

# What is left is for somebody else.
other = SharedMemory(create=True, size=room() - 65536)
other.unlink()
other.close()

# A larger one, of which no frame ever fits.
larger = Broadcast("shmemext-test-larger", create=True, size=room() * 2)
refused(larger)
larger.unlink()
larger.close()

for i, frame in enumerate(frames):
    assert bytes(frame) == bytes([i]) * size
frames.clear()
del frame
for i in range(10):
    cast.put(b"again %d" % i)
with reader.receive(0) as frame:
    assert (bytes(frame), frame.seq) == (b"again 9", 13)
cast.unlink()
"""


@pytest.fixture
def small(private):
    return private.within("mount -t tmpfs -o size=4m tmpfs /dev/shm")


def test_frame_without_room_leaves_what_room_there_is(small):
    small.run("-c", CODE)


def test_kernel_that_makes_no_page_present(small, tmp_path):
    """One before Linux 5.14, or a sandbox: it is told as elsewhere, and goes
    on when there is room."""
    library = preload.build("missing", tmp_path)
    env = {**preload.environment(library), "MISSING": "populate=22"}
    small.run("-c", CODE, env=env)
