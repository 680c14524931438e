# SPDX-License-Identifier: MIT
"""shmemext.arrays makes what numpy makes, in shared memory."""

import gc
import inspect
import pickle

import pytest
from arrays import bytes_of, np
from conftest import descriptors, python
from hypothesis import given, settings
from hypothesis import strategies as st

if not np:
    pytest.skip("there is no numpy", allow_module_level=True)

from shmemext import _array_words, _pools, arrays

MAKERS = [
    "arange",
    "array",
    "asarray",
    "copy",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]
quick = settings(max_examples=60, deadline=None)

DTYPES = [
    "u1",
    "<f8",
    ">i4",
    "c16",
    "f2",
    "g",
    "?",
    "M8[ns]",
    "m8[25s]",
    "S3",
    "U2",
    "V5",
    "2i2",
    [("x", "f4"), ("pair", "i2", 2)],
    {"names": ["a"], "formats": ["f4"], "offsets": [8], "itemsize": 20},
]
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
orders = st.sampled_from("CF")


def is_shared(array):
    return array.size == 0 or _array_words.is_shared(array)


def same(made, expected, values=True):
    """A plain array in shared memory, that is numpy's but for that."""
    assert type(made) is np.ndarray and is_shared(made)
    assert made.shape == expected.shape and made.dtype == expected.dtype
    assert made.flags.writeable and made.flags.aligned
    if made.size:
        assert steps(made) == steps(expected)
    if values:
        assert bytes_of(made) == bytes_of(expected)


def steps(array):
    """From one item to the next, where there are several."""
    pairs = zip(array.shape, array.strides, strict=True)
    return [stride for length, stride in pairs if length > 1]


# --- by their arguments


@pytest.mark.parametrize("maker", MAKERS)
def test_signature_is_numpy_s(maker):
    try:
        theirs = inspect.signature(getattr(np, maker))
    except ValueError:
        assert np.__version__ < "2.4"  # whose C functions have none
        return
    ours = inspect.signature(getattr(arrays, maker)).parameters
    # A newer numpy's are there before it is.
    assert list(theirs.parameters) == [
        key for key in ours if key in theirs.parameters
    ]
    assert ours.keys() - theirs.parameters.keys() <= {
        "device",
        "ndmax",
        "copy",
    }
    for key, parameter in theirs.parameters.items():
        assert ours[key].kind == parameter.kind, key
        default = parameter.default
        if default in (float, "None"):  # as older ones have it
            default = None
        assert ours[key].default == default, key


def test_signatures_of_this_numpy_are_known():
    """The test above compares something, with a numpy of today."""
    if np.__version__ >= "2.4":
        for maker in MAKERS:
            inspect.signature(getattr(np, maker))


def test_all_is_documented():
    assert set(arrays.__all__) == {*MAKERS, "create", "open", "unlink"}
    for name in arrays.__all__:
        function = getattr(arrays, name)
        assert function.__module__ == "shmemext.arrays"
        assert function.__doc__
        assert pickle.loads(pickle.dumps(function)) is function


@quick
@given(shape=shapes, dtype=st.sampled_from(DTYPES), order=orders)
def test_empty_zeros_ones_and_full(shape, dtype, order):
    same(
        arrays.empty(shape, dtype, order), np.empty(shape, dtype, order), False
    )
    same(arrays.zeros(shape, dtype, order), np.zeros(shape, dtype, order))
    for maker in "ones", "full":
        value = () if maker == "ones" else (7,)
        try:
            expected = getattr(np, maker)(shape, *value, dtype, order)
        except (TypeError, ValueError):
            with pytest.raises((TypeError, ValueError)):
                getattr(arrays, maker)(shape, *value, dtype, order)
            continue
        same(getattr(arrays, maker)(shape, *value, dtype, order), expected)


def test_zeros_are_zeros_where_something_was():
    for _ in range(5):
        used = arrays.empty(100_000, "u1")
        used[:] = 255
        del used
        assert not arrays.zeros(100_000, "u1").any()
        assert not arrays.zeros(10_000, [("x", "f4"), ("y", "u1")])["y"].any()


def test_full_is_of_its_value_s_dtype():
    for value in 3, 2.5, True, 1j, "abc", np.float32(1), np.datetime64("2020"):
        same(arrays.full((2, 3), value), np.full((2, 3), value))
    same(arrays.full((2, 3), [1, 2, 3]), np.full((2, 3), [1, 2, 3]))
    with pytest.raises(ValueError, match="broadcast"):
        arrays.full((2, 3), [1, 2])


@st.composite
def sources(draw):
    """Arrays that lie in any way in their memory."""
    dtype = draw(st.sampled_from(["u1", "<f8", ">i4", "M8[s]", "S3"]))
    shape = draw(shapes)
    array = np.zeros(shape, dtype, draw(orders))
    array[...] = np.arange(array.size).reshape(shape).astype(dtype)
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    steps = [
        slice(None, None, draw(st.sampled_from([1, 1, 2, -1])))
        for _ in range(array.ndim)
    ]
    array = array[tuple(steps)]
    if array.ndim and draw(st.booleans()):
        array = np.broadcast_to(array, (2, *array.shape))
    return array


@quick
@given(
    source=sources(),
    order=st.sampled_from("KCF"),
    dtype=st.sampled_from([None, "f4", "S30", "i8"]),
)
def test_copies_lie_as_numpy_s(source, order, dtype):
    expected = np.array(source, dtype, order=order)
    same(arrays.array(source, dtype, order=order), expected)
    same(
        arrays.array(source, dtype, order=order, ndmin=3),
        np.array(source, dtype, order=order, ndmin=3),
    )
    same(arrays.asarray(source, dtype, order), expected)
    same(arrays.copy(source, order), np.copy(source, order))
    shared = arrays.array(source)
    again = arrays.array(shared)
    assert not np.shares_memory(shared, again)


def test_order_a_is_fortran_s_where_it_was():
    """And C's else, as numpy's manual has it."""
    for order, source in (
        ("F", np.ones((3, 4), order="F")),
        (
            "C",
            np.ones((3, 8))[:, ::2],
        ),
    ):
        expected = np.ones(source.shape, order=order)
        same(arrays.array(source, order="A"), expected)
        same(arrays.array(source, "f4", order="A"), expected.astype("f4"))


@quick
@given(
    source=sources(),
    order=st.sampled_from("KACF"),
    dtype=st.sampled_from([None, "f4", "M8[D]"]),
    shape=st.none() | shapes,
)
def test_likes_are_like_numpy_s(source, order, dtype, shape):
    for like in "empty_like", "zeros_like", "ones_like":
        try:
            expected = getattr(np, like)(source, dtype, order, True, shape)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error)):
                getattr(arrays, like)(source, dtype, order, True, shape)
            continue
        made = getattr(arrays, like)(source, dtype, order, True, shape)
        same(made, expected, like != "empty_like")
    if source.dtype.kind in "uif" and dtype != "M8[D]":
        same(
            arrays.full_like(source, 3, dtype, order, shape=shape),
            np.full_like(source, 3, dtype, order, shape=shape),
        )


@pytest.mark.parametrize(
    "thing", [5, 2.5, [1, 2], [[1.5], [2]], range(3), "abc", ["a", "bc"], b"x"]
)
def test_what_is_no_array_becomes_one(thing):
    for name in "array", "asarray", "copy", "empty_like", "zeros_like":
        made = getattr(arrays, name)(thing)
        same(made, getattr(np, name)(thing), name != "empty_like")


@pytest.mark.parametrize("dtype", ["S", "U", "V", "M8", "m8"])
def test_items_are_as_wide_as_they_need_to_be(dtype):
    for source in np.array([b"1", b"234"]), np.array([1, 23], "M8[D]"):
        try:
            expected = np.array(source, dtype)
        except (TypeError, ValueError, DeprecationWarning):
            continue
        same(arrays.array(source, dtype), expected)


def test_arange_and_linspace():
    for arguments in [(5,), (1, 5), (1, 9, 2), (1, 2, 0.1), (5, None)]:
        same(arrays.arange(*arguments), np.arange(*arguments))
    same(arrays.arange(3, dtype="f4"), np.arange(3, dtype="f4"))
    same(
        arrays.arange(np.datetime64("2020"), np.datetime64("2030")),
        np.arange(np.datetime64("2020"), np.datetime64("2030")),
    )
    for keywords in {}, {"num": 7}, {"endpoint": False}, {"dtype": "i2"}:
        same(arrays.linspace(0, 9, **keywords), np.linspace(0, 9, **keywords))
    same(
        arrays.linspace([0, 1], [9, 8], 4, axis=1),
        np.linspace([0, 1], [9, 8], 4, axis=1),
    )
    made, step = arrays.linspace(0, 9, 4, retstep=True)
    assert step == 3
    same(made, np.linspace(0, 9, 4))


def test_copies_are_plain_arrays_whatever_subok_says():
    matrix = np.ma.masked_array([[1, 2], [3, 4]], [[True, False]] * 2)
    for subok in False, True:
        same(arrays.array(matrix, subok=subok), matrix.data)
        same(arrays.copy(matrix, subok=subok), matrix.data)
        same(arrays.zeros_like(matrix, subok=subok), np.zeros((2, 2), int))


# --- no copy where none is needed


def test_shared_array_is_not_copied_where_none_is_asked_for():
    shared = arrays.zeros((3, 4))
    for view in (
        arrays.asarray(shared),
        arrays.asarray(shared, "f8"),
        arrays.asarray(shared[1:, ::-1]),
        arrays.asarray(shared.T, order="F"),
        arrays.array(shared, copy=None),
        arrays.array(shared, copy=False),
        arrays.array(shared, copy=None, ndmin=4),
        arrays.asarray(shared, copy=False),
    ):
        assert np.shares_memory(view, shared)
    assert arrays.asarray(shared) is shared
    for other in (
        arrays.asarray(shared, "f4"),
        arrays.asarray(shared, order="F"),
        arrays.asarray(shared, copy=True),
        arrays.array(shared),
        arrays.copy(shared),
    ):
        assert not np.shares_memory(other, shared) and is_shared(other)


@pytest.mark.parametrize(
    "arguments",
    [("f4",), (None, "F")],
)
def test_copy_that_is_not_allowed_is_an_error(arguments):
    shared = arrays.zeros((3, 4))
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        arrays.asarray(shared, *arguments, copy=False)
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        arrays.asarray(np.zeros(3), copy=False)


# --- what is refused


@pytest.mark.parametrize("shape", [-1, (2, -1), 2.5, "ab", None, [1] * 65])
def test_shape_is_refused_as_by_numpy(shape):
    for maker in "empty", "zeros", "ones":
        with pytest.raises((TypeError, ValueError)):
            getattr(np, maker)(shape)
        with pytest.raises((TypeError, ValueError)):
            getattr(arrays, maker)(shape)


def test_arrays_of_objects_are_refused():
    pointers = ["O", [("x", "O")]]
    if hasattr(np.dtypes, "StringDType"):
        pointers.append(np.dtypes.StringDType())
    for dtype in pointers:
        for call in (
            lambda dtype=dtype: arrays.empty(2, dtype),
            lambda dtype=dtype: arrays.zeros(2, dtype),
            lambda dtype=dtype: arrays.array(["a"], dtype),
            lambda dtype=dtype: arrays.empty_like([1], dtype),
            lambda dtype=dtype: arrays.empty_like(np.empty(2, dtype)),
            lambda dtype=dtype: arrays.asarray(np.empty(2, dtype)),
        ):
            with pytest.raises(TypeError, match="mean nothing in another one"):
                call()
    for call in (
        lambda: arrays.array([object()]),
        lambda: arrays.full(2, None),
        lambda: arrays.full_like(np.array([None]), 3),
    ):
        with pytest.raises(TypeError, match="mean nothing in another one"):
            call()


def test_other_orders_and_devices_are_refused():
    for maker in "empty", "zeros", "ones":
        make = getattr(arrays, maker)
        with pytest.raises(ValueError):
            make(3, order="K")
        with pytest.raises(ValueError, match="Device not understood"):
            make(3, device="gpu")
        same(make(3, device="cpu"), getattr(np, maker)(3), maker != "empty")
        same(
            make(3, like=np.zeros(3)), getattr(np, maker)(3), maker != "empty"
        )
        with pytest.raises(TypeError, match=r"like= asks for a list"):
            make(3, like=[])


# --- room


def test_memory_is_given_back():
    gc.collect()
    before = _pools.stats()["held"]
    made = [arrays.zeros((100, 100)) for _ in range(5)]
    views = [one[::2].T for one in made]
    del made
    gc.collect()
    assert _pools.stats()["held"] == before + 5
    views.clear()
    assert _pools.stats()["held"] == before


def test_no_descriptor_is_kept():
    arrays.zeros(10)  # which makes the pool
    before = descriptors()
    made = [arrays.zeros(100_000) for _ in range(5)]
    assert descriptors() <= before
    del made


def test_without_room_it_is_an_ordinary_array(monkeypatch):
    monkeypatch.setattr(_pools, "make", lambda size: None)
    for name, arguments in {
        "empty": (3,),
        "zeros": ((2, 3), "i2", "F"),
        "ones": (3,),
        "full": (3, 5),
        "array": ([1, 2],),
        "asarray": ([1, 2],),
        "arange": (5,),
        "linspace": (0, 1),
        "copy": ([1, 2],),
        "zeros_like": (np.ones((3, 2)).T,),
        "full_like": (np.ones((3, 2)).T, 7),
    }.items():
        made = getattr(arrays, name)(*arguments)
        expected = getattr(np, name)(*arguments)
        assert type(made) is np.ndarray and made.strides == expected.strides
        assert name == "empty" or made.tobytes() == expected.tobytes()
        assert not _array_words.is_shared(made)
    masked = np.ma.masked_array([1, 2], [True, False])
    assert type(arrays.ones_like(masked)) is np.ndarray


def test_more_than_there_is_room_for_is_an_ordinary_array():
    python(
        """
import os
import numpy as np
from shmemext import _pools, arrays
_pools.configure(1 << 20)
small, large = arrays.zeros(1000), arrays.zeros(1 << 20, "u1")
from shmemext import _array_words
assert _array_words.is_shared(small) and not _array_words.is_shared(large)
assert not large.any() and _pools.stats()["refused"] == 1
held = [arrays.ones(100_000, "u1") for _ in range(50)]
assert all(one.all() for one in held)
assert 0 < sum(map(_array_words.is_shared, held)) < 50
"""
    )


def test_more_than_4096_at_a_time_are_ordinary_arrays():
    python(
        """
from shmemext import _array_words, _pools, arrays
_pools.configure(64 << 20)
held = [arrays.ones(10) for _ in range(4100)]
assert sum(map(_array_words.is_shared, held)) == 4096
assert _pools.stats()["refused"] == 4
assert all(one.all() for one in held)
"""
    )


def test_numpy_is_imported_when_it_is_called():
    python(
        """
import sys
from shmemext import arrays
assert "numpy" not in sys.modules
assert arrays.zeros(3).tolist() == [0, 0, 0]
assert "numpy" in sys.modules
import numpy
"""
    )
