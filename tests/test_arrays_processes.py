# SPDX-License-Identifier: MIT
"""Arrays of shared memory in other processes, by whatever multiprocessing
sends them."""

import gc
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import array_children as children
import kinds
import pytest
from arrays import np

if not np:
    pytest.skip("there is no numpy", allow_module_level=True)

from shmemext import _array_words, _hooks, _pickles, _pools, arrays

METHODS = kinds.METHODS
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


@pytest.fixture(autouse=True, scope="module")
def hooks():
    _hooks.begin(_hooks.ARRAYS)
    yield
    _hooks.end(_hooks.ARRAYS)
    _pickles.Sending.shares = False


@pytest.fixture(params=METHODS)
def context(request):
    return multiprocessing.get_context(request.param)


@pytest.fixture
def nothing_in_flight():
    """Before and after."""
    gc.collect()
    yield
    gc.collect()
    assert _pools.stats()["in_flight"] == 0


def views_of(array):
    """Of one of (6, 8), all different: by what makes them."""
    return {
        "all": array,
        "slice": array[1:5, ::2],
        "transpose": array.T,
        "backwards": array[::-1, ::-3],
        "row": array[2],
        "dates": array.view("M8[s]")[:, 1:3],
        "item": array[3, 4:5].reshape(()),
        "broadcast": np.broadcast_to(array[0], (3, 8)),
    }


def test_arguments_are_the_same_memory(context, nothing_in_flight):
    array = arrays.zeros((6, 8))
    parts = [array[:3], array[3:].T, array[4, ::-2]]
    processes = [
        context.Process(target=children.add_one, args=(part,))
        for part in parts
    ]
    for process in processes:
        process.start()
        process.join(kinds.PATIENCE)
        assert process.exitcode == 0
    expected = np.ones((6, 8))
    expected[4, ::-2] += 1
    assert (array == expected).all()


@pytest.mark.parametrize("view", views_of(np.zeros((6, 8))))
def test_any_view_arrives_as_it_was(context, view, nothing_in_flight):
    array = arrays.zeros((6, 8))
    array[:] = np.arange(48).reshape(6, 8)
    part = views_of(array)[view]
    with context.Pool(1) as pool:
        described = pool.apply(children.describe, (part,))
    shape, dtype, writeable, data = described
    assert shape == part.shape and dtype == part.dtype.str
    assert writeable == part.flags.writeable and data == part.tobytes()


def test_pool_writes_where_it_was_told_to(context, nothing_in_flight):
    array = arrays.ones((100, 1000))
    with context.Pool(2) as pool:
        results = pool.map(children.double, np.array_split(array, 8))
    assert (array == 2).all()
    # And what comes back is the very same: no other memory.
    assert all(np.shares_memory(part, array) for part in results)
    results[0][0] = 5
    assert (array[0] == 5).all()


def test_executor_too(context, nothing_in_flight):
    array = arrays.ones((100, 1000))
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        results = list(executor.map(children.double, np.split(array, 4)))
        made = executor.submit(children.make, (300, 400)).result()
    assert (array == 2).all()
    assert all(np.shares_memory(part, array) for part in results)
    assert made.shape == (300, 400) and (made == 7).all()
    assert _array_words.is_shared(made)


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_queues_pass_them(context, kind, nothing_in_flight):
    requests, replies = getattr(context, kind)(), getattr(context, kind)()
    server = context.Process(target=children.serve, args=(requests, replies))
    server.start()
    array = arrays.zeros((50, 50))
    for part in array[:25], array.T[::2], array[3]:
        requests.put(part)
        assert replies._reader.poll(kinds.PATIENCE)
        there = replies.get()
        assert np.shares_memory(there, array)
        assert there.tolist() == part.tolist()
    requests.put(None)
    server.join(kinds.PATIENCE)
    assert server.exitcode == 0
    assert array.sum() == 25 * 50 + 25 * 50 + 50
    for queue in requests, replies:
        queue.close()
        if kind != "SimpleQueue":
            queue.join_thread()


def test_what_was_received_travels_on_by_reference(context, nothing_in_flight):
    ours, theirs = context.Pipe()
    child = context.Process(target=children.pass_on, args=(theirs,))
    child.start()
    array = arrays.zeros((10, 20))
    there = array
    for _ in range(5):
        ours.send(there)
        there = ours.recv()
    assert (array == 5).all() and np.shares_memory(there, array)
    there[0, 0] = 9  # five times upside down
    assert array[-1, 0] == 9
    ours.send(None)
    child.join(kinds.PATIENCE)
    assert child.exitcode == 0
    ours.close()
    theirs.close()


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_array_outlives_who_made_it(context, how):
    ours, theirs = context.Pipe()
    child = context.Process(target=children.send_and_end, args=(theirs, how))
    child.start()
    array = ours.recv()
    child.join(kinds.PATIENCE)
    time.sleep(0.05)
    assert (array == 7).all()
    array += 1
    assert (array == 8).all() and _array_words.is_shared(array)
    ours.close()
    theirs.close()


def test_views_of_one_array_are_views_of_one_there(context):
    array = arrays.zeros(10)
    with context.Pool(1) as pool:
        assert pool.apply(children.write_into_both, ([array, array[:5]],)) == 5
    assert array[0] == 5


def test_readonly_views_stay_readonly(context):
    ours, theirs = context.Pipe()
    array = arrays.zeros((3, 4))
    part = array[1:]
    part.flags.writeable = False
    with context.Pool(1) as pool:
        assert pool.apply(children.describe, (part,))[2] is False
        with pytest.raises(ValueError, match="read-only"):
            pool.apply(children.add_one, (part,))
    ours.close()
    theirs.close()


def test_arrays_by_name_are_the_same_memory_there(context, name):
    array = arrays.create(name, (6, 8), order="F")
    with context.Pool(1) as pool:
        pool.apply(children.add_one, (array[::2, 1:],))
    process = context.Process(target=children.add_one, args=(array.T,))
    process.start()
    process.join(kinds.PATIENCE)
    assert process.exitcode == 0
    expected = np.ones((6, 8))
    expected[::2, 1:] += 1
    assert (array == expected).all()
    arrays.unlink(name)


def test_arrays_of_their_users_are_there_when_a_child_begins(context, name):
    array = arrays.create(name, 10, lifetime="users")
    child = context.Process(target=children.add_one, args=(array,))
    child.start()
    child.join(kinds.PATIENCE)
    assert child.exitcode == 0 and (array == 1).all()
    assert name in os.listdir("/dev/shm")  # noqa: PTH208
    del array, child
    gc.collect()
    kinds.wait_until(lambda: name not in os.listdir("/dev/shm"))  # noqa: PTH208


def test_without_room_arrays_arrive_as_copies(context, monkeypatch):
    monkeypatch.setattr(_pools, "make", lambda size: None)
    array = arrays.ones((100, 1000))
    with context.Pool(1) as pool:
        there = pool.apply(children.double, (array,))
    assert (there == 2).all() and (array == 1).all()


def test_forked_child_keeps_what_its_parent_lets_go():
    """Its hold is its own before it begins."""
    array = arrays.full(1000, 3)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(writer)
            os.read(reader, 1)  # until the parent has let go, and made others
            os._exit(0 if (array == 3).all() else 1)
        finally:
            os._exit(2)
    del array
    gc.collect()
    others = [arrays.zeros(1000) for _ in range(20)]
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(reader)
    assert not any(other.any() for other in others)
