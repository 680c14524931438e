# SPDX-License-Identifier: MIT
"""dumps() and loads(): pickles by hand, small, for any number of loads, or for
one."""

import gc
import os
import pickle
import random
from multiprocessing import get_context

import pytest
from arrays import np
from conftest import python
from handoff_children import lies_in_pool

import shmemext
from shmemext import _pickles, _pools, _stock, handoff

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

LARGE = 100_000
CONTENT = random.Random(7).randbytes(LARGE)


def buffer():
    return pickle.PickleBuffer(bytearray(CONTENT))


@pytest.fixture(autouse=True)
def little():
    """What is kept stays until a process ends: so it is taken away here."""
    _pools.configure(16 << 20)
    yield
    _pools.withdraw(list(_pools._stock))
    _stock._give_back(_stock.size())
    gc.collect()


def test_loads_is_pickles():
    assert shmemext.loads is pickle.loads


def test_large_objects_have_small_pickles():
    for size in 1 << 16, 1 << 20, 1 << 22:
        pickled = shmemext.dumps(pickle.PickleBuffer(bytes(size)))
        assert type(pickled) is bytes
        assert len(pickled) < 300
        assert bytes(pickle.loads(pickled)) == bytes(size)


@pytest.mark.parametrize("thing", [None, "text", {"a": [1, (2, 3)]}, b"x" * 9])
@pytest.mark.parametrize("once", [False, True])
def test_small_objects_are_what_they_are(thing, once):
    assert shmemext.loads(shmemext.dumps(thing, once=once)) == thing
    assert _stock.size() == 0


def test_each_load_is_its_own():
    pickled = shmemext.dumps(buffer())
    first, second = shmemext.loads(pickled), shmemext.loads(pickled)
    assert first == second == CONTENT
    first[:] = bytes(LARGE)
    assert second == shmemext.loads(pickled) == CONTENT


def test_arrays_are_each_loads_own():
    array = np.frombuffer(CONTENT, "u1").copy()
    pickled = shmemext.dumps({"it": array})
    first, second = (shmemext.loads(pickled)["it"] for _ in range(2))
    assert lies_in_pool(first)
    first[:] = 0
    array[:] = 0
    assert second.tobytes() == CONTENT
    assert second.flags.writeable


def test_what_could_not_be_written_cannot():
    pickled = shmemext.dumps(pickle.PickleBuffer(CONTENT))
    assert shmemext.loads(pickled).readonly


def test_once_is_for_one_load():
    pickled = shmemext.dumps(buffer(), once=True)
    assert _stock.size() == 0
    assert handoff.stats()["in_flight"] == 1
    received = shmemext.loads(pickled)
    received[:] = bytes(LARGE)
    for _ in range(3):
        with pytest.raises(LookupError, match="received before"):
            shmemext.loads(pickled)


def load(pickled, times):
    """In another process."""
    for _ in range(times):
        received = shmemext.loads(pickled)
        assert received == CONTENT
        received[:] = bytes(LARGE)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_any_process_loads_it(method):
    pickled = shmemext.dumps(buffer())
    context = get_context(method)
    processes = [
        context.Process(target=load, args=(pickled, 3)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert shmemext.loads(pickled) == CONTENT


def test_what_is_gone_with_its_process_says_so():
    context = get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=put_dumps, args=(queue,))
    process.start()
    pickled = queue.get()
    process.join()
    assert process.exitcode == 0
    queue.close()
    with pytest.raises(LookupError, match="process that has ended"):
        shmemext.loads(pickled)


def put_dumps(queue):
    queue.put(shmemext.dumps(buffer()))


def test_half_of_the_pool_is_kept_at_most():
    _pools.leave()
    _pools.configure(8 * 102_400)
    pickles = [shmemext.dumps(buffer()) for _ in range(7)]
    assert [len(one) < 300 for one in pickles] == [True] * 4 + [False] * 3
    assert handoff.stats()["stock"] == 4 * LARGE
    for pickled in pickles:
        assert bytes(shmemext.loads(pickled)) == CONTENT
    for pickled in [shmemext.dumps(buffer(), once=True) for _ in range(2)]:
        assert len(pickled) < 300
        assert shmemext.loads(pickled) == CONTENT


def test_what_is_larger_than_half_is_an_ordinary_pickle():
    """Also as the first, when there is no pool yet."""
    _pools.leave()
    _pools.configure(150_000)
    for _ in range(2):
        pickled = shmemext.dumps(buffer())
        assert len(pickled) > LARGE
        assert shmemext.loads(pickled) == CONTENT
    assert _stock.size() == 0
    assert handoff.stats()["kept"] == 0


def test_without_a_pool_it_is_an_ordinary_pickle():
    _pools.leave()
    _pools.configure(0)
    for once in False, True:
        pickled = shmemext.dumps(buffer(), once=once)
        assert len(pickled) > LARGE
        assert shmemext.loads(pickled) == CONTENT
    assert _stock.size() == 0


@pytest.mark.parametrize("once", [False, True])
def test_failure_keeps_nothing(once):
    with pytest.raises((AttributeError, pickle.PicklingError)):
        shmemext.dumps([buffer(), buffer(), lambda: None], once=once)
    told = handoff.stats()
    assert (told["in_flight"], told["kept"], told["stock"]) == (0, 0, 0)


def test_forked_child_keeps_what_is_its_own():
    shmemext.dumps(buffer())
    pid = os.fork()
    if not pid:
        try:
            assert _stock.size() == 0
            pickled = shmemext.dumps(buffer())
            assert _stock.size() == LARGE
            assert shmemext.loads(pickled) == CONTENT
            _pools.withdraw(list(_pools._stock))
            _pools.leave()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert _stock.size() == LARGE


def test_it_touches_nothing_of_multiprocessing():
    python("""
import pickle, sys, shmemext
pickled = shmemext.dumps(pickle.PickleBuffer(bytes(1 << 20)))
assert len(shmemext.loads(pickled)) == 1 << 20
for name in "multiprocessing.connection", "multiprocessing.queues", "numpy":
    assert name not in sys.modules, name
""")


def test_enabled_or_not_it_is_the_same():
    handoff.enable(min_size=1000)
    try:
        small = shmemext.dumps(pickle.PickleBuffer(CONTENT[:2000]))
    finally:
        handoff.disable()
    assert len(small) < 300  # smaller buffers, if that was asked for
    assert len(shmemext.dumps(buffer())) < 300
    assert _pickles.Sending.least == _pickles.NEVER
