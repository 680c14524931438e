# SPDX-License-Identifier: MIT
"""Memory that may only be read, and who may open it: readonly= and mode=."""

import copy
import io
import multiprocessing
import os
import pickle
import stat
from multiprocessing import resource_tracker
from multiprocessing import shared_memory as stdlib

import kinds
import machine
import pytest
from arrays import np
from conftest import DEV_SHM, descriptors, python

from shmemext import SharedMemory


@pytest.fixture(params=kinds.KINDS)
def kind(request, tmp_path):
    with kinds.kind_of(request.param, tmp_path) as kind:
        yield kind


@pytest.fixture
def shm(name):
    with SharedMemory(name, create=True, size=5000) as shm:
        shm.buf[:5] = b"hello"
        yield shm
        shm.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def box():
    with machine.boot() as box:
        yield box


# --- what a reader can do


def test_reader_sees_what_is_written(kind):
    memory = kind.create()
    memory.buf[:5] = b"hello"
    reader = kind.again(memory, readonly=True)
    assert (reader.readonly, memory.readonly) == (True, False)
    assert reader.size == len(reader.buf) == 5000
    assert bytes(reader.buf[:5]) == b"hello"
    memory.buf[0] = ord("J")
    assert bytes(reader.buf[:5]) == b"Jello"


def test_reader_maps_without_the_right_to_write(kind):
    memory = kind.create(5000)
    assert [line[1] for line in kind.mappings(memory)] == ["rw-s"]
    reader = kind.again(memory, readonly=True)
    modes = sorted(line[1] for line in kind.mappings(memory))
    assert modes == ["r--s", "rw-s"]
    assert reader.buf[0] == 0
    reader.close()
    del reader
    kind.made.pop()
    assert [line[1] for line in kind.mappings(memory)] == ["rw-s"]


def test_readers_descriptor_is_readonly(kind):
    memory = kind.create()
    reader = kind.again(memory, readonly=True)
    assert os.pread(reader.fileno(), 5, 0) == bytes(5)
    with pytest.raises(OSError, match="Bad file"):
        os.pwrite(reader.fileno(), b"x", 0)


@pytest.mark.parametrize("name_of_kind", kinds.KINDS)
def test_every_way_to_write_is_refused(name_of_kind, tmp_path):
    """In a process of its own: what is not refused is SIGSEGV."""
    done = python(
        """
import array, ctypes, io, mmap, os, struct, sys
import numpy as np
import kinds

def refused(call, *errors):
    try:
        call()
    except errors or (TypeError,):
        return
    sys.exit(f"went well: {call.__code__.co_firstlineno}")

with kinds.kind_of(sys.argv[1], sys.argv[2]) as kind, \\
        open(sys.executable, "rb", buffering=0) as file:
    memory = kind.create(5000)
    memory.buf[:5] = b"hello"
    before = bytes(memory.buf)
    reader = kind.again(memory, readonly=True)
    buf = reader.buf
    assert buf.readonly and buf[2:].readonly and memoryview(reader).readonly
    assert buf[:4096].cast("d").readonly
    refused(lambda: buf.__setitem__(0, 1))
    refused(lambda: buf.__setitem__(slice(5), b"HELLO"))
    refused(lambda: buf[2:].__setitem__(0, 1))
    refused(lambda: memoryview(reader).__setitem__(0, 1))
    refused(lambda: buf[:8].cast("Q").__setitem__(0, 1))
    pack = struct.Struct("i").pack_into
    refused(lambda: pack(buf, 0, 1), TypeError, BufferError)
    refused(lambda: pack(reader, 0, 1), TypeError, BufferError)
    refused(lambda: file.readinto(buf), TypeError, BufferError)
    refused(lambda: file.readinto(reader), TypeError, BufferError)
    refused(lambda: ctypes.c_char.from_buffer(buf), TypeError, BufferError)
    refused(lambda: ctypes.c_char.from_buffer(reader), TypeError, BufferError)
    refused(lambda: reader.write(b"x"))
    refused(lambda: reader.write(b""))
    refused(lambda: reader.write(b"x", 100))
    refused(lambda: reader.grow(10_000))
    refused(lambda: reader.grow(5000))
    for array in (
        np.frombuffer(buf, dtype="u1"),
        np.frombuffer(reader, dtype="u1"),
        np.ndarray(5000, dtype="u1", buffer=buf),
        np.asarray(buf),
        np.asarray(reader),
    ):
        assert not array.flags.writeable
        assert array[0] == ord("h")
        refused(lambda: array.__setitem__(0, 1), ValueError)
        refused(lambda: array.setflags(write=True), ValueError)
        refused(lambda: array.sort(), ValueError)
    into = bytearray(5)
    assert reader.readinto(into) == 5 and into == b"hello"
    reader.populate()
    reader.flush()
    assert reader.refresh() is False
    assert bytes(memory.buf) == before
    memory.grow(10_000)
    memory.buf[-1] = 7
    assert reader.refresh() is True
    assert reader.readonly and reader.buf.readonly and reader.buf[-1] == 7
    refused(lambda: reader.buf.__setitem__(0, 1))
    refused(lambda: reader.write(b"x", 9000))
print("ok")
""",
        name_of_kind,
        tmp_path,
        env=kinds.HERE,
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_mmap_of_a_reader_refuses_too(shm):
    with SharedMemory(shm.name, readonly=True) as reader:
        assert reader._mmap.read(5) == b"hello"
        reader._mmap.seek(0)
        with pytest.raises(TypeError):
            reader._mmap.write(b"HELLO")
    assert bytes(shm.buf[:5]) == b"hello"


def test_reader_that_is_closed_and_its_views(kind):
    memory = kind.create()
    reader = kind.again(memory, readonly=True)
    view = reader.buf[:5]
    reader.close()
    assert reader.buf is None
    memory.buf[0] = 9
    assert view[0] == 9
    with pytest.raises(TypeError):
        view[0] = 1


# --- copies


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_readonly(shm, readonly, protocol):
    with SharedMemory(shm.name, readonly=readonly) as first:
        again = pickle.loads(pickle.dumps(first, protocol))
    assert again.readonly is again.buf.readonly is readonly
    again.close()


def test_copy_keeps_readonly(shm):
    with SharedMemory(shm.name, readonly=True) as first:
        again = copy.copy(first)
    assert again.readonly
    assert bytes(again.buf[:5]) == b"hello"
    again.close()


@pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
@pytest.mark.parametrize("method", kinds.METHODS)
def test_reader_crosses_as_a_reader(kind, method):
    context = multiprocessing.get_context(method)
    memory = kind.create()
    memory.buf[:5] = b"hello"
    reader = kind.again(memory, readonly=True)
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.report, args=(reader, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() == (kind.name, 5000, True, b"hello")
    process.join()


# --- arguments


def test_readonly_is_for_attachers(name):
    before = descriptors()
    with pytest.raises(ValueError, match="readonly"):
        SharedMemory(name, create=True, size=10, readonly=True)
    with pytest.raises(ValueError, match="readonly"):
        SharedMemory(name, True, 10, readonly=True, exist_ok=True)
    assert not (DEV_SHM / name).exists()
    assert descriptors() == before


def test_mode_is_for_creators(shm):
    with pytest.raises(ValueError, match="mode"):
        SharedMemory(shm.name, mode=0o600)


def test_readonly_attribute_cannot_be_set(kind):
    memory = kind.create()
    with pytest.raises(AttributeError):
        memory.readonly = True


def test_new_arguments_are_keywords(name):
    with pytest.raises(TypeError):
        SharedMemory(name, True, 10, None, True, False)


# --- mode


@pytest.mark.parametrize(
    "mode", [0o600, 0o640, 0o660, 0o666, 0o644, 0o444, 0o400, 0o700]
)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_mode_is_exact_whatever_the_umask(name, mode, umask):
    before = os.umask(umask)
    try:
        shm = SharedMemory(name, create=True, size=10, mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((DEV_SHM / name).stat().st_mode) == mode
    shm.buf[0] = 1
    shm.unlink()
    shm.close()


def test_mode_none_is_the_class_default(name):
    class Mine(SharedMemory):
        _mode = 0o640

    shm = Mine(name, create=True, size=10, mode=None)
    assert stat.S_IMODE((DEV_SHM / name).stat().st_mode) == 0o640
    shm.unlink()
    shm.__init__(name, create=True, size=10, mode=0o600)
    assert stat.S_IMODE((DEV_SHM / name).stat().st_mode) == 0o600
    shm.unlink()
    shm.close()


@pytest.mark.parametrize("mode", [-1, 0o10000, 1 << 40])
def test_mode_out_of_range_is_refused(name, mode):
    with pytest.raises((ValueError, OverflowError)):
        SharedMemory(name, create=True, size=10, mode=mode)
    assert not (DEV_SHM / name).exists()


@pytest.mark.parametrize("mode", ["0600", 1.5, b"x"])
def test_mode_of_another_type_is_refused(name, mode):
    with pytest.raises(TypeError):
        SharedMemory(name, create=True, size=10, mode=mode)
    assert not (DEV_SHM / name).exists()


READ = """
import sys
from shmemext import SharedMemory
with SharedMemory(sys.argv[1], readonly=True) as reader:
    assert bytes(reader.buf[:5]) == b"hello", bytes(reader.buf[:5])
    assert reader.readonly and reader.fileno() >= 0
    assert reader.refresh() is False
try:
    SharedMemory(sys.argv[1])
except PermissionError as error:
    assert sys.argv[1] in str(error)
else:
    sys.exit("opened for writing")
"""


def test_other_user_reads_what_mode_lets_him_read(box):
    machine.need_two_users(box)
    with box.running(
        "import sys\n"
        "from shmemext import SharedMemory\n"
        "shm = SharedMemory(sys.argv[1], True, 100, mode=0o644)\n"
        "shm.buf[:5] = b'hello'\n"
        "print('ready')",
        "readable",
    ) as (_, said):
        assert said == ["ready"]
        box.run("-c", READ, "readable", user=machine.NOBODY)


def test_owner_reads_a_segment_that_nobody_may_write(box):
    """Mode 0400, which does not stop root: somebody else then."""
    machine.need_two_users(box)
    create = (
        "from shmemext import SharedMemory\n"
        "shm = SharedMemory(sys.argv[1], True, 100, mode=0o400)\n"
        "shm.buf[:5] = b'hello'\n"
    )
    box.run("-c", "import sys\n" + create + READ, "mine", user=machine.NOBODY)


# --- beside the standard library


def test_standard_library_attaches_to_what_has_readers(name):
    python(
        """
import sys
from multiprocessing import shared_memory
from shmemext import SharedMemory
shm = SharedMemory(sys.argv[1], create=True, size=5000, mode=0o600)
reader = SharedMemory(shm.name, readonly=True)
theirs = shared_memory.SharedMemory(shm.name)
theirs.buf[:5] = b"hello"
assert bytes(reader.buf[:5]) == b"hello"
theirs.close()
shm.close()
reader.close()
""",
        name,
    )


def test_segment_of_the_standard_library_is_read(name):
    resource_tracker.ensure_running()
    theirs = stdlib.SharedMemory(name, create=True, size=5000)
    theirs.buf[:5] = b"hello"
    with SharedMemory(name, readonly=True) as reader:
        assert reader.readonly
        assert bytes(reader.buf[:5]) == b"hello"
        array = np.frombuffer(reader.buf, dtype="u1")
        assert not array.flags.writeable
    theirs.close()
    theirs.unlink()


def test_refused_buffer_keeps_nothing(name):
    """Whoever wanted to write has got nothing that had to be kept."""
    with SharedMemory(name, create=True, size=5000) as shm:
        reader = SharedMemory(name, readonly=True)
        inode = str((DEV_SHM / name).stat().st_ino)

        def is_mapped_readonly():
            with open("/proc/self/maps") as maps:  # noqa: PTH123
                fields = [line.split() for line in maps]
            return any(f[4] == inode and f[1] == "r--s" for f in fields)

        with pytest.raises((TypeError, BufferError)):
            io.BytesIO(b"x").readinto(reader)
        assert is_mapped_readonly()
        reader.close()
        assert not is_mapped_readonly()
        shm.unlink()
