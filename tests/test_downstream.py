# SPDX-License-Identifier: MIT
"""What programs in the wild do with SharedMemory beside calling it: each test
runs on the standard library too, and wants the same of both."""

import _posixshmem
import copy
import functools
import gc
import mmap
import os
import pickle
import subprocess
import sys
import time
from contextlib import closing
from multiprocessing import resource_tracker

import pytest
from arrays import np
from conftest import DEV_SHM, descriptors, mappings, python

from shmemext import SharedMemory


@pytest.fixture
def shm():
    shm = SharedMemory(create=True, size=100)
    yield shm
    shm.close()
    shm.unlink()


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


@pytest.mark.parametrize("order", [None, (1, 2, 3)])
def test_class_defaults_whatever_the_metaclass_calls_the_order(
    both, name, order
):
    class Meta(type):
        __mro__ = property(lambda cls: order)

    class Sub(both.SharedMemory, metaclass=Meta):
        _buf = None

    with closing(Sub(name, create=True, size=100)) as shm:
        shm.unlink()
        assert shm.buf.nbytes >= 100


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


# --- who owns the memory: google/grain asks isinstance(..., mmap.mmap)


def test_mapping_passes_for_an_mmap(both, name):
    shm = both.SharedMemory(name, create=True, size=64)
    array = np.ndarray(8, "i8", shm.buf)
    slice_ = np.ndarray(4, "i8", shm.buf[32:])
    for owner in (shm._mmap, shm.buf.obj, array.base, slice_.base):
        assert isinstance(owner, mmap.mmap)
        assert not isinstance(owner, (bytes, np.ndarray, memoryview))
    single = functools.singledispatch(lambda owner: "other")
    single.register(mmap.mmap, lambda owner: "mmap")
    assert single(shm._mmap) == "mmap"
    del array, slice_, owner
    shm.close()
    shm.unlink()


def test_mapping_stays_what_it_is(shm):
    mapping = shm._mmap
    assert type(mapping).__name__ == "Mapping"
    assert isinstance(mapping, type(mapping))
    assert not issubclass(type(mapping), mmap.mmap)
    assert "Mapping" in repr(mapping)
    assert set(dir(mapping)) == set(dir(type(mapping)))
    assert not hasattr(mapping, "find")
    with pytest.raises(TypeError, match="mmap"):
        mmap.mmap.find(mapping, b"x")  # whoever asks for the real type
    with pytest.raises(AttributeError):
        mapping.__class__ = object
    assert np.frombuffer(mapping, "u1").size == 100
    assert memoryview(mapping).nbytes == 100


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_mapping_is_not_pickled_or_copied(both, name, protocol):
    shm = both.SharedMemory(name, create=True, size=64)
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(shm._mmap, protocol)
    for copier in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle"):
            copier(shm._mmap)
    shm.close()
    shm.unlink()


def test_mapping_without_mmap_is_its_type():
    python("""
import sys
from shmemext import SharedMemory
shm = SharedMemory(create=True, size=1)
assert "mmap" not in sys.modules
assert shm._mmap.__class__ is type(shm._mmap)
import mmap
assert shm._mmap.__class__ is mmap.mmap
sys.modules["mmap"] = None
assert shm._mmap.__class__ is type(shm._mmap)
shm.unlink()
""")


# --- keeping a name from the resource tracker: what CPython's gh-82300 teaches

AROUND = """
register = resource_tracker.register
resource_tracker.register = lambda *args, **kwargs: None
try:
    shm = SharedMemory(name, create=True, size=64)
finally:
    resource_tracker.register = register
"""

MOCKED = """
from unittest.mock import patch
with patch("multiprocessing.resource_tracker.register", lambda *args: None):
    shm = SharedMemory(name, create=True, size=64)
"""

FOR_GOOD = """
def fix_register(name, rtype):
    if rtype == "shared_memory":
        return
    return resource_tracker._resource_tracker.register(name, rtype)
resource_tracker.register = fix_register
resource_tracker._CLEANUP_FUNCS.pop("shared_memory", None)
shm = SharedMemory(name, create=True, size=64)
"""

SUBCLASS = """
import threading
class Untracked(SharedMemory):
    __lock = threading.Lock()
    def __init__(self, name=None, create=False, size=0, *, track=False):
        self._track = track
        with self.__lock:
            register = resource_tracker.register
            resource_tracker.register = self.__register
            try:
                super().__init__(name=name, create=create, size=size)
            finally:
                resource_tracker.register = register
    @staticmethod
    def __register(*args, **kwargs):
        return
shm = Untracked(name, create=True, size=64)
"""


@pytest.mark.parametrize(
    "install", ["", "import shmemext\nshmemext.install()"]
)
@pytest.mark.parametrize("recipe", [AROUND, MOCKED, FOR_GOOD, SUBCLASS])
def test_name_kept_from_the_tracker_stays(both, name, recipe, install):
    done = python(
        f"""
import sys
import time
from multiprocessing import resource_tracker
{install}
from {both.__name__} import SharedMemory
name = sys.argv[1]
{recipe}
shm.buf[0] = 5
shm.close()
""",
        name,
    )
    wait_for_reaper()
    assert (DEV_SHM / name).read_bytes()[0] == 5
    assert done.stderr == ""


def wait_for_reaper():
    """A sweep finds what a family that has just ended has left, if its reaper
    was not faster."""
    subprocess.run([sys.executable, "-m", "shmemext", "gc"], check=True)


@pytest.mark.parametrize(
    "untouched",
    [
        "",
        "from multiprocessing import resource_tracker",
        "import shmemext\nshmemext.install()",
        """
import functools
from multiprocessing import resource_tracker
@functools.wraps(resource_tracker.register)
def logged(name, rtype, register=resource_tracker.register):
    return register(name, rtype)
resource_tracker.register = logged
""",
    ],
)
def test_name_of_a_program_that_replaces_nothing_goes(both, name, untouched):
    python(
        f"""
import sys
{untouched}
from {both.__name__} import SharedMemory
SharedMemory(sys.argv[1], create=True, size=64)
""",
        name,
    )
    wait_for_reaper()
    deadline = time.monotonic() + 60
    while (DEV_SHM / name).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not (DEV_SHM / name).exists()


# --- what /proc says


def test_creators_mapping_has_no_name_in_proc(both, name):
    shm = both.SharedMemory(name, create=True, size=4096)
    inode = (DEV_SHM / name).stat().st_ino
    creators, attachers = f"/dev/shm/{name}", f"/dev/shm/{name}"
    if both.__name__.startswith("shmemext"):
        creators = f"/dev/shm/#{inode} (deleted)"
    assert [line.split(None, 5)[5] for line in mappings()] == [creators]
    again = both.SharedMemory(name)
    assert attachers in [line.split(None, 5)[5] for line in mappings()]
    assert all(int(line.split()[4]) == inode for line in mappings())
    again.close()
    shm.close()
    shm.unlink()
