# SPDX-License-Identifier: MIT
"""Large buffers in a Queue: they lie in a pool, and each message that is there
has them as they were put."""

import gc
import os
import pickle
import queue
import threading

import pytest
import queue_children as children
from arrays import np
from channel_children import ended, kill, told
from conftest import DEV_SHM

from shmemext import Queue, _pools

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
LARGE = 1 << 16


@pytest.fixture
def jobs():
    with Queue() as made:
        yield made


def large(start=b"ours", size=LARGE):
    return pickle.PickleBuffer(bytearray(start) + bytes(size - len(start)))


def in_flight():
    return _pools.stats()["in_flight"]


def in_queue(jobs):
    """Bytes of its messages."""
    return jobs._look()[1]


def test_large_ones_lie_beside(jobs):
    jobs.put([large(size=LARGE), 1])
    assert in_queue(jobs) < 300
    assert in_flight() == 1
    view, one = jobs.get()
    assert (bytes(view[:4]), len(view), one) == (b"ours", LARGE, 1)


def test_smaller_ones_lie_within(jobs):
    jobs.put([large(size=LARGE - 1)])
    assert in_queue(jobs) > LARGE
    assert in_flight() == 0
    assert len(jobs.get()[0]) == LARGE - 1


def test_named_one_holds_all_itself(name):
    with Queue(name=name, create=True) as jobs:
        jobs.put([large()])
        assert in_queue(jobs) > LARGE
        assert in_flight() == 0
        jobs.unlink()


def test_array_comes_out_writable_and_alone(jobs):
    array = np.arange(LARGE)
    jobs.put(array)
    array[:] = 0
    got = jobs.get()
    assert (got == np.arange(LARGE)).all()
    got[:] = 1
    assert array.sum() == 0


@pytest.mark.parametrize("how", ["task_done", "get", "close", "thread"])
def test_given_back_is_out_of_flight(how):
    with Queue() as jobs:

        def work():
            kept.append(jobs.get())

        kept = []
        jobs.put([large(), large()])
        assert in_flight() == 2
        if how == "thread":
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        else:
            work()
            assert in_flight() == 2
        if how == "task_done":
            jobs.task_done()
        elif how == "get":
            with pytest.raises(queue.Empty):
                jobs.get_nowait()
        elif how == "close":
            jobs.close()
        assert in_flight() == 0
        assert bytes(kept[0][0][:4]) == b"ours"
        kept.clear()
        assert _pools.stats()["held"] == 0


@methods
def test_next_one_has_what_was_put_whatever_the_dead_wrote(jobs, method):
    jobs.put([large()])
    for _ in range(2):
        child, ours = told(children.look_and_scribble, jobs, method=method)
        assert ours.recv() == (LARGE, b"ours")
        assert ours.recv() == b"mine"
        kill(child)
    (view,) = jobs.get(timeout=60)
    assert bytes(view[:4]) == b"ours"
    jobs.task_done()
    assert in_flight() == 0


def test_what_is_shared_is_shared(jobs):
    lease = _pools.make(LARGE)
    with memoryview(lease) as view:
        view[:4] = b"ours"
        jobs.put([pickle.PickleBuffer(view)])
        child, ours = told(children.look_and_scribble, jobs)
        assert ours.recv() == (LARGE, b"ours")
        assert ours.recv() == b"mine"
        assert bytes(view[:4]) == b"mine"
        kill(child)
    jobs.get(timeout=60)
    jobs.task_done()
    assert in_flight() == 0


def test_kept_longer_than_the_message(jobs):
    jobs.put([large()])
    child, ours = told(children.get_and_keep, jobs)
    assert ours.recv() == "done"
    assert in_flight() == 0
    for _ in range(20):  # of what would be used again
        jobs.put([large(b"new.")])
        jobs.get()
    ours.send("go on")
    assert ours.recv() == b"ours"
    ended(child)


def refuse(obj):
    raise AttributeError("not this")


class Unpicklable:
    __reduce__ = refuse


def test_what_is_not_put_is_not_in_flight():
    with Queue(1) as jobs:
        with pytest.raises(AttributeError):
            jobs.put([large(), Unpicklable()])
        assert in_flight() == 0
        jobs.put(0)
        with pytest.raises(queue.Full):
            jobs.put([large()], False)
        with pytest.raises(queue.Full):
            jobs.put([large()], timeout=0.01)
        assert in_flight() == 0
        jobs.close()
        with pytest.raises(ValueError, match="closed"):
            jobs.put([large()])
        assert in_flight() == 0


def test_list_is_empty_when_it_is_the_queues(jobs):
    """So that an exception that comes just then takes nothing back."""
    reference = _pools.refer(bytes(LARGE))
    references = [reference]
    assert jobs._put(pickle.dumps(1), references) is None
    assert references == []
    assert jobs.get() == 1
    jobs.task_done()
    assert in_flight() == 0


@pytest.mark.parametrize("how", ["close", "forget"])
def test_last_one_out_leaves_nothing_in_flight(how):
    jobs = Queue()
    jobs.put([large(), large()])
    jobs.put(1)
    jobs.put([large()])
    got = jobs.get()
    assert in_flight() == 3
    if how == "close":
        jobs.close()
    else:
        del jobs
        gc.collect()
    assert in_flight() == 0
    assert bytes(got[0][:4]) == b"ours"


def test_who_is_not_the_last_leaves_all_there(jobs):
    jobs.put([large()])
    with pickle.loads(pickle.dumps(jobs)) as other:
        assert other.qsize() == 1
    assert in_flight() == 1
    assert len(jobs.get()[0]) == LARGE
    jobs.task_done()


@pytest.mark.parametrize("times", range(4))
def test_killed_while_it_gives_back_leaves_none_to_be_had_twice(jobs, times):
    """One reference at most stays in flight, and who comes next withdraws the
    rest."""
    jobs.put([large(), large(), large()])
    jobs.put("next")
    child, ours = told(children.die_giving_back, jobs, times)
    assert ours.recv() == 3
    child.join()
    assert (child.exitcode == 0) == (times == 3)
    assert jobs.get(timeout=60) == "next"
    jobs.task_done()
    while jobs._look()[:3] != (0, 0, 0):
        with pytest.raises(queue.Empty):
            jobs.get(timeout=0.01)
    assert in_flight() == (times != 3)
    jobs.join()
    _pools._own.unlink()  # it is never used again
    _pools._pools.clear()
    _pools._own = None
    _pools._refresh()


def test_join_waits_for_nothing_that_is_marked_as_done(jobs):
    """Its taker died before it was free."""
    jobs.put([large()])
    child, ours = told(children.die_giving_back, jobs, 0)
    assert ours.recv() == 1
    child.join()
    jobs.join()
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.1)
    assert in_flight() == 1
    _pools._own.unlink()
    _pools._pools.clear()
    _pools._own = None
    _pools._refresh()


def test_sender_may_be_gone(jobs):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            jobs.put([large()])
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert bytes(jobs.get()[0][:4]) == b"ours"
    jobs.task_done()
    gc.collect()
    _pools._forget()
    pools = [one.name for one in DEV_SHM.iterdir() if "pool" in one.name]
    assert all(_pools._name(pool.pair) in pools for pool in _pools._known)
