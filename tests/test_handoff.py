# SPDX-License-Identifier: MIT
"""handoff: what multiprocessing sends arrives as it was, by reference."""

import gc
import multiprocessing
import pickle
from multiprocessing import get_context

import pytest
from arrays import np
from conftest import python
from handoff_children import (
    LARGE,
    METHODS,
    WAYS,
    context_manager,
    lies_in_pool,
)

from shmemext import handoff

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def enabled():
    handoff.enable(limit=64 << 20)
    yield
    handoff.disable()
    gc.collect()


def numbered(dtype="f8", **options):
    return np.arange(LARGE, dtype="u1").view(dtype, **options)


def fortran():
    return np.asfortranarray(numbered("i4").reshape(64, -1))


def structured():
    return numbered([("a", "<i4"), ("b", "<f2"), ("c", "S10")])


def readonly():
    array = numbered()
    array.flags.writeable = False
    return array


def big_endian():
    return numbered(">i4")


def dates():
    return numbered("i8").view("M8[ns]")


def text():
    return np.array([f"text {number}" for number in range(LARGE // 16)])


def cube():
    return numbered("c8").reshape(4, 8, -1)


ARRAYS = [
    numbered,
    fortran,
    structured,
    readonly,
    big_endian,
    dates,
    text,
    cube,
]


def looks(array):
    flags = array.flags
    return (
        type(array),
        array.dtype,
        array.shape,
        array.strides,
        flags.c_contiguous,
        flags.f_contiguous,
        array.tobytes("A"),
    )


def is_by_reference(way, method):
    """Arguments are inherited where a child is forked."""
    return (way, method) != ("arguments", "fork")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_arrays_arrive_as_they_were(way, method):
    """Writable, unless they were not: there, and back."""
    sent = [make() for make in ARRAYS]
    back = WAYS[way](get_context(method), sent)
    assert len(back) == len(sent)
    for before, (there, after) in zip(sent, back, strict=True):
        goes = before.dtype.kind != "M"  # numpy has no buffers of dates
        assert there == (goes and is_by_reference(way, method))
        assert lies_in_pool(after) == goes
        assert looks(after) == looks(before)
        if goes:
            assert after.flags.writeable == before.flags.writeable


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", sorted({*WAYS} - {"manager"}))
def test_buffers_arrive_as_views_of_what_is_the_receivers(way, method):
    """What a manager keeps, it could not send on: pickle has no views."""
    content = bytes(range(256)) * (LARGE // 256)
    sent = [
        pickle.PickleBuffer(content),
        pickle.PickleBuffer(bytearray(content)),
    ]
    if way == "arguments" and method == "fork":
        pytest.skip("nothing is sent: the child has its parent's objects")
    back = WAYS[way](get_context(method), sent)
    for (there, after), is_readonly in zip(back, [True, False], strict=True):
        assert there
        assert lies_in_pool(after)
        assert after == content
        assert after.readonly == is_readonly


def test_nobody_needs_numpy():
    python("""
import os, pickle, sys
sys.modules["numpy"] = None
from multiprocessing import Pipe
import shmemext.handoff
shmemext.handoff.enable()
content = os.urandom(1 << 20)
reader, writer = Pipe(duplex=False)
pid = os.fork()
if not pid:
    try:
        assert reader.recv()["it"] == content
        os._exit(0)
    finally:
        os._exit(1)
writer.send({"it": pickle.PickleBuffer(content)})
assert os.waitpid(pid, 0)[1] == 0
""")


@pytest.fixture
def duplex():
    ends = multiprocessing.Pipe()
    yield ends
    for end in ends:
        end.close()


def test_messages_are_small(duplex):
    here, there = duplex
    for size in 1 << 16, 1 << 20, 1 << 24:
        here.send(np.zeros(size, "u1"))
        message = there.recv_bytes()
        assert len(message) < 300
        assert pickle.loads(message).nbytes == size


def test_many_buffers_in_one_message(duplex):
    here, there = duplex
    sent = {number: np.full(LARGE, number, "u1") for number in range(50)}
    here.send((sent, sent[7]))
    back, again = there.recv()
    assert again is back[7]
    assert all((back[number] == number).all() for number in sent)
    for array in back.values():
        assert lies_in_pool(array)


def test_receiver_may_write_and_nobody_sees_it(duplex):
    here, there = duplex
    sent = numbered("u1")
    here.send(sent)
    here.send(sent)
    first, second = there.recv(), there.recv()
    first[:] = 1
    second[:] = 2
    assert (first == 1).all()
    assert (sent == numbered("u1")).all()


def test_what_was_received_is_copied_when_it_is_sent_on(duplex):
    here, there = duplex
    here.send(numbered("u1"))
    received = there.recv()
    there.send(received)
    received[:] = 1
    again = here.recv()
    assert lies_in_pool(again)
    assert (again == numbered("u1")).all()


def test_what_a_manager_keeps_is_its_own():
    """Two reads of one item are independent of each other."""
    with context_manager(get_context("fork")) as manager:
        kept = manager.dict()
        kept["it"] = numbered("u1")
        first, second = kept["it"], kept["it"]
        assert lies_in_pool(first) and lies_in_pool(second)
        first[:] = 1
        assert (second == numbered("u1")).all()
        assert (kept["it"] == numbered("u1")).all()


@pytest.mark.parametrize("least", [1, 100, 1 << 16])
def test_min_size_is_where_references_begin(duplex, least):
    here, there = duplex
    handoff.enable(min_size=least)
    for size in least - 1, least:
        here.send(np.zeros(size, "u1"))
        assert lies_in_pool(there.recv()) == (size == least)


def test_min_size_of_nothing_leaves_nothing_out_but_what_is_empty(duplex):
    here, there = duplex
    handoff.enable(min_size=0)
    here.send((np.zeros(0), np.zeros(1)))
    empty, one = there.recv()
    assert not lies_in_pool(empty)
    assert lies_in_pool(one)


def test_arrays_in_pieces_go_as_ever(duplex):
    here, there = duplex
    every_other = numbered("u1")[::2]
    here.send(every_other)
    back = there.recv()
    assert not lies_in_pool(back)
    assert (back == every_other).all()


def test_objects_go_as_ever(duplex):
    here, there = duplex
    sent = np.array([{"a": number} for number in range(9000)])
    here.send(sent)
    assert (there.recv() == sent).all()


def test_nothing_is_in_flight_when_all_is_received(duplex):
    here, there = duplex
    for _ in range(20):
        here.send(numbered())
        there.recv()
    told = handoff.stats()
    assert (told["in_flight"], told["held"]) == (0, 0)
    assert told["used"] <= 2 * LARGE


def test_what_is_on_its_way_is_told(duplex):
    here, there = duplex
    before = handoff.stats()
    for _ in range(3):
        here.send(numbered())
    told = handoff.stats()
    assert told["in_flight"] == before["in_flight"] + 3
    assert told["size"] == 64 << 20
    arrays = [there.recv() for _ in range(3)]
    told = handoff.stats()
    assert (told["in_flight"], told["held"]) == (0, 3)
    del arrays


def test_array_outlives_the_connection_and_its_sender():
    """Who received it has it, whoever is gone."""
    pytest.importorskip("numpy")
    context = get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=send_arrays, args=(there, 5))
    process.start()
    there.close()
    arrays = [here.recv() for _ in range(5)]
    process.kill()
    process.join()
    here.close()
    for array in arrays:
        assert lies_in_pool(array)
        assert (array == numbered("u1")).all()
        array[:] = 0


def send_arrays(connection, count):
    for _ in range(count):
        connection.send(numbered("u1"))
    connection.recv()


def test_array_is_received_after_its_sender_has_ended():
    pytest.importorskip("numpy")
    context = get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=send_once, args=(writer,))
    process.start()
    process.join()
    array = reader.recv()
    assert lies_in_pool(array)
    assert (array == numbered("u1")).all()
    reader.close()
    writer.close()


def send_once(connection):
    connection.send(numbered("u1"))


@pytest.mark.parametrize("value", [-1, -(1 << 70)])
@pytest.mark.parametrize("name", ["min_size", "limit"])
def test_sizes_below_zero_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        handoff.enable(**{name: value})


@pytest.mark.parametrize("value", ["64", 1.5])
@pytest.mark.parametrize("name", ["min_size", "limit"])
def test_sizes_are_numbers(name, value):
    with pytest.raises(TypeError):
        handoff.enable(**{name: value})
