# SPDX-License-Identifier: MIT
"""What docs/differences.md says of both modules, where no other test does."""

import fcntl
import struct
import threading
from abc import ABC
from collections.abc import Sequence

import pytest
from conftest import python

import shmemext

TRY_TO_LOCK = """
import fcntl, sys
with open(f"/dev/shm/{sys.argv[1]}", "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("held")
"""


def is_held(name):
    return python(TRY_TO_LOCK, name).stdout == "held\n"


@pytest.fixture
def shm(both):
    shm = both.SharedMemory(create=True, size=10)
    yield shm
    shm.close()
    shm.unlink()


def test_record_lock_goes_with_any_descriptor_of_the_process(both, shm):
    fcntl.lockf(shm._fd, fcntl.LOCK_EX)
    assert is_held(shm.name)
    other = type(shm)(shm.name)
    ours = both.__name__ == "shmemext.shared_memory"
    assert is_held(shm.name) is not ours
    other.close()
    assert not is_held(shm.name)


def test_record_lock_taken_after_the_attach_is_held(both, shm):
    other = type(shm)(shm.name)
    fcntl.lockf(shm._fd, fcntl.LOCK_EX)
    assert is_held(shm.name)
    other.close()


def flock(fd):
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def ofd_lock(fd):
    whole = struct.pack("hhqqi0q", fcntl.F_WRLCK, 0, 0, 0, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole)


@pytest.mark.parametrize("lock", [flock, ofd_lock])
def test_lock_of_a_descriptor_outlives_the_attach(both, shm, lock):
    lock(shm._fd)
    type(shm)(shm.name).close()
    path = f"/dev/shm/{shm.name}"
    with open(path, "r+b") as file, pytest.raises(BlockingIOError):  # noqa: PTH123
        lock(file)


class Slots:
    __slots__ = ("one",)


@pytest.mark.parametrize("base", [dict, list, Exception, Slots])
@pytest.mark.parametrize("kind", ["SharedMemory", "ShareableList"])
def test_no_class_is_of_two_layouts(both, kind, base):
    ours = getattr(both, kind)
    for bases in (ours, base), (base, ours):
        if both.__name__ == "multiprocessing.shared_memory":
            assert type("Both", bases, {})
            continue
        with pytest.raises(TypeError, match="lay-out conflict"):
            type("Both", bases, {})


@pytest.mark.parametrize("base", [threading.Thread, ABC, Sequence])
@pytest.mark.parametrize("kind", ["SharedMemory", "ShareableList"])
def test_class_derives_from_one_in_python_too(both, kind, base):
    ours = getattr(both, kind)
    for bases in (ours, base), (base, ours):
        assert type(base)("Both", bases, {})


def test_array_is_made_of_one_that_has_it():
    numpy = pytest.importorskip("numpy")

    class Array(numpy.ndarray):
        pass

    shm = shmemext.SharedMemory(create=True, size=16)
    array = numpy.frombuffer(shm, "i8").view(Array)
    array.shm = shm
    shm.unlink()
    assert list(array) == [0, 0]


def test_what_is_in_dev_shm_besides_and_in_the_configuration(both):
    """A directory, as soon as there is a use for it, and an entry."""
    code = f"""
import multiprocessing, os
from {both.__name__} import SharedMemory
before = set(os.listdir("/dev/shm"))
shm = SharedMemory(create=True, size=1)
config = multiprocessing.current_process()._config
new = set(os.listdir("/dev/shm")) - before - {{shm.name}}
print(sum(name.startswith(".shmemext-2-") for name in new))
print("shmemext" in config, config["authkey"] == bytes(config["authkey"]))
shm.close()
shm.unlink()
"""
    found, entry = python(code).stdout.splitlines()
    ours = both.__name__ == "shmemext.shared_memory"
    assert int(found) >= ours
    assert entry == f"{ours} True"
