# SPDX-License-Identifier: MIT
"""What is pickled of an array in shared memory: where it lies."""

import gc
import pickle

import pytest
from arrays import bytes_of, np
from conftest import python
from hypothesis import given, settings
from hypothesis import strategies as st

if not np:
    pytest.skip("there is no numpy", allow_module_level=True)

from shmemext import (
    SharedMemory,
    _array_words,
    _hooks,
    _pickles,
    _pools,
    arrays,
)

quick = settings(max_examples=150, deadline=None)
# Bytes: a message, and each array that is one more in it.
MESSAGE, EACH = 200, 100


@pytest.fixture(autouse=True, scope="module")
def hooks():
    """As whoever makes an array begins them; they end with these tests."""
    _hooks.begin(_hooks.ARRAYS)
    yield
    _hooks.end(_hooks.ARRAYS)
    _pickles.Sending.shares = False


def sent(obj):
    """What multiprocessing would send to a child."""
    return bytes(_pickles.message(obj))


def passed(obj):
    return pickle.loads(sent(obj))


def start_of(array):
    return array.__array_interface__["data"][0]


def same_memory(array, other):
    """Not as np.shares_memory() has it: where no item follows the other."""
    return start_of(array) == start_of(other) and (
        array.strides == other.strides
        or array.flags.c_contiguous == other.flags.c_contiguous
    )


def is_same(array, other):
    """The very same items, seen in the same way."""
    assert type(other) is np.ndarray
    assert array.shape == other.shape and array.dtype == other.dtype
    assert array.dtype.metadata == other.dtype.metadata
    assert array.flags.writeable == other.flags.writeable
    assert same_memory(array, other)
    assert bytes_of(array) == bytes_of(other)


# --- any view of one


@st.composite
def views(draw, base):
    """Slices, transposes, fields, other dtypes, one on top of the other."""
    array = base
    for _ in range(draw(st.integers(0, 4))):
        step = draw(
            st.sampled_from(
                [
                    "slice",
                    "transpose",
                    "field",
                    "other",
                    "new",
                    "broadcast",
                    "readonly",
                ]
            )
        )
        if step == "slice" and array.ndim:
            array = array[
                tuple(
                    slice(
                        draw(st.integers(0, length)),
                        None,
                        draw(st.sampled_from([1, 2, 3])),
                    )
                    if draw(st.booleans())
                    else slice(None, None, draw(st.sampled_from([1, -1, -2])))
                    for length in array.shape
                )
            ]
        elif step == "transpose":
            array = array.transpose(draw(st.permutations(range(array.ndim))))
        elif step == "field" and array.dtype.names:
            array = array[draw(st.sampled_from(array.dtype.names))]
        elif step == "other" and array.dtype == "f8":
            array = array.view(draw(st.sampled_from(["M8[ns]", ">i8", "V8"])))
        elif step == "new":
            array = array[..., None]
        elif step == "broadcast":
            array = np.broadcast_to(array, (2, *array.shape))
        elif step == "readonly":
            array = array[...]
            array.flags.writeable = False
    return array


def base_of(shape, dtype, order, maker=arrays.zeros):
    array = maker(shape, dtype, order)
    flat = array.ravel("K").view("u1") if array.size else array
    if array.size:
        copied = np.arange(flat.size, dtype="u1")
        bytes_in_place(array)[:] = copied
    return array


def bytes_in_place(array):
    """What it lies in, which is C- or F-contiguous."""
    return np.ndarray(array.nbytes, "u1", array.base)


bases = st.builds(
    base_of,
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.sampled_from(
        [
            "f8",
            "<i2",
            ">u4",
            "c16",
            "S3",
            [("x", "f4"), ("in", [("y", "i2"), ("z", "M8[s]")])],
            {"names": ["a"], "formats": ["f8"], "offsets": [8]},
        ]
    ),
    st.sampled_from("CF"),
)


@quick
@given(data=st.data())
def test_any_view_is_the_same_memory(data):
    base = data.draw(bases)
    array = data.draw(views(base))
    if array.size == 0:  # there is nothing to share
        there = passed(array)
        assert there.shape == array.shape and there.dtype == array.dtype
        return
    assert _array_words.is_shared(array)
    is_same(array, passed(array))
    assert len(sent_and_taken_back(array)) < MESSAGE + 250


def sent_and_taken_back(obj):
    message = _pickles.message(obj)
    data = bytes(message)
    _pickles.take_back(message)
    return data


@quick
@given(data=st.data())
def test_any_view_is_the_same_as_by_a_plain_pickle(data):
    """But for the memory: also in band, where there is no reference to be
    had, and by whoever pickles without us."""
    array = data.draw(views(data.draw(bases)))
    reduced = _array_words.reduce_array(array)
    if reduced is None:
        assert array.size == 0
        return
    words = pickle.loads(pickle.dumps(_Reduced(reduced), 5))
    plain = pickle.loads(pickle.dumps(array, 5))
    assert words.dtype == array.dtype  # numpy turns the bytes of some round
    for copied in words, plain.astype(array.dtype):
        assert copied.shape == array.shape
        assert bytes_of(copied) == bytes_of(array)
        assert not np.shares_memory(copied, array)


class _Reduced:
    def __init__(self, reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def test_what_is_written_on_one_side_is_read_on_the_other():
    array = arrays.zeros((3, 4))
    there = passed(array.T[::-1])
    there[0, 2] = 5
    assert array[2, 3] == 5
    array[0, 0] = 6
    assert there[3, 0] == 6


def test_memory_lives_as_long_as_anybody_has_it():
    gc.collect()
    before = _pools.stats()["held"]
    array = arrays.zeros(1000)
    message = sent(array[10:20])
    del array
    assert _pools.stats()["in_flight"] == 1
    there = pickle.loads(message)
    there[:] = 3
    gc.collect()
    fresh = arrays.zeros(1000)
    assert there.tolist() == [3] * 10 and not np.shares_memory(there, fresh)
    del there, fresh
    stats = _pools.stats()
    assert stats["held"] == before and stats["in_flight"] == 0


def test_message_is_read_once():
    message = sent(arrays.zeros(10))
    pickle.loads(message)
    with pytest.raises(LookupError, match="received before"):
        pickle.loads(message)


# --- others in the same message


def test_array_that_is_there_twice_is_one():
    array = arrays.zeros(10)
    first, second = passed([array, array])
    assert first is second


def test_views_of_one_array_are_views_of_one():
    array = arrays.zeros(10)
    first, second = passed([array[:5], array[3:]])
    first[4] = 8
    assert second[1] == 8 and array[4] == 8


def test_ordinary_arrays_beside_it_are_copied():
    class_of = {"shared": arrays.ones(5), "own": np.ones(5)}
    there = passed(class_of)
    there["shared"][0] = there["own"][0] = 4
    assert class_of["shared"][0] == 4 and class_of["own"][0] == 1


def test_ordinary_arrays_are_pickled_as_ever():
    for array in (
        np.arange(5),
        np.arange(12).reshape(3, 4)[::2].T,
        np.array([None, "a"]),
        np.float64(3),
        np.ma.masked_array([1, 2], [True, False]),
        np.frombuffer(bytearray(80)),
        np.broadcast_to(np.zeros(1), (5,)),
    ):
        assert sent(array) == pickle.dumps(array, 5)


@pytest.mark.filterwarnings("ignore:.*matrix:PendingDeprecationWarning")
def test_subclasses_are_pickled_as_ever():
    array = arrays.zeros(5, [("x", "f8")])
    for kind in np.recarray, np.matrix:
        part = (array if kind is np.recarray else array["x"]).view(kind)
        there = passed(part)
        assert type(there) is kind
        assert there.tolist() == part.tolist()
        assert not np.shares_memory(there, array)
    masked = np.ma.masked_array(array["x"], [True, False] * 2 + [True])
    there = passed(masked)
    assert there.mask.tolist() == masked.mask.tolist()
    assert not np.shares_memory(there.data, array)


def test_strides_that_lead_out_of_it_are_pickled_as_ever():
    """Nobody knows whose that memory is."""
    size = 4096 // 8
    array = arrays.zeros(size)
    out = np.lib.stride_tricks.as_strided(array, (2,), (1 << 40,))
    assert _array_words.reduce_array(out) is None


def test_dtypes_arrive_whole():
    metadata = np.dtype("f8", metadata={"unit": "m"})
    titled = np.dtype([(("title", "x"), "f4")])
    aligned = np.dtype([("x", "u1"), ("y", "f8")], align=True)
    for dtype in (
        metadata,
        titled,
        aligned,
        np.dtype("U3"),
        np.dtype(">M8[us]"),
    ):
        array = arrays.zeros(3, dtype)
        there = passed(array).dtype
        assert there == dtype and there.metadata == dtype.metadata
        assert there.fields == dtype.fields
        assert there.isalignedstruct == dtype.isalignedstruct


def test_any_memory_of_a_pool_is_shared_whatever_made_the_array():
    """Its base may be anything that keeps it: here another package's."""

    class Kept:
        def __init__(self, array):
            self.array = array
            self.__array_interface__ = array.__array_interface__

    array = arrays.zeros(10)
    other = np.asarray(Kept(array))[::2]
    there = passed(other)
    there[1] = 5
    assert array[2] == 5
    assert np.shares_memory(passed(np.frombuffer(memoryview(array))), array)


# --- how large


def test_message_is_small_however_large_the_array():
    large = arrays.empty((100, 1000, 100))
    structured = arrays.empty(10_000, [("x", "f4"), ("y", "i8")])
    for array in (
        large,
        large[::2, 5:-5:3, ::-1],
        large.T,
        large[5, 5, 5:6],
        structured["y"],
        np.broadcast_to(large[0], (1000, 1000, 100)),
    ):
        assert len(sent_and_taken_back(array)) <= MESSAGE
    assert len(sent_and_taken_back(structured)) <= MESSAGE + 100


def test_each_array_more_takes_few_bytes():
    parts = np.array_split(arrays.empty((1000, 1000)), 101)
    size = len(sent_and_taken_back(parts))
    assert size <= MESSAGE + 100 * EACH
    several = [arrays.empty((50, 50)) for _ in range(101)]
    assert len(sent_and_taken_back(several)) <= MESSAGE + 100 * EACH


def test_array_by_name_takes_few_bytes(name):
    made = arrays.create(name, (1000, 1000))
    assert len(sent(made)) <= MESSAGE + len(name)
    assert len(sent([made[i] for i in range(101)])) <= (
        MESSAGE + len(name) + 100 * EACH
    )
    arrays.unlink(name)


# --- by name


@quick
@given(data=st.data())
def test_any_view_of_an_array_by_name_is_the_same_memory(data):
    name = f"shmemext-test-view-{id(data):x}"
    arrays.unlink(name, missing_ok=True)

    def maker(*arguments):
        return arrays.create(name, *arguments)

    try:
        base = maker((3, 4), [("x", "f8"), ("y", "i2")], "F")
        base["x"] = np.arange(12).reshape(3, 4)
        array = data.draw(views(base))
        there = passed(array)
        assert there.shape == array.shape and there.dtype == array.dtype
        assert there.flags.writeable == array.flags.writeable
        assert bytes_of(there) == bytes_of(array)
        base["x"] += 1
        base["y"] -= 1
        assert bytes_of(there) == bytes_of(array)
    finally:
        arrays.unlink(name, missing_ok=True)


def test_what_was_opened_for_reading_stays_so(name):
    made = arrays.create(name, 10)
    there = passed(arrays.open(name, readonly=True)[2:])
    made[2] = 4
    assert there[0] == 4 and not there.flags.writeable
    with pytest.raises(ValueError):
        there.flags.writeable = True
    part = made[:3]
    part.flags.writeable = False
    assert not passed(part).flags.writeable
    arrays.unlink(name)


def test_view_that_arrived_travels_on_by_name(name):
    made = arrays.create(name, 10)
    there = passed(passed(made[::2])[1:])
    there[0] = 3
    assert made[2] == 3
    arrays.unlink(name)


def test_name_that_is_gone_is_not_found(name):
    message = sent(arrays.create(name, 10))
    arrays.unlink(name)
    with pytest.raises(FileNotFoundError):
        pickle.loads(message)


def test_name_that_is_another_array_s_by_now_is_not_taken_for_it(name):
    message = sent(arrays.create(name, 10))
    arrays.unlink(name)
    other = arrays.create(name, 10)
    other[:] = 1
    with pytest.raises(FileNotFoundError, match="there is another segment"):
        pickle.loads(message)
    arrays.unlink(name)


def test_arrays_over_other_segments_are_pickled_as_ever(name):
    """A program that made one itself has always got a copy."""
    with SharedMemory(name, create=True, size=800) as memory:
        for array in (
            np.ndarray(100, "f8", memory),
            np.frombuffer(memory.buf, "f8"),
            memory.ndarray(100),
        ):
            assert sent(array) == pickle.dumps(array, 5)
            there = passed(array)
            array[0] += 1
            assert there[0] == array[0] - 1
        memory.unlink()


# --- what fails


class Bad:
    def __reduce__(self):
        raise RuntimeError("not this one")


def test_pickling_that_fails_leaves_nothing_in_flight():
    array = arrays.zeros(10)
    with pytest.raises(RuntimeError):
        sent([array, array[1:], Bad()])
    assert _pools.stats()["in_flight"] == 0
    assert passed(array).tolist() == [0] * 10


def test_without_reference_it_is_a_copy(monkeypatch):
    array = arrays.zeros((3, 4))
    array[1, 2] = 6
    monkeypatch.setattr(_pools, "refer", lambda *_, **__: None)
    there = passed(array.T[1:, ::-1])
    assert there.tolist() == array.T[1:, ::-1].tolist()
    there[:] = 1
    assert array.sum() == 6


@pytest.mark.parametrize(
    "words",
    [
        ("<f8", (11,)),
        ("<f8", (10,), (16,)),
        ("<f8", (10,), (8,), 8),
        ("<f8", (10,), (8,), -8),
        ("<f8", (10,), (-8,)),
        ("<f8", (1 << 40, 1 << 40)),
    ],
)
def test_words_of_another_size_are_refused(words):
    """Whoever makes them up reads nothing beyond the bytes that there are."""
    with pytest.raises((TypeError, ValueError)):
        _array_words.rebuild_array(bytearray(80), *words)


# --- when it begins


def test_hooks_begin_with_the_import(name):
    """Where arrays arrive, with the first of them."""
    arrays.create(name, 3)
    for begin in (
        "from shmemext import arrays",
        "pickle.loads(bytes.fromhex(sys.argv[1]))",
        "pickle.loads(bytes.fromhex(sys.argv[2]))",
    ):
        python(
            f"""
import pickle, sys
from multiprocessing import queues
before = queues._ForkingPickler
from shmemext import AnonymousMemory
AnonymousMemory(800).ndarray(100)
assert queues._ForkingPickler is before
{begin}
assert queues._ForkingPickler is not before
import numpy
""",
            sent(arrays.zeros(10)).hex() if "[1]" in begin else "",
            sent(arrays.open(name)).hex(),
        )
    arrays.unlink(name)
