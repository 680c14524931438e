# SPDX-License-Identifier: MIT
"""Memory.ndarray(): arrays of any kind of memory."""

import gc
import inspect
import os
import pickle
import threading

import kinds
import pytest
from arrays import np
from conftest import python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shmemext import Memory, SharedMemory

if not np:
    pytest.skip("there is no numpy", allow_module_level=True)

SIZE = 5000

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


@pytest.fixture(params=kinds.KINDS)
def kind(request, tmp_path):
    with kinds.kind_of(request.param, tmp_path) as kind:
        yield kind


@pytest.fixture
def memory(kind):
    return kind.create(SIZE)


def test_array_is_the_memory(memory):
    array = memory.ndarray((3, 4))
    assert type(array) is np.ndarray
    assert array.shape == (3, 4) and array.dtype == np.float64
    assert array.flags.c_contiguous and array.flags.writeable
    array[2, 3] = 1.5
    assert bytes(memory.buf[88:96]) == np.float64(1.5).tobytes()
    memory.buf[0:96] = bytes(96)
    assert not array.any()


def test_array_begins_at_the_offset(memory):
    memory.buf[7:11] = b"\1\0\2\0"
    array = memory.ndarray(2, "<i2", 7)
    assert array.tolist() == [1, 2]
    array = memory.ndarray(shape=[2], offset=np.int64(7), dtype="<i2")
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(), 0, 3, (0,), (2, 0, 3), [2, 3]])
def test_shape_is_as_numpy_has_it(memory, shape):
    array, expected = memory.ndarray(shape, "i4"), np.zeros(shape, "i4")
    assert array.shape == expected.shape and array.nbytes == expected.nbytes


def test_shape_may_be_an_array(memory):
    assert memory.ndarray(np.array([2, 3])).shape == (2, 3)
    assert memory.ndarray(np.int8(3)).shape == (3,)


def test_structured_items(memory):
    dtype = np.dtype([("x", "f4"), ("at", "M8[s]"), ("pair", "i2", 2)])
    array = memory.ndarray(3, dtype)
    array["pair"][1] = 5, 6
    assert array.dtype == dtype
    assert memory.ndarray((), dtype, dtype.itemsize)["pair"].tolist() == [5, 6]


def test_array_of_pairs_has_one_dimension_more(memory):
    array = memory.ndarray(3, np.dtype(("f4", 2)))
    assert array.shape == np.empty(3, np.dtype(("f4", 2))).shape == (3, 2)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    shape=st.lists(st.integers(-1, 40), max_size=3),
    dtype=st.sampled_from(["u1", "<f8", ">i4", "c16", "M8[ns]", "S3", "U2"]),
    offset=st.integers(-1, SIZE + 1),
)
def test_array_is_what_lies_there_or_refused(memory, shape, dtype, offset):
    expected = np.dtype(dtype).itemsize
    for length in shape:
        expected *= length
    if min([0, *shape]) < 0 or not 0 <= offset <= SIZE - expected:
        with pytest.raises(ValueError):
            memory.ndarray(shape, dtype, offset)
        return
    memory.buf[:] = bytes(range(250)) * (SIZE // 250)
    array = memory.ndarray(shape, dtype, offset)
    assert array.shape == tuple(shape) and array.dtype == dtype
    end = offset + expected
    assert array.tobytes() == bytes(memory.buf[offset:end])


# --- for how long


def test_array_outlives_close(kind):
    memory = kind.create(SIZE)
    array = memory.ndarray(10)
    array[:] = 7
    memory.close()
    assert array.sum() == 70
    array += 1
    assert array.sum() == 80
    with pytest.raises(ValueError, match="closed"):
        memory.ndarray(10)


def test_array_outlives_the_object(name):
    array = SharedMemory(name, create=True, size=SIZE).ndarray(10)
    gc.collect()
    part = array[3:5]
    del array
    part[:] = 2
    with SharedMemory(name) as again:
        assert again.ndarray(10).tolist() == [0] * 3 + [2] * 2 + [0] * 5
        again.unlink()
    del part


def test_memory_goes_with_the_last_array(kind):
    """Not with the object, which may be kept."""
    memory = kind.create(SIZE)
    path = kind.path(memory)
    with open(path, "rb") as file:  # noqa: PTH123 (it may be a descriptor)
        inode = os.fstat(file.fileno()).st_ino
    array = memory.ndarray(10)
    part = array[::2].T
    memory.close()
    del array
    assert kinds.is_mapped(inode)
    part[:] = 1
    del part
    assert not kinds.is_mapped(inode)


def test_array_and_a_longer_one_are_the_same_memory(memory):
    array = memory.ndarray(5)
    memory.grow(2 * SIZE)
    longer = memory.ndarray(2 * SIZE // 8)
    array[3] = 5
    longer[4] = 6
    assert array[4] == 6 and longer[3] == 5


# --- who may write


def test_array_of_readonly_memory_is_readonly(kind):
    memory = kind.create(SIZE)
    memory.ndarray(3)[1] = 4
    array = kind.again(memory, readonly=True).ndarray(3)
    assert array.tolist() == [0, 4, 0]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


# --- what is refused


def refusal(memory, error, *arguments):
    with pytest.raises(error) as raised:
        memory.ndarray(*arguments)
    return str(raised.value)


def label_of(kind, memory):
    if kind.name == "AnonymousMemory":
        return "AnonymousMemory"
    label = memory.name if kind.name == "SharedMemory" else memory.path
    return f"{kind.name}({label!r})"


def test_too_large_array_is_refused_with_both_sizes(kind, memory):
    assert refusal(memory, ValueError, (25, 26), "f8", 8) == (
        f"{label_of(kind, memory)}: an array of shape (25, 26) and float64 "
        "takes 5200 bytes, from offset 8 on, and there are 5000"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (-1,),
        ((3, -1),),
        ((-1, -1),),
        ((1 << 40, 1 << 40),),
        (1 << 70,),
        ((0, 1 << 70),),
        (1, "u1", -1),
        (1, "u1", SIZE),
        (0, "u1", SIZE + 1),
        (1, "u1", 1 << 70),
        (1, "S"),
        (1, "V0"),
        (1, []),
        ([1] * 65,),
    ],
)
def test_what_cannot_be_an_array_is_refused_by_name(kind, memory, arguments):
    words = refusal(memory, ValueError, *arguments)
    assert words.startswith(f"{label_of(kind, memory)}: ")


@pytest.mark.parametrize(
    "arguments",
    [
        (2.5,),
        ("ab",),
        (None,),
        ((1, 2.5),),
        (1, "nonsense"),
        (1, "f8", 1.0),
        (1, "f8", None),
    ],
)
def test_what_is_no_argument_is_a_type_error(memory, arguments):
    refusal(memory, TypeError, *arguments)


def test_arrays_of_objects_are_refused(memory):
    pointers = [object, "O", [("x", "f8"), ("y", object)]]
    if hasattr(np.dtypes, "StringDType"):
        pointers.append(np.dtypes.StringDType())
    for dtype in pointers:
        words = refusal(memory, TypeError, 1, dtype)
        assert "mean nothing in another one" in words


def test_call_is_checked_as_a_function_s(memory):
    for arguments, keywords in [
        ((), {}),
        ((1, "f8", 0, 0), {}),
        ((1,), {"shape": 1}),
        ((1,), {"order": "C"}),
    ]:
        with pytest.raises(TypeError):
            memory.ndarray(*arguments, **keywords)
    signature = inspect.signature(Memory.ndarray)
    assert str(signature) == "(self, /, shape, dtype='f8', offset=0)"


# --- numpy is no part of it


def test_numpy_is_imported_when_it_is_called():
    python(
        """
import sys
from shmemext import AnonymousMemory
memory = AnonymousMemory(80)
memory.buf[0] = 1
assert "numpy" not in sys.modules
assert "shmemext._array_memory" not in sys.modules
import numpy
assert memory.ndarray(80, "u1").sum() == 1
"""
    )


def test_dict_of_its_keywords_may_be_cleared_meanwhile():
    """As whatever runs in an allocation may find it by gc."""
    python(
        """
import gc, sys
from shmemext import AnonymousMemory
memory = AnonymousMemory(80)

class Missing:
    def find_spec(self, name, path, target=None):
        if name != "shmemext._array_memory":
            return None
        for found in gc.get_objects():
            if type(found) is dict and found.keys() == {"shape", "dtype"}:
                found.clear()
        self.filled = [bytes(n) for n in range(16, 256) for _ in range(50)]

import numpy
sys.meta_path.insert(0, Missing())
shape, dtype = [2, int("4")], "".join("i2")
made = memory.ndarray(**{"shape": tuple(shape), "dtype": dtype})
assert made.shape == (2, 4) and made.dtype == "i2"
"""
    )


# --- with others


def add_one(memory):
    memory.ndarray(10)[:] += 1
    memory.close()


@pytest.mark.parametrize("method", kinds.METHODS)
def test_processes_have_one_array(kind, memory, method):
    array = memory.ndarray(10)
    kinds.run(method, add_one, memory)
    assert array.tolist() == [1] * 10


def test_array_pickles_as_any_array_does(memory):
    """By value: it says nothing of where it lies."""
    array = memory.ndarray(10)
    array[:] = 3
    copy = pickle.loads(pickle.dumps(array))
    array[:] = 4
    assert copy.tolist() == [3] * 10


def test_threads_make_arrays_while_one_closes(kind):
    memory = kind.create(SIZE)
    begin = threading.Barrier(3)
    sums = []

    def make():
        begin.wait()
        try:
            while True:
                sums.append(memory.ndarray(100).sum())
        except ValueError as error:
            sums.append(str(error))

    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    begin.wait()
    kinds.wait_until(lambda: len(sums) >= 100)
    memory.close()
    for maker in makers:
        maker.join()
    words = [one for one in sums if type(one) is str]
    assert len(words) == 2 and all("closed" in one for one in words)
    assert {one for one in sums if type(one) is not str} == {0.0}
