# SPDX-License-Identifier: MIT
"""What programs in the wild do with SharedMemory beside calling it: each test
runs on the standard library too, and wants the same of both."""

import gc
import mmap
import os
from multiprocessing import resource_tracker

import _posixshmem
import pytest
from conftest import DEV_SHM, descriptors

from shmemext import SharedMemory


@pytest.fixture(params=["defaults", "bare"])
def own(both, request):
    """A subclass that opens the memory itself, with class defaults of its own
    (as DLRover's has) or without."""

    class Bare(both.SharedMemory):
        def __init__(self, name, create=False, size=0):
            flags = os.O_RDWR
            if create:
                flags |= os.O_CREAT | os.O_EXCL
            self._name = "/" + name
            self._fd = _posixshmem.shm_open(self._name, flags, mode=0o600)
            if create:
                os.ftruncate(self._fd, size)
            self._size = os.fstat(self._fd).st_size
            self._mmap = mmap.mmap(self._fd, self._size)
            self._buf = memoryview(self._mmap)

    class Defaults(Bare):
        _name = None
        _fd = -1
        _mmap = None
        _buf = None
        _flags = os.O_RDWR
        _mode = 0o600
        _prepend_leading_slash = True

    return {"defaults": Defaults, "bare": Bare}[request.param]


def discard(shm):
    shm.close()
    (DEV_SHM / shm._name[1:]).unlink()


def test_own_init_is_what_the_attributes_show(own, name):
    shm = own(name, create=True, size=4096)
    assert (shm.name, shm.size, len(shm.buf)) == (name, 4096, 4096)
    assert repr(shm) == f"{own.__name__}({name!r}, size=4096)"
    shm._size = 17
    assert shm.size == 17
    shm.buf[0] = 7
    again = own(name)
    assert again.buf[0] == 7
    again.close()
    assert shm.__reduce__() == (own, (name, False, 17))
    discard(shm)


def test_own_init_is_ended_by_close(own, name):
    before = descriptors()
    shm = own(name, create=True, size=4096)
    buf, mapping = shm.buf, shm._mmap
    shm.close()
    assert descriptors() == before
    assert (shm._fd, shm._mmap, shm._buf, shm.buf) == (-1, None, None, None)
    with pytest.raises(ValueError, match="released"):
        _ = buf[0]
    assert mapping.closed
    shm.close()
    (DEV_SHM / name).unlink()


def test_own_init_is_ended_with_the_object(own, name):
    before = descriptors()
    shm = own(name, create=True, size=4096)
    del shm
    gc.collect()
    assert descriptors() == before
    (DEV_SHM / name).unlink()


def test_own_name_is_what_unlink_removes(own, name):
    shm = own(name, create=True, size=4096)
    shm._track = True
    resource_tracker.register(shm._name, "shared_memory")
    shm.unlink()
    assert not (DEV_SHM / name).exists()
    shm.close()


def test_class_defaults_are_filled_in_by_our_init(both, name):
    class Hiding(both.SharedMemory):
        _name = None
        _fd = -1
        _mmap = None
        _buf = None
        _size = 0

    shm = Hiding(name, create=True, size=4096)
    fd = shm._fd
    assert shm._name == "/" + name
    assert (shm.name, shm.size, shm._size) == (name, 4096, 4096)
    assert os.fstat(fd).st_size == 4096
    assert shm.buf is shm._buf
    assert shm._mmap.size() == 4096
    shm.buf[0] = 1
    shm.close()
    assert (shm._fd, shm._mmap, shm.buf) == (-1, None, None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    shm.unlink()


def test_class_default_that_cannot_be_filled_in_leaves_nothing(name):
    class Stubborn(SharedMemory):
        @property
        def _buf(self):
            return None

    before = descriptors()
    with pytest.raises(AttributeError):
        Stubborn(name, create=True, size=4096)
    assert not (DEV_SHM / name).exists()
    assert descriptors() == before


def test_descriptor_that_a_program_puts_there_is_closed(both, name):
    shm = both.SharedMemory(name, create=True, size=4096)
    os.close(shm._fd)
    shm._fd = fd = os.open(os.devnull, os.O_RDONLY)
    shm.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    shm.unlink()
