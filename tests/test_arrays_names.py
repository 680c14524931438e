# SPDX-License-Identifier: MIT
"""Arrays by name: arrays.create(), open() and unlink()."""

import gc
import inspect
import os
import stat
import threading
import time

import kinds
import pytest
from arrays import np
from conftest import DEV_SHM, descriptors, mappings, python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_full import on_tmpfs as on_tmpfs

from shmemext import SharedMemory

if not np:
    pytest.skip("there is no numpy", allow_module_level=True)

from shmemext import arrays

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
METHODS = kinds.METHODS


def test_open_finds_what_was_created(name):
    made = arrays.create(name, (3, 4), "i4")
    assert type(made) is np.ndarray and made.flags.writeable
    assert made.shape == (3, 4) and made.dtype == np.int32 and not made.any()
    made[1, 2] = 7
    found = arrays.open(name)
    assert type(found) is np.ndarray and found.flags.writeable
    assert found.shape == (3, 4) and found.dtype == np.int32
    assert found[1, 2] == 7
    found[0, 0] = 5
    assert made[0, 0] == 5
    arrays.unlink(name)


def test_array_is_of_float64_unless_another_is_asked_for(name):
    assert arrays.create(name, 3).dtype == np.float64
    arrays.unlink(name)


DTYPES = [
    "u1",
    "<f8",
    ">i4",
    "c16",
    "f2",
    "?",
    "M8[ns]",
    "m8[25s]",
    "S3",
    "S",
    "U2",
    "V5",
    "2i2",
    [("x", "f4"), ("at", "M8[s]"), ("pair", "i2", 2)],
    [("outer", [("é", "f4"), ("日", "u1")]), ("title", "i8")],
    {"names": ["a"], "formats": ["f4"], "offsets": [8], "itemsize": 20},
]


def bytes_of(array):
    """As they lie there, what is between fields included."""
    return (array if array.flags.c_contiguous else array.T).tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), 0, 5, (2, 3), (4, 0, 2), (2, 3, 4)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_shape_and_order_are_numpy_s(name, dtype, shape, order):
    like = np.zeros(shape, dtype, order)
    made = arrays.create(name, shape, dtype, order)
    found = arrays.open(name)
    for array in made, found:
        assert array.shape == like.shape and array.dtype == like.dtype
        assert array.size == 0 or array.strides == like.strides
        assert bytes_of(array) == bytes_of(like)
    assert made.ctypes.data % 64 == 0 or made.size == 0
    arrays.unlink(name)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numpy_reads_the_segment(name, dtype, order):
    made = arrays.create(name, (2, 3), dtype, order)
    flat = (made if order == "C" else made.T).view("u1")
    flat[...] = np.arange(flat.size).reshape(flat.shape) % 2
    loaded = np.load(DEV_SHM / name)
    assert loaded.dtype == made.dtype and loaded.shape == made.shape
    assert bytes_of(loaded) == bytes_of(made)
    arrays.unlink(name)


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_wrote_is_opened(name, order):
    saved = np.array([[1, 2, 3], [4, 5, 6]], "i2", order=order)
    with (DEV_SHM / name).open("wb") as file:
        np.save(file, saved)
    found = arrays.open(name)
    assert found.strides == saved.strides and (found == saved).all()
    found[0, 0] = 9
    assert np.load(DEV_SHM / name)[0, 0] == 9
    arrays.unlink(name)


def test_names_are_shared_memory_s(name):
    arrays.create(f"/{name}", 3)
    assert arrays.open(name).shape == arrays.open(f"/{name}").shape == (3,)
    with pytest.raises(FileExistsError):
        arrays.create(name, 3)
    arrays.unlink(f"/{name}")
    for none in None, 5, b"bytes":
        for call in (
            lambda none=none: arrays.create(none, 3),
            lambda none=none: arrays.open(none),
            lambda none=none: arrays.unlink(none),
        ):
            with pytest.raises(TypeError, match="a name is a str"):
                call()


def test_name_that_is_not_there(name):
    with pytest.raises(FileNotFoundError):
        arrays.open(name)
    with pytest.raises(FileNotFoundError):
        arrays.open(name, timeout=0.01)
    with pytest.raises(FileNotFoundError):
        arrays.unlink(name)
    arrays.unlink(name, missing_ok=True)


def test_open_waits_for_it(name):
    found = []
    opener = threading.Thread(
        target=lambda: found.append(arrays.open(name, timeout=kinds.PATIENCE))
    )
    opener.start()
    time.sleep(0.05)
    made = arrays.create(name, 3)
    opener.join()
    made[:] = 4
    assert found[0].tolist() == [4] * 3
    arrays.unlink(name)


def test_readonly_array_stays_readonly(name):
    made = arrays.create(name, 3, mode=0o400)
    assert stat.S_IMODE((DEV_SHM / name).stat().st_mode) == 0o400
    found = arrays.open(name, readonly=True)
    made[1] = 6
    assert found.tolist() == [0, 6, 0]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        found.flags.writeable = True
    arrays.unlink(name)


# --- the one that is there


def test_exist_ok_creates_or_opens(name):
    first = arrays.create(name, (3, 4), "i2", exist_ok=True)
    first[0] = 8
    second = arrays.create(name, [3, 4], np.int16, exist_ok=True)
    assert second[0].tolist() == [8] * 4
    arrays.unlink(name)


def test_one_dimension_has_no_order(name):
    arrays.create(name, 5, order="F", exist_ok=True)
    arrays.create(name, 5, order="C", exist_ok=True)
    arrays.unlink(name)


@pytest.mark.parametrize(
    "arguments",
    [
        ((3, 5), "i2"),
        ((4, 3), "i2"),
        ((12,), "i2"),
        ((3, 4), "u2"),
        ((3, 4), ">i2"),
        ((3, 4), "i2", "F"),
        ((300, 400), "i2"),
        ((), "u1"),
    ],
)
def test_exist_ok_refuses_another_array(name, arguments):
    made = arrays.create(name, (3, 4), "i2")
    made[:] = 5
    with pytest.raises(ValueError) as raised:
        arrays.create(name, *arguments, exist_ok=True)
    words = str(raised.value)
    assert f"array {name!r} exists with shape=(3, 4), dtype='int16'" in words
    assert made.tolist() == [[5] * 4] * 3
    arrays.unlink(name)


@pytest.mark.parametrize("size", [1, 64, 1 << 16])
def test_exist_ok_refuses_a_segment_that_is_no_array(name, size):
    with SharedMemory(name, create=True, size=size) as memory:
        with pytest.raises(ValueError, match="no array in it"):
            arrays.create(name, 100, exist_ok=True)
        with pytest.raises(ValueError, match="no array in it"):
            arrays.open(name)
        assert bytes(memory.buf) == bytes(size)
        memory.unlink()


def create_and_count(name, connection):
    made = arrays.create(name, 1000, "i4", exist_ok=True)
    connection.send(made.base.created)
    connection.recv()
    connection.close()


@pytest.mark.parametrize("method", METHODS)
def test_of_several_one_creates(name, method):
    from multiprocessing import get_context

    context = get_context(method)
    pairs = [context.Pipe() for _ in range(4)]
    children = [
        context.Process(target=create_and_count, args=(name, theirs))
        for _, theirs in pairs
    ]
    for child in children:
        child.start()
    created = [ours.recv() for ours, _ in pairs]
    assert created.count(True) == 1
    for ours, _ in pairs:
        ours.send(None)
    for child in children:
        child.join(kinds.PATIENCE)
        assert child.exitcode == 0
    arrays.unlink(name)


# --- for how long


def test_array_keeps_its_memory(name):
    made = arrays.create(name, 10)
    part = made[2:4]
    del made
    gc.collect()
    part[:] = 3
    arrays.unlink(name)
    assert part.tolist() == [3, 3]


def test_memory_goes_with_the_last_view(name):
    made = arrays.create(name, 10)
    inode = (DEV_SHM / name).stat().st_ino
    part = made[::2].reshape(5, 1).T
    arrays.unlink(name)
    del made
    assert kinds.is_mapped(inode)
    del part
    assert not kinds.is_mapped(inode)


def test_name_of_its_users_goes_with_the_last_array(name):
    made = arrays.create(name, 10, lifetime="users")
    found = arrays.open(name)
    del made
    assert (DEV_SHM / name).exists()
    del found
    assert not (DEV_SHM / name).exists()


def test_no_descriptor_is_kept(name):
    before = descriptors()
    made = arrays.create(name, 10)
    found = arrays.open(name)
    assert descriptors() <= before
    arrays.unlink(name)
    assert made.shape == found.shape


def add_one(name):
    arrays.open(name)[:] += 1


@pytest.mark.parametrize("method", METHODS)
def test_processes_have_one_array(name, method):
    made = arrays.create(name, (3, 4))
    kinds.run(method, add_one, name)
    assert made.tolist() == [[1] * 4] * 3
    arrays.unlink(name)


def test_creator_that_is_killed_takes_the_name_along(name):
    python(
        """
import os, signal, sys
from shmemext import arrays
import numpy
made = arrays.create(sys.argv[1], 10)
if os.fork() == 0:
    os.kill(os.getppid(), signal.SIGKILL)
    os._exit(0)
signal.pause()
""",
        name,
        check=False,
    )
    kinds.wait_until(lambda: not (DEV_SHM / name).exists())


# --- what is refused leaves nothing


@pytest.mark.parametrize(
    "error, arguments, keywords",
    [
        (ValueError, (-1,), {}),
        (ValueError, ((2, -3),), {}),
        (TypeError, (2.5,), {}),
        (TypeError, ("ab",), {}),
        (TypeError, (3, "nonsense"), {}),
        (TypeError, (3, object), {}),
        (TypeError, (3, [("x", "O")]), {}),
        (ValueError, (3, "f8", "K"), {}),
        (ValueError, (3, "f8", "X"), {}),
        (ValueError, (3,), {"mode": 0o77777}),
        (ValueError, (3,), {"lifetime": "ever"}),
        ((ValueError, OSError, OverflowError), (1 << 62,), {}),
        ((ValueError, OSError, OverflowError), ((1 << 40, 1 << 40),), {}),
        (ValueError, ([1] * 65,), {}),
        (TypeError, (3, [(f"field{n}", "f8") for n in range(1000)]), {}),
    ],
)
def test_what_cannot_be_made_leaves_no_name(name, error, arguments, keywords):
    before = descriptors()
    with pytest.raises(error):
        arrays.create(name, *arguments, **keywords)
    assert not (DEV_SHM / name).exists()
    assert not any(name in line for line in mappings())
    assert descriptors() <= before


def test_dtype_that_a_header_has_no_words_for(name):
    """Its fields lie on top of each other."""
    dtype = np.dtype(
        {"names": ["a", "b"], "formats": ["u4", "u2"], "offsets": [0, 0]}
    )
    with pytest.raises(TypeError, match="cannot be told to others"):
        arrays.create(name, 3, dtype)
    assert not (DEV_SHM / name).exists()


def test_failed_open_leaves_nothing(name):
    with SharedMemory(name, create=True, size=100) as memory:
        before = len(mappings())
        held = descriptors()
        for _ in range(3):
            with pytest.raises(ValueError):
                arrays.open(name)
        assert len(mappings()) == before and descriptors() <= held
        memory.unlink()


def test_full_file_system_is_an_error(on_tmpfs):
    on_tmpfs(
        "8m",
        """
        import numpy
        from shmemext import arrays
        before = names()
        try:
            arrays.create("large", 1 << 20)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError
        assert names() == before
        sparse = arrays.create("large", 1 << 20, reserve=False)
        sparse[0] = 1
        arrays.unlink("large")
        ordinary = arrays.zeros(1 << 20)
        assert type(ordinary) is numpy.ndarray and not ordinary.any()
        """,
    )


# --- what a header may be


def header(text, version=(1, 0), length=None):
    encoded = text.encode("latin1") if isinstance(text, str) else text
    wide = 2 if version == (1, 0) else 4
    length = len(encoded) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes(version)
        + length.to_bytes(wide, "little")
        + encoded
    )


def words(descr="'<f8'", order="False", shape="(3,)", more=""):
    return (
        f"{{'descr': {descr}, 'fortran_order': {order}, "
        f"'shape': {shape}, {more}}}\n"
    )


def segment(name, content, size=None):
    (DEV_SHM / name).write_bytes(content.ljust(size or 0, b"\0"))


def test_a_header_of_any_version_is_read(name):
    for version in (1, 0), (2, 0), (3, 0):
        segment(name, header(words(), version), 4096)
        assert arrays.open(name).shape == (3,)
        arrays.unlink(name)


HOSTILE = {
    "empty text": header(""),
    "no end": header(words(), length=60_000),
    "longer than all": header(words(), (2, 0), length=(1 << 32) - 1),
    "unknown version": header(words(), (9, 9)),
    "version 1.1": header(words(), (1, 1)),
    "no Python": header("{'descr': "),
    "binary": header(bytes(range(128, 256)), (3, 0)),
    "a call": header("__import__('os').abort()"),
    "a list": header("[1, 2, 3]"),
    "two words": header("{'descr': '<f8', 'shape': (3,)}"),
    "four words": header(words(more="'more': 1")),
    "keys of no str": header("{1: 2, 3: 4, 5: 6}"),
    "no order": header(words(order="'C'")),
    "order is a number": header(words(order="1")),
    "no shape": header(words(shape="3")),
    "shape of floats": header(words(shape="(3.0,)")),
    "shape of bools": header(words(shape="(True,)")),
    "negative": header(words(shape="(-1,)")),
    "negative twice": header(words(shape="(-1, -3)")),
    "too large": header(words(shape="(511,)")),
    "far too large": header(words(shape="(2305843009213693952, 8)")),
    "beyond words": header(words(shape=f"({1 << 200},)")),
    "nothing, far too large": header(words(shape=f"(0, {1 << 200})")),
    "many dimensions": header(words(shape="(" + "1," * 65 + ")")),
    "objects": header(words(descr="'|O'")),
    "objects in fields": header(words(descr="[('x', '|O')]")),
    "no dtype": header(words(descr="'nonsense'")),
    "dtype of numbers": header(words(descr="5")),
    "dtype is None": header(words(descr="None")),
    "dtype of sets": header(words(descr="{1, 2}")),
    "dtype of an empty tuple": header(words(descr="()")),
    "field of one": header(words(descr="[('x',)]")),
    "field twice": header(words(descr="[('x', 'f8'), ('x', 'f8')]")),
    "field of a number": header(words(descr="[(1, 'f8')]")),
    "subarray of negatives": header(words(descr="[('x', 'f8', (-1,))]")),
    "subarray too large": header(
        words(descr="[('x', 'f8', (99999, 99999, 99999))]")
    ),
    "items of 2 GB": header(words(descr="'S2147483647'")),
    "items beyond words": header(words(descr="'S99999999999999999999'")),
    "nested": header(words(descr="[" * 300 + "]" * 300)),
    "nested deep": header("(" * 9000),
    "nested in braces": header("{1:" * 3000),
    "signs": header("-" * 9000 + "1"),
    "sums": header("1+" * 4000 + "1"),
    "nots": header("not " * 2000 + "1"),
    "attributes": header("a" + ".a" * 4000),
    "calls": header("a" + "()" * 4000),
    "a long number": header(words(shape=f"({'9' * 5000},)")),
    "escapes": header("'" + "\\N{DIGIT ONE}" * 700 + "'"),
    "a bad escape": header(words(descr=r"'\d'")),
    "a NUL": header("{'descr': \0}"),
    "lone surrogates": header("'\\ud800'"),
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_header_is_a_value_error(name, content):
    segment(name, content, 4096)
    before = mappings()
    with pytest.raises(ValueError, match=f"array '{name}': "):
        arrays.open(name)
    with pytest.raises(ValueError):
        arrays.create(name, 3, exist_ok=True)
    assert mappings() == before
    arrays.unlink(name)


def test_segment_that_is_cut_short_is_refused(name):
    content = header(words())
    for size in range(1, len(content) + 24):
        segment(name, content.ljust(len(content) + 24, b"\1")[:size])
        with pytest.raises(ValueError):
            arrays.open(name)
    segment(name, content, len(content) + 24)
    assert arrays.open(name).shape == (3,)
    arrays.unlink(name)


@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_bytes_changed_at_random_are_an_array_or_refused(name, data):
    content = bytearray(header(words()).ljust(128, b"\0"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 90))
        content[at] = data.draw(
            st.integers(0, 255) | st.sampled_from(b"'(),[]")
        )
    segment(name, bytes(content))
    try:
        found = arrays.open(name)
    except ValueError:
        return
    assert found.nbytes <= 128
    found.tobytes()


def test_array_that_is_cut_short_reads_as_zeros(name):
    """As any segment does."""
    made = arrays.create(name, 4096 * 4, "u1")
    made[:] = 1
    os.truncate(DEV_SHM / name, 4096)
    with pytest.warns(RuntimeWarning, match="cut short"):
        assert made[-1] == 0
        kinds.wait_until(lambda: True)
    arrays.unlink(name)


# --- the call


def test_arguments_after_the_order_have_names(name):
    for call in (
        lambda: arrays.create(name, 3, "f8", "C", True),
        lambda: arrays.open(name, 5),
        lambda: arrays.create(name, 3, size=4),
    ):
        with pytest.raises(TypeError):
            call()
    parameters = inspect.signature(SharedMemory).parameters
    for call, foreign in (
        (arrays.create, {"shape", "dtype", "order"}),
        (arrays.open, set()),
    ):
        for key, parameter in inspect.signature(call).parameters.items():
            if key not in foreign | {"name"}:
                assert parameters[key].default == parameter.default, key
                assert parameters[key].kind == parameter.kind, key
