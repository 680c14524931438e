# SPDX-License-Identifier: MIT
"""The type SharedMemory, in one process.

What asks for `both` or `block` is the stdlib's behaviour, and is checked on
the stdlib too.
"""

import copy
import errno
import fcntl
import gc
import inspect
import io
import math
import mmap
import os
import pickle
import re
import socket
import stat
import struct
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from importlib import import_module
from unittest import mock

import pytest
from arrays import np
from conftest import DEV_SHM, SEGMENT, descriptors, mappings, python

import shmemext
from shmemext import SharedMemory
from shmemext.shared_memory import __name__ as MODULE


def discard(shm):
    """Closes and unlinks what a test may have closed or unlinked already."""
    shm.close()
    with suppress(FileNotFoundError):
        shm.unlink()


@pytest.fixture
def shm():
    shm = SharedMemory(create=True, size=100)
    yield shm
    shm.close()
    shm.unlink(missing_ok=True)


@pytest.fixture
def block(both):
    block = both.SharedMemory(create=True, size=100)
    yield block
    discard(block)


def raises(error, message):
    # pytest looks at the notes too, which are ours alone.
    return pytest.raises(error, match=f"^{re.escape(message)}(\n|$)")


def left_behind(name):
    """What a failed call must not have changed."""
    return (
        (DEV_SHM / name).exists(),
        descriptors(),
        len(mappings()),
    )


def is_mapped(inode):
    """Whether this process maps the file, whatever it is called by now."""
    return any(line.split()[4] == str(inode) for line in mappings())


# --- the constructor's checks, in their order


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"size": -1, "create": True, "name": 5},
            ValueError,
            "'size' must be a positive integer",
        ),
        ({"size": -1}, ValueError, "'size' must be a positive integer"),
        (
            {"size": math.nan, "create": True},
            ValueError,
            "'size' must be a positive integer",
        ),
        (
            {"size": -math.inf, "name": "x"},
            ValueError,
            "'size' must be a positive integer",
        ),
        (
            {"size": "1", "create": True},
            TypeError,
            "'>=' not supported between instances of 'str' and 'int'",
        ),
        (
            {"size": None, "name": 5},
            TypeError,
            "'>=' not supported between instances of 'NoneType' and 'int'",
        ),
        (
            {"create": True, "size": 0, "name": 5},
            ValueError,
            "'size' must be a positive number different from zero",
        ),
        (
            {"create": "yes"},
            ValueError,
            "'size' must be a positive number different from zero",
        ),
        (
            {"create": True, "size": 0.0},
            ValueError,
            "'size' must be a positive number different from zero",
        ),
        ({}, ValueError, "'name' can only be None if create=True"),
        (
            {"name": None, "create": 0, "size": 7},
            ValueError,
            "'name' can only be None if create=True",
        ),
        (
            {"name": 5},
            TypeError,
            'can only concatenate str (not "int") to str',
        ),
        (
            {"name": b"x", "create": True, "size": 1.5},
            TypeError,
            'can only concatenate str (not "bytes") to str',
        ),
    ],
)
def test_constructor_checks_in_order(both, arguments, error, message):
    with raises(error, message):
        both.SharedMemory(**arguments)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (
            (None, True, 1, True),
            {},
            "takes from 1 to 4 positional arguments but 5 were given",
        ),
        ((), {"foo": 1}, "got an unexpected keyword argument 'foo'"),
        (("x",), {"name": "y"}, "got multiple values for argument 'name'"),
    ],
)
def test_constructor_words_wrong_calls_as_python(both, args, kwargs, message):
    with raises(TypeError, f"SharedMemory.__init__() {message}"):
        both.SharedMemory(*args, **kwargs)


def test_constructor_has_a_signature():
    assert str(inspect.signature(SharedMemory)) == (
        "(name=None, create=False, size=0, *, track=None, reserve=True, "
        "readonly=False, mode=None, exist_ok=False, timeout=None, "
        "lifetime='family')"
    )


@pytest.mark.parametrize("create", ["yes", 1, [0], object()])
def test_create_is_used_by_its_truth(both, name, create):
    discard(both.SharedMemory(name, create, 1))


@pytest.mark.parametrize("create", ["", 0, None, []])
def test_create_that_is_false_attaches(both, name, create):
    with pytest.raises(FileNotFoundError):
        both.SharedMemory(name, create, 1)


class Unsure:
    def __bool__(self):
        raise ZeroDivisionError("neither")


def test_create_and_flags_pass_exceptions_on(both, name):
    with pytest.raises(ZeroDivisionError, match="neither"):
        both.SharedMemory(name, Unsure(), 1)
    assert not (DEV_SHM / name).exists()


# --- names


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("bad", ["", "/", "//", "a/b", "/a/", "./a"])
def test_name_that_is_no_name_is_einval(both, bad, create):
    with pytest.raises(OSError) as caught:
        both.SharedMemory(bad, create, 1)
    assert caught.value.errno == errno.EINVAL
    assert caught.value.filename == "/" + bad


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("length", [256, 300, 5000])
def test_name_longer_than_a_file_name_is_an_error(both, length, create):
    """EINVAL for the longer ones is what glibc had until 2.36 at least."""
    with pytest.raises(OSError) as caught:
        both.SharedMemory("x" * length, create, 1)
    expected = {errno.ENAMETOOLONG} | (
        {errno.EINVAL} if length > 256 else set()
    )
    assert caught.value.errno in expected
    assert caught.value.filename == "/" + "x" * length


def test_name_may_have_255_bytes(name):
    """One more than the stdlib's tracker takes, from 3.15 on."""
    longest = name.ljust(255, "x")
    shm = SharedMemory(longest, create=True, size=1)
    assert shm.name == longest
    assert (DEV_SHM / longest).stat().st_size == 1
    discard(shm)


@pytest.mark.parametrize("directory", [".", ".."])
def test_name_of_a_directory_is_taken(both, directory):
    with pytest.raises(FileExistsError):
        both.SharedMemory(directory, create=True, size=1)
    with pytest.raises(OSError) as caught:
        both.SharedMemory(directory)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_name_may_begin_with_slashes(both, name, slashes):
    shm = both.SharedMemory(slashes + name, create=True, size=1)
    assert shm.name == slashes + name
    assert shm._name == "/" + slashes + name
    assert (DEV_SHM / name).exists()
    discard(shm)


def test_name_may_be_a_subclass_of_str(both, name):
    class Name(str):
        pass

    shm = both.SharedMemory(Name(name), create=True, size=1)
    assert shm.name == name
    discard(shm)


def test_name_with_a_surrogate_is_unicode_error(both, name):
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        both.SharedMemory(name + "\ud800", create=True, size=1)


@pytest.mark.parametrize("create", [True, False])
def test_name_with_a_nul_is_value_error(name, create):
    with raises(ValueError, "embedded null character"):
        SharedMemory(name + "\0x", create, 1)
    assert not (DEV_SHM / name).exists()


@pytest.mark.parametrize("suffix", ["é", "名前", "\U0001f40d", ":", "\n"])
def test_name_may_hold_any_other_character(name, suffix):
    shm = SharedMemory(name + suffix, create=True, size=1)
    assert shm.name == name + suffix
    assert (DEV_SHM / (name + suffix)).exists()
    discard(shm)
    assert not (DEV_SHM / (name + suffix)).exists()


@pytest.mark.parametrize("create", [True, False])
def test_name_of_the_library_is_reserved(create):
    with pytest.raises(ValueError, match="are reserved for the library"):
        SharedMemory(".shmemext-mine", create, 1)
    assert not (DEV_SHM / ".shmemext-mine").exists()


def test_generated_name_is_the_stdlibs(block):
    assert re.fullmatch(r"psm_[0-9a-f]{8}", block.name)
    assert block._name == "/" + block.name


def test_generated_name_is_tried_until_free(both, block):
    free = both._make_filename()
    with mock.patch(
        f"{both.__name__}._make_filename",
        side_effect=[block._name, block._name, free],
    ) as make:
        shm = both.SharedMemory(create=True, size=1)
    assert shm._name == free
    assert make.call_count == 3
    discard(shm)


def test_generated_name_may_fail(both):
    with (
        mock.patch(
            f"{both.__name__}._make_filename", side_effect=ZeroDivisionError
        ),
        pytest.raises(ZeroDivisionError),
    ):
        both.SharedMemory(create=True, size=1)


# --- sizes


class Index:
    """Is 3 as an index, and does not compare."""

    def __index__(self):
        return 3


class Comparable(Index):
    def __ge__(self, other):
        return True

    def __eq__(self, other):
        return False

    __hash__ = None


@pytest.mark.parametrize(
    ("size", "bytes_"),
    [
        (1, 1),
        (True, 1),
        (4096, 4096),
        (Comparable(), 3),
        *([(np.int64(7), 7)] if np else []),
    ],
)
def test_size_is_exact(both, name, size, bytes_):
    shm = both.SharedMemory(name, create=True, size=size)
    assert shm.size == bytes_
    assert type(shm.size) is int
    assert shm.buf.nbytes == bytes_
    assert (DEV_SHM / name).stat().st_size == bytes_
    discard(shm)


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (
            10.5,
            TypeError,
            "'float' object cannot be interpreted as an integer",
        ),
        (
            math.inf,
            TypeError,
            "'float' object cannot be interpreted as an integer",
        ),
        (
            sys.maxsize + 1,
            OverflowError,
            "Python int too large to convert to C long",
        ),
        (
            Index(),
            TypeError,
            "'>=' not supported between instances of 'Index' and 'int'",
        ),
    ],
)
def test_size_that_is_no_size(both, name, size, error, message):
    if sys.maxsize < 1 << 32 and both is not shmemext.shared_memory:
        message = message.replace("C long", "C ssize_t")
    with raises(error, message):
        both.SharedMemory(name, create=True, size=size)


@pytest.mark.parametrize("size", [10.5, sys.maxsize + 1, sys.maxsize])
@pytest.mark.usefixtures("gigabyte")
def test_size_that_is_no_size_leaves_nothing(name, size):
    before = left_behind(name)
    with pytest.raises((TypeError, OverflowError, OSError)):
        SharedMemory(name, create=True, size=size)
    assert left_behind(name) == before


def test_size_is_looked_at_after_the_name(both, name):
    (DEV_SHM / name).touch()
    with pytest.raises(FileExistsError):
        both.SharedMemory(name, create=True, size=10.5)


@pytest.mark.usefixtures("gigabyte")
def test_size_beyond_the_address_space_is_enomem(name):
    with pytest.raises(OSError) as caught:
        SharedMemory(name, create=True, size=sys.maxsize)
    assert caught.value.errno == errno.ENOMEM
    assert caught.value.filename is None


def test_size_beyond_the_room_is_enospc(name):
    room = os.statvfs(DEV_SHM)
    size = (room.f_blocks + 1) * room.f_frsize
    if size > sys.maxsize:
        pytest.skip("/dev/shm is larger than an address space")
    before = left_behind(name)
    with pytest.raises(OSError) as caught:
        SharedMemory(name, create=True, size=size)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/" + name
    assert f"reserve {size} bytes" in str(caught.value)
    assert "/dev/shm" in str(caught.value)
    assert left_behind(name) == before


@pytest.mark.parametrize("reserve", [True, False])
def test_reserve_says_whether_pages_exist(name, reserve):
    shm = SharedMemory(name, create=True, size=1 << 20, reserve=reserve)
    blocks = (DEV_SHM / name).stat().st_blocks * 512
    assert blocks == (1 << 20 if reserve else 0)
    discard(shm)


def test_new_memory_is_zero_and_writable(block):
    assert bytes(block.buf) == bytes(100)
    block.buf[:5] = b"hello"
    assert bytes(block.buf[:5]) == b"hello"


# --- attach


def test_attach_ignores_size(both, block):
    for size in [0, 1, 10**9, 10.5, 2**70]:
        again = both.SharedMemory(block.name, size=size)
        assert again.size == 100
        again.close()


def test_attach_shares_the_memory(both, block):
    again = both.SharedMemory(block.name)
    again.buf[3] = 7
    assert block.buf[3] == 7
    block.buf[4] = 8
    assert again.buf[4] == 8
    again.close()
    assert block.buf[3] == 7


def test_attach_to_a_missing_name(both, name):
    with pytest.raises(FileNotFoundError) as caught:
        both.SharedMemory(name)
    assert str(caught.value) == (
        f"[Errno 2] No such file or directory: '/{name}'"
    )
    assert caught.value.filename == "/" + name


def test_create_of_an_existing_name(both, block):
    with pytest.raises(FileExistsError) as caught:
        both.SharedMemory(block.name, create=True, size=1)
    assert str(caught.value) == f"[Errno 17] File exists: '/{block.name}'"
    assert caught.value.filename == "/" + block.name


def test_attach_to_an_empty_segment(both, name):
    (DEV_SHM / name).touch()
    before = left_behind(name)
    with raises(ValueError, "cannot mmap an empty file"):
        both.SharedMemory(name)
    gc.collect()
    assert left_behind(name) == before


def test_attach_that_cannot_map_leaves_the_owners_segment(name):
    with (DEV_SHM / name).open("wb") as file:
        file.truncate(1 << 50)  # more than an address space holds
    before = left_behind(name)
    with pytest.raises(OSError) as caught:
        SharedMemory(name)
    assert caught.value.errno == errno.ENOMEM
    assert caught.value.filename is None
    assert left_behind(name) == before


def test_attach_to_more_than_an_address_space(both, name):
    """Where words have 32 bits, the stdlib has no number for it."""
    size = min(1 << 50, sys.maxsize + 1)
    with (DEV_SHM / name).open("wb") as file:
        file.truncate(size)
    is_ours = both.__name__.startswith("shmemext")
    fits = is_ours or size <= sys.maxsize
    with pytest.raises(OSError if fits else OverflowError) as caught:
        both.SharedMemory(name)
    assert not fits or caught.value.errno == errno.ENOMEM
    assert not is_ours or "can map" in caught.value.__notes__[0]


def test_attach_read_only_is_refused_and_leaves_the_segment(shm):
    class ReadOnly(SharedMemory):
        _flags = os.O_RDONLY

    before = left_behind(shm.name)
    with pytest.raises(PermissionError) as caught:
        ReadOnly(shm.name)
    assert caught.value.filename is None
    assert left_behind(shm.name) == before


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_attach_takes_nothing_but_files(name, shm, kind):
    path = DEV_SHM / name
    if kind == "link":
        path.symlink_to(shm.name)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = descriptors()
    with pytest.raises((OSError, ValueError)):
        SharedMemory(name)
    assert descriptors() == before
    if kind == "directory":
        path.rmdir()


def test_no_descriptor_to_spare_is_emfile_and_leaves_nothing(name):
    done = python(
        """
import errno, os, resource, sys
from shmemext import SharedMemory
name = sys.argv[1]
spare = os.dup(0)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, hard))
for arguments in [(name, True, 10), (None, True, 10), (name,)]:
    try:
        SharedMemory(*arguments)
    except OSError as error:
        print(errno.errorcode[error.errno])
os.close(spare)
SharedMemory(name, True, 10, track=False).unlink()
print(os.path.exists("/dev/shm/" + name))
""",
        name,
    )
    assert done.stdout.split() == ["EMFILE", "EMFILE", "EMFILE", "False"]


READER = """
import sys
from shmemext import SharedMemory
seen = missing = 0
while seen < 300:
    try:
        shm = SharedMemory(sys.argv[1])
    except FileNotFoundError:
        missing += 1
        if missing == 1:
            print("ready", flush=True)
    else:
        assert shm.size == 5000, shm.size
        shm.buf[4999] = 1
        seen += 1
        shm.close()
"""


def test_name_appears_with_its_full_size(name):
    """Peers that open it at once: a size of 0 would be ValueError."""
    with subprocess.Popen(
        [sys.executable, "-c", READER, name], stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 300
        while reader.poll() is None and time.monotonic() < deadline:
            shm = SharedMemory(name, create=True, size=5000, track=False)
            shm.unlink()
            shm.close()
        reader.kill()
    assert reader.returncode == 0


# --- mode, flags and the other class attributes


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_mode_is_exact_whatever_the_umask(name, mode, umask):
    class Shared(SharedMemory):
        _mode = mode

    old = os.umask(umask)
    try:
        shm = Shared(name, create=True, size=1)
    finally:
        os.umask(old)
    assert stat.S_IMODE((DEV_SHM / name).stat().st_mode) == mode
    discard(shm)


def test_mode_may_be_set_on_the_instance(both, name):
    shm = both.SharedMemory.__new__(both.SharedMemory)
    shm._mode = 0o400
    shm.__init__(name, create=True, size=1)
    assert stat.S_IMODE((DEV_SHM / name).stat().st_mode) == 0o400
    discard(shm)


def test_class_attributes_are_the_stdlibs(both):
    cls = both.SharedMemory
    assert cls._name is None
    assert cls._fd == -1
    assert cls._mmap is None
    assert cls._buf is None
    assert cls._flags == os.O_RDWR
    assert cls._mode == 0o600
    assert cls._prepend_leading_slash is True


def test_create_sets_flags_on_the_instance(both, block):
    assert block._flags == os.O_CREAT | os.O_EXCL | os.O_RDWR
    again = both.SharedMemory(block.name)
    assert again._flags == os.O_RDWR
    again.close()


def test_flags_of_a_subclass_attach(both, block):
    class OrCreate(both.SharedMemory):
        _flags = os.O_CREAT | os.O_RDWR

    again = OrCreate(block.name, size=5)
    assert again.size == 100
    again.close()


def test_flags_of_a_subclass_create_nothing_empty(name):
    class OrCreate(SharedMemory):
        _flags = os.O_CREAT | os.O_RDWR

    with raises(ValueError, "cannot mmap an empty file"):
        OrCreate(name)
    assert not (DEV_SHM / name).exists()


def test_flags_of_a_subclass_may_be_exclusive(both, block):
    class New(both.SharedMemory):
        _flags = os.O_CREAT | os.O_EXCL | os.O_RDWR

    with pytest.raises(FileExistsError):
        New(block.name)


def test_slash_is_not_prepended_where_a_subclass_says_so(both, name):
    class Bare(both.SharedMemory):
        _prepend_leading_slash = False

    shm = Bare(name, create=True, size=1)
    assert (shm.name, shm._name) == (name, name)
    assert (DEV_SHM / name).exists()
    discard(shm)
    with pytest.raises(FileNotFoundError) as caught:
        Bare(name)
    assert caught.value.filename == name
    with pytest.raises(TypeError, match=r"^shm_open\(\).*must be str, not b"):
        Bare(name.encode())


def test_track_is_kept_as_given(name):
    class Tracked(SharedMemory):
        _track = True

    assert SharedMemory._track is None
    assert Tracked._track is True
    shm = Tracked(name, create=True, size=1, track=False)
    assert shm._track is False
    discard(shm)


def test_track_of_an_instance_decides_at_unlink(shm):
    shm._track = True
    with mock.patch("multiprocessing.resource_tracker.unregister") as send:
        shm.unlink()
    assert send.call_args_list == [mock.call(shm._name, "shared_memory")]


def test_close_and_unlink_may_be_overridden(both, name):
    calls = []

    class Loud(both.SharedMemory):
        def close(self):
            calls.append("close")
            super().close()

    shm = Loud(name, create=True, size=1)
    shm.unlink()
    del shm
    gc.collect()
    assert calls == ["close"]


# --- attributes


def test_attributes_of_an_open_object(block):
    assert block.size == block._size == 100
    assert block.buf is block.buf is block._buf
    view = block.buf
    assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
    assert (view.nbytes, view.readonly, view.contiguous) == (100, False, True)
    assert view.obj is block._mmap


def test_attributes_after_close_and_unlink(both, block):
    name = block.name
    block.close()
    block.unlink()
    assert (block.name, block.size, block.buf) == (name, 100, None)
    assert (block._buf, block._mmap, block._fd) == (None, None, -1)
    end = ", closed, unlinked" if both.__name__ == MODULE else ""
    assert repr(block) == f"SharedMemory('{name}', size=100{end})"


def test_repr_says_what_has_ended(shm, name):
    begin = f"SharedMemory({shm.name!r}, size=100"
    assert repr(shm) == f"{begin})"
    again = SharedMemory(shm.name)
    again.close()
    assert repr(again) == f"{begin}, closed)"
    shm.unlink()
    assert repr(shm) == f"{begin}, unlinked)"
    shm.close()
    assert repr(shm) == f"{begin}, closed, unlinked)"
    shm.__init__(name, create=True, size=7)
    assert repr(shm) == f"SharedMemory({name!r}, size=7)"


@pytest.mark.parametrize("attribute", ["name", "size", "buf"])
def test_properties_are_read_only(block, attribute):
    words = f"property '{attribute}' of 'SharedMemory' object has no "
    with raises(AttributeError, words + "setter"):
        setattr(block, attribute, None)
    with raises(AttributeError, words + "deleter"):
        delattr(block, attribute)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("_name", "/other"),
        ("_size", 5),
        ("_flags", 0),
        ("_mode", 0o644),
        ("_prepend_leading_slash", False),
        ("_track", False),
        ("_fd", -1),
        ("_mmap", None),
        ("_buf", None),
    ],
)
def test_private_attributes_can_be_set(both, attribute, value):
    shm = both.SharedMemory.__new__(both.SharedMemory)
    setattr(shm, attribute, value)
    assert getattr(shm, attribute) == value


def test_private_attributes_are_what_the_public_ones_show(block):
    true_name = block._name
    block._name, block._size = "/other", 5
    assert (block.name, block.size) == ("other", 5)
    block._prepend_leading_slash = False
    assert block.name == "/other"
    del block._prepend_leading_slash
    assert block.name == "other"
    block._name = true_name


def test_private_name_is_what_unlink_removes(both, block, name):
    (DEV_SHM / name).touch()
    true_name = block._name
    with mock.patch("multiprocessing.resource_tracker.unregister"):
        block._name = "/" + name
        block.unlink()
    assert not (DEV_SHM / name).exists()
    block._name = true_name
    assert (DEV_SHM / block.name).exists()


def test_private_name_with_a_nul_is_refused_by_unlink(shm):
    true_name = shm._name
    shm._name = true_name + "\0a"
    with raises(ValueError, "embedded null character"):
        shm.unlink()
    shm._name = true_name


def test_private_name_that_is_empty_unlinks_nothing(block):
    true_name = block._name
    block._name = ""
    block.unlink()
    block._name = true_name
    assert (DEV_SHM / block.name).exists()


def test_disarmed_object_leaves_its_views_alone(block):
    view, _mmap = block.buf, block._mmap
    block._buf = None
    block._mmap = None
    block.close()
    view[0] = 5
    assert view[0] == 5
    assert block.buf is None
    view.release()


def test_new_without_init(both):
    shm = both.SharedMemory.__new__(both.SharedMemory)
    shm.close()
    shm.unlink()
    assert shm.buf is None
    words = "'NoneType' object has no attribute 'startswith'"
    with raises(AttributeError, words):
        _ = shm.name
    with raises(AttributeError, words):
        repr(shm)
    words = "'SharedMemory' object has no attribute '_size'"
    with raises(AttributeError, words):
        _ = shm.size


def test_init_again_lets_go_of_the_first_segment(shm, name):
    first = shm.name
    view = shm.buf
    view[0] = 1
    shm.__init__(name, create=True, size=50)
    assert (shm.name, shm.size, len(shm.buf)) == (name, 50, 50)
    assert shm.buf[0] == 0
    assert view[0] == 1
    (DEV_SHM / first).unlink()


def test_repr_has_the_subclass_name(both, block):
    class Block(both.SharedMemory):
        pass

    again = Block(block.name)
    assert repr(again) == f"Block({block.name!r}, size=100)"
    again.close()


def test_equality_is_identity(both, block):
    again = both.SharedMemory(block.name)
    assert block == block
    assert block != again
    assert len({block, again, block}) == 2
    again.close()


def test_objects_take_attributes_and_weak_references(block):
    block.note = "mine"
    assert block.__dict__["note"] == "mine"
    reference = weakref.ref(block)
    assert reference() is block


def test_object_in_a_cycle_is_collected(name):
    shm = SharedMemory(name, create=True, size=1)
    inode = (DEV_SHM / name).stat().st_ino
    shm.unlink()
    shm.me = shm
    reference = weakref.ref(shm)
    del shm
    gc.collect()
    assert reference() is None
    assert not is_mapped(inode)


@pytest.mark.parametrize("operation", [len, iter, lambda shm: shm[0]])
def test_object_is_no_sequence(block, operation):
    with pytest.raises(TypeError):
        operation(block)


def test_docstrings_are_there():
    for member in ["close", "unlink", "fileno", "name", "size", "buf"]:
        assert getattr(SharedMemory, member).__doc__


# --- close, with and unlink


def test_close_twice_is_fine(block):
    block.close()
    block.close()
    assert block.buf is None


def test_close_unmaps_and_keeps_the_name(shm):
    inode = (DEV_SHM / shm.name).stat().st_ino
    assert is_mapped(inode)
    view = shm.buf
    view[0] = 1
    del view
    shm.close()
    assert not is_mapped(inode)
    assert (DEV_SHM / shm.name).exists()


def test_close_releases_buf_itself(both, block):
    view = block.buf
    block.close()
    with raises(
        ValueError, "operation forbidden on released memoryview object"
    ):
        view[0]


VIEWS = {
    "slice": lambda shm: shm.buf[:10],
    "cast": lambda shm: shm.buf.cast("b"),
    "memoryview": lambda shm: memoryview(shm),
    "memoryview of buf": lambda shm: memoryview(shm.buf),
    "PickleBuffer": lambda shm: pickle.PickleBuffer(shm.buf).raw(),
}
if np:
    VIEWS |= {
        "frombuffer": lambda shm: np.frombuffer(shm, np.uint8),
        "asarray of buf": lambda shm: np.asarray(shm.buf),
        "ndarray": lambda shm: np.ndarray((100,), np.uint8, buffer=shm),
        "ndarray of buf": lambda shm: np.ndarray(100, np.uint8, shm.buf),
    }

# numpy.ndarray(buffer=) gives a buffer back at once and trusts the object to
# keep the memory: what was asked of the object itself, the object keeps.
KEEPS_MAPPED = {"memoryview", "frombuffer", "ndarray"}


@pytest.mark.parametrize("how", VIEWS)
def test_views_outlive_close(shm, how):
    view = VIEWS[how](shm)
    shm.close()
    assert (shm.buf, shm._mmap, shm._fd) == (None, None, -1)
    view[0] = 42
    assert view[0] == 42
    inode = (DEV_SHM / shm.name).stat().st_ino
    assert is_mapped(inode)
    del view
    gc.collect()
    assert is_mapped(inode) is (how in KEEPS_MAPPED)
    again = SharedMemory(shm.name)
    assert again.buf[0] == 42
    again.close()


@pytest.mark.parametrize("how", [*VIEWS, "buf"])
def test_views_outlive_the_object(name, how):
    shm = SharedMemory(name, create=True, size=100)
    inode = (DEV_SHM / name).stat().st_ino
    shm.unlink()
    view = VIEWS.get(how, lambda shm: shm.buf)(shm)
    del shm
    gc.collect()
    view[0] = 42
    assert view[0] == 42
    assert is_mapped(inode)
    del view
    gc.collect()
    assert not is_mapped(inode)


def test_buf_that_somebody_released_is_so_for_all(block):
    """There is one, and who releases it says that nobody uses it any more."""
    buf = block.buf
    buf.release()
    assert block.buf is buf
    with raises(
        ValueError, "operation forbidden on released memoryview object"
    ):
        block.buf[0]
    block.close()
    assert block.buf is None


def test_released_buf_leaves_the_object_alone(shm):
    shm.buf.release()
    memoryview(shm)[0] = 7
    shm.grow(200)
    assert (len(shm.buf), shm.buf[0]) == (200, 7)


def test_with_closes_and_does_not_unlink(name):
    with SharedMemory(name, create=True, size=1) as shm:
        assert shm.buf[0] == 0
    assert shm.buf is None
    with pytest.raises(ZeroDivisionError), SharedMemory(name) as shm:
        1 / 0  # noqa: B018
    assert shm.buf is None
    SharedMemory(name).unlink()


def test_unlink_keeps_the_memory(block):
    block.unlink()
    block.buf[0] = 1
    assert block.buf[0] == 1
    assert not (DEV_SHM / block.name).exists()


def test_unlink_twice_is_file_not_found(block):
    block.close()
    block.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        block.unlink()
    assert str(caught.value) == (
        f"[Errno 2] No such file or directory: '/{block.name}'"
    )
    assert caught.value.filename == block._name


def test_unlink_of_a_missing_name_may_be_fine(shm):
    assert shm.unlink(missing_ok=True) is None
    assert shm.unlink(missing_ok=True) is None
    with pytest.raises(FileNotFoundError):
        shm.unlink(missing_ok=False)
    assert str(inspect.signature(shm.unlink)) == "(missing_ok=False)"


def is_ours(module):
    return module.__name__.startswith("shmemext")


@pytest.mark.parametrize("close_first", [False, True])
def test_unlink_spares_another_segment_of_the_name(both, name, close_first):
    """The stdlib's removes whatever has the name."""
    stale = both.SharedMemory(name, create=True, size=1)
    other = both.SharedMemory(name)
    other.unlink()
    other.close()
    if close_first:
        stale.close()
    with mock.patch("multiprocessing.resource_tracker.unregister"):
        successor = both.SharedMemory(name, create=True, size=2)
        if is_ours(both):
            with pytest.raises(FileNotFoundError) as caught:
                stale.unlink()
            assert str(caught.value) == (
                "[Errno 2] the name now names another segment: it was not "
                f"removed: '/{name}'"
            )
            assert caught.value.filename == f"/{name}"
            assert stale.unlink(missing_ok=True) is None
            assert (DEV_SHM / name).stat().st_size == 2
            successor.unlink()
        else:
            stale.unlink()
        assert not (DEV_SHM / name).exists()
    stale.close()
    successor.close()


def test_unlink_by_an_attacher_spares_another_segment(name):
    first = SharedMemory(name, create=True, size=1)
    attached = SharedMemory(name)
    first.unlink()
    successor = SharedMemory(name, create=True, size=2)
    with pytest.raises(FileNotFoundError):
        attached.unlink()
    SharedMemory(name).unlink()
    with pytest.raises(FileNotFoundError):
        successor.unlink()


def test_unlink_spares_what_is_no_segment(shm):
    shm.unlink()
    (DEV_SHM / shm.name).write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        shm.unlink()
    (DEV_SHM / shm.name).unlink()


def test_second_unlink_of_a_made_up_name_spares_its_successor():
    """The first one does not look: nobody comes upon such a name."""
    shm = SharedMemory(create=True, size=1)
    shm.unlink()
    with SharedMemory(shm.name, create=True, size=1) as successor:
        with pytest.raises(FileNotFoundError, match="now names another"):
            shm.unlink()
        successor.unlink()
    shm.close()


def test_unlink_of_a_name_that_a_program_makes_up_spares_others(name):
    with mock.patch("shmemext.shared_memory._make_filename", lambda: name):
        shm = SharedMemory(create=True, size=1)
    (DEV_SHM / name).unlink()
    with SharedMemory(name, create=True, size=1) as successor:
        with pytest.raises(FileNotFoundError, match="now names another"):
            shm.unlink()
        successor.unlink()
    shm.close()


def test_unlink_knows_its_name_by_what_it_says(name):
    """A program may set `_name` to what it was."""
    shm = SharedMemory(name, create=True, size=1)
    shm._name = f"/{name}"
    shm.unlink()
    with SharedMemory(name, create=True, size=1) as successor:
        with pytest.raises(FileNotFoundError):
            shm.unlink()
        successor.unlink()


def test_unlink_after_init_is_about_the_second_segment(name):
    shm = SharedMemory(f"{name}-first", create=True, size=1)
    shm.__init__(name, create=True, size=1)
    shm.unlink()
    assert not (DEV_SHM / name).exists()
    SharedMemory(f"{name}-first").unlink()


# --- fileno() and _fd


def test_fileno_is_opened_when_asked_for(shm):
    before = descriptors()
    fd = shm.fileno()
    assert fd == shm.fileno() == shm._fd
    assert str(fd) in descriptors()
    assert len(descriptors()) == len(before) + 1
    assert os.fstat(fd).st_size == 100
    assert not os.get_inheritable(fd)
    shm.close()
    assert descriptors() == before
    assert shm._fd == -1
    with pytest.raises(ValueError, match="it has no descriptor"):
        shm.fileno()


def test_named_segments_hold_no_descriptor(name):
    before = descriptors()
    shm = SharedMemory(name, create=True, size=10)
    again = SharedMemory(name)
    assert bytes(again.buf) == bytes(10)
    assert descriptors() == before
    again.close()
    discard(shm)


def test_fileno_goes_with_the_object(name):
    before = descriptors()
    shm = SharedMemory(name, create=True, size=10)
    shm.fileno()
    shm.unlink()
    del shm
    assert descriptors() == before


def test_fileno_survives_unlink(shm):
    fd = shm.fileno()
    shm.unlink()
    assert os.fstat(shm.fileno()).st_nlink == 0
    assert shm.fileno() == fd


@pytest.mark.parametrize("reused", [False, True])
def test_fileno_needs_the_name(shm, reused):
    shm.unlink()
    if reused:
        (DEV_SHM / shm.name).write_bytes(bytes(100))
    before = descriptors()
    with pytest.raises(FileNotFoundError, match="before unlink") as caught:
        shm.fileno()
    assert caught.value.filename == shm._name
    assert descriptors() == before
    if reused:  # which unlink() spares
        (DEV_SHM / shm.name).unlink()


def test_fd_serves_what_programs_do_with_it(block):
    os.posix_fallocate(block._fd, 0, 100)
    fcntl.flock(block._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.lockf(block._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    block.buf[0] = 9
    with mmap.mmap(block._fd, 100, prot=mmap.PROT_READ) as second:
        assert second[0] == 9
    assert stat.S_ISREG(os.fstat(block._fd).st_mode)


def test_fd_that_the_program_took_over_is_not_closed(both, block):
    fd = block._fd
    block._fd = -1
    block.close()
    assert os.fstat(fd).st_size == 100
    os.close(fd)


def test_close_spares_a_descriptor_that_is_another_file_by_now(shm):
    fd = shm.fileno()
    os.close(fd)
    stranger = os.open(os.devnull, os.O_RDONLY)
    assert stranger == fd
    shm.close()
    os.fstat(stranger)
    os.close(stranger)


# --- what a failure says beside the stdlib's words


@pytest.mark.parametrize(
    ("arguments", "kind", "note"),
    [
        ({"size": 10}, FileNotFoundError, "create=True creates it"),
        (
            {"create": True, "size": sys.maxsize},
            OSError,
            f"with {sys.maxsize} bytes is more than this process can map",
        ),
        (
            {"create": True, "size": sys.maxsize + 1},
            OverflowError,
            f"size={sys.maxsize + 1}, for .*: at most ",
        ),
    ],
)
@pytest.mark.usefixtures("gigabyte")
def test_failure_has_a_way_out_beside_the_words(name, arguments, kind, note):
    stdlib = import_module("multiprocessing.shared_memory")
    with pytest.raises(kind) as caught:
        SharedMemory(name, **arguments)
    mine = caught.value
    assert re.search(note, "\n".join(mine.__notes__))
    assert name in f"{mine} {mine.__notes__}" or kind is FileNotFoundError
    if arguments.get("size") != sys.maxsize:  # which leaves a segment behind
        with pytest.raises(kind) as caught:
            stdlib.SharedMemory(name, **arguments)
        assert str(mine) == str(caught.value).replace("ssize_t", "long")
        assert type(mine) is type(caught.value)
        (DEV_SHM / name).unlink(missing_ok=True)


def test_failure_of_an_attach_has_a_way_out(name):
    path = DEV_SHM / name
    path.touch(0o400)
    with pytest.raises(ValueError, match="empty file") as caught:
        SharedMemory(name)
    assert "timeout= waits" in caught.value.__notes__[0]
    assert name in caught.value.__notes__[0]


def test_failure_that_says_all_has_no_note(both, block, name):
    failures = [
        lambda: both.SharedMemory(name),
        lambda: both.SharedMemory(block.name, create=True, size=10),
        lambda: both.SharedMemory(create=True),
    ]
    for fail in failures:
        with pytest.raises((OSError, ValueError)) as caught:
            fail()
        assert not hasattr(caught.value, "__notes__")


# --- the object as a buffer


def test_buffer_is_the_mapping(shm):
    view = memoryview(shm)
    assert view.obj is shm._mmap
    assert (view.format, view.nbytes, view.readonly) == ("B", 100, False)
    assert bytes(shm) == bytes(100)


def test_buffer_is_what_consumers_write_into(shm):
    struct.pack_into("<i", shm, 4, -2)
    assert struct.unpack_from("<i", shm, 4) == (-2,)
    assert io.BytesIO(b"read").readinto(shm) == 4
    assert bytes(shm.buf[:4]) == b"read"
    left, right = socket.socketpair()
    with left, right:
        left.send(b"sent")
        assert right.recv_into(shm) == 4
    assert bytes(shm.buf[:8]) == b"sent\xfe\xff\xff\xff"
    np.frombuffer(shm, np.uint8)[0] = 0
    assert shm.buf[0] == 0


def test_buffer_after_close_is_value_error(shm):
    shm.close()
    with pytest.raises(ValueError, match="it has no buffer"):
        memoryview(shm)
    with pytest.raises((ValueError, TypeError)):
        bytes(shm)


def test_mmap_has_the_file_api(block):
    block.buf[:12] = b"one\ntwo\nlast"
    file = block._mmap
    assert (file.size(), len(file), file.tell()) == (100, 100, 0)
    assert (file.readline(), file.readline()) == (b"one\n", b"two\n")
    assert file.tell() == 8
    assert file.read(4) == b"last"
    file.seek(-2, os.SEEK_END)
    assert file.read() == b"\0\0"
    assert file.read(5) == file.read() == file.readline() == b""
    file.seek(-90, os.SEEK_CUR)
    assert file.tell() == 10
    file.seek(0)
    assert file.write(b"ONE") == 3
    assert bytes(block.buf[:4]) == b"ONE\n"
    assert file.flush() is None
    assert file.flush(0, 100) is None
    assert file.madvise(mmap.MADV_WILLNEED) is None
    assert file.madvise(mmap.MADV_WILLNEED, 0, 10) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda file: file.seek(-1), "seek out of range"),
        (lambda file: file.seek(101), "seek out of range"),
        (lambda file: file.seek(1, os.SEEK_END), "seek out of range"),
        (lambda file: file.seek(0, 9), "unknown seek type"),
        (lambda file: file.write(bytes(101)), "data out of range"),
        (lambda file: file.flush(0, 101), "flush values out of range"),
        (lambda file: file.madvise(0, -1), "madvise start out of bounds"),
        (lambda file: file.madvise(0, 100), "madvise start out of bounds"),
        (lambda file: file.madvise(0, 0, -1), "madvise length invalid"),
    ],
)
def test_mmap_refuses_what_lies_outside(block, call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call(block._mmap)
    assert block._mmap.tell() == 0


def test_mmap_that_is_closed(both):
    block = both.SharedMemory(create=True, size=10)
    file = block._mmap
    assert file.closed is False
    block.unlink()
    block.buf.release()
    file.close()
    file.close()
    assert file.closed is True
    for call in [file.size, file.tell, file.read, file.readline]:
        with raises(ValueError, "mmap closed or invalid"):
            call()
    block.close()


def test_mmap_madvise_remove_gives_pages_back(name):
    shm = SharedMemory(name, create=True, size=1 << 16)
    shm.buf[0] = 1
    shm._mmap.madvise(mmap.MADV_REMOVE, 0, 1 << 16)
    assert (DEV_SHM / name).stat().st_blocks == 0
    assert shm.buf[0] == 0
    discard(shm)


# --- copies and pickles, in one process


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_attaches_by_name(both, block, protocol):
    again = pickle.loads(pickle.dumps(block, protocol))
    assert type(again) is both.SharedMemory
    assert (again.name, again.size) == (block.name, 100)
    again.buf[0] = 5
    assert block.buf[0] == 5
    again.close()


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_copy_attaches_by_name(block, copier):
    again = copier(block)
    assert again.name == block.name
    again.buf[0] = 5
    assert block.buf[0] == 5
    again.close()


def test_pickle_after_unlink_is_file_not_found(block):
    block.close()
    data = pickle.dumps(block)
    again = pickle.loads(data)
    again.close()
    block.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


def test_reduce_is_the_stdlibs(both, block):
    assert block.__reduce__() == (
        both.SharedMemory,
        (block.name, False, 100),
    )


@pytest.mark.parametrize("track", [None, False, True])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_track(name, track, protocol):
    target = "multiprocessing.resource_tracker"
    with (
        mock.patch(f"{target}.register"),
        mock.patch(f"{target}.unregister"),
    ):
        shm = SharedMemory(name, create=True, size=1, track=track)
        again = pickle.loads(pickle.dumps(shm, protocol))
        assert again._track is track
        again.close()
        discard(shm)


# --- audit events


def audited(code, *args):
    return python(
        "import os, sys, traceback\n"
        "from shmemext import SharedMemory\n"
        "def hook(event, args):\n"
        "    if event.startswith('shmemext.'):\n"
        "        on_event(event, *args)\n"
        "sys.addaudithook(hook)\n" + code,
        *args,
    ).stdout.splitlines()


def test_audit_events_have_name_and_size(name):
    events = audited(
        """
on_event = print
name = sys.argv[1]
shm = SharedMemory("/" + name, create=True, size=100, track=False)
SharedMemory(name, size=5).close()
shm.close()
shm.unlink()
""",
        name,
    )
    assert events == [
        f"shmemext.create {name} 100",
        f"shmemext.attach {name} 100",
        f"shmemext.unlink {name} 100",
    ]


def test_audit_hook_that_raises_vetoes(name):
    lines = audited(
        """
import re
name, is_segment = sys.argv[1], re.compile(sys.argv[2])
vetoed = None
def mappings():
    with open("/proc/self/maps") as maps:
        text = maps.read()
    return len([1 for line in text.splitlines() if is_segment.search(line)])
others = mappings()
def on_event(event, *args):
    if event == vetoed:
        raise RuntimeError(event)
def attempt(event, call):
    global vetoed
    vetoed = "shmemext." + event
    before = os.listdir("/proc/self/fd")
    try:
        call()
    except RuntimeError as error:
        mapped = mappings() - others
        same = os.listdir("/proc/self/fd") == before
        print(error, os.path.exists("/dev/shm/" + name), mapped, same)
    vetoed = None
attempt("create", lambda: SharedMemory(name, create=True, size=100))
shm = SharedMemory(name, create=True, size=100, track=False)
attempt("attach", lambda: SharedMemory(name))
attempt("unlink", shm.unlink)
shm.unlink()
""",
        name,
        SEGMENT,
    )
    assert lines == [
        "shmemext.create False 0 True",
        "shmemext.attach True 1 True",
        "shmemext.unlink True 1 True",
    ]


# --- the module


def test_module_has_the_stdlibs_private_names(both):
    stdlib = import_module("multiprocessing.shared_memory")
    for name in [
        "_O_CREX",
        "_SHM_SAFE_NAME_LENGTH",
        "_SHM_NAME_PREFIX",
        "_USE_POSIX",
        "_encoding",
        "partial",
        "mmap",
        "os",
        "errno",
        "struct",
        "secrets",
        "types",
        "_posixshmem",
        "resource_tracker",
        "__all__",
    ]:
        assert getattr(both, name) == getattr(stdlib, name), name
    assert re.fullmatch("/psm_[0-9a-f]{8}", both._make_filename())
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = both.nothing


def test_module_star_import(both):
    names = {}
    exec(f"from {both.__name__} import *", names)
    assert names["SharedMemory"] is both.SharedMemory
    assert names["ShareableList"] is both.ShareableList


def test_make_filename_follows_prefix_and_length(both, monkeypatch):
    monkeypatch.setattr(both, "_SHM_NAME_PREFIX", "/x_")
    assert re.fullmatch("/x_[0-9a-f]{10}", both._make_filename())
    monkeypatch.setattr(both, "_SHM_SAFE_NAME_LENGTH", 8)
    assert re.fullmatch("/x_[0-9a-f]{4}", both._make_filename())
    monkeypatch.setattr(both, "_SHM_SAFE_NAME_LENGTH", 6)
    with raises(AssertionError, "_SHM_NAME_PREFIX too long"):
        both._make_filename()


def test_package_and_module_share_the_type():
    module = import_module(MODULE)
    assert shmemext.SharedMemory is module.SharedMemory
    assert shmemext.ShareableList is module.ShareableList
    assert set(shmemext.__all__) > {"ShareableList", "SharedMemory"}
    assert SharedMemory.__module__ == MODULE
    assert SharedMemory.__qualname__ == "SharedMemory"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = shmemext.nothing
