# SPDX-License-Identifier: MIT
"""Queue: objects in and out, as multiprocessing.Queue has it; pages."""

import copyreg
import gc
import os
import pickle
import queue
import re
import threading
import time
import warnings
import weakref

import pytest
import queue_children as children
from channel_children import PATIENCE, ended, started, told
from conftest import DEV_SHM, python
from test_full import namespace, on_tmpfs

import shmemext
from shmemext import Queue, wait
from shmemext.channels import ShutDown

__all__ = ["on_tmpfs"]

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
MiB = 1 << 20


@pytest.fixture
def jobs():
    with Queue() as made:
        yield made


def held(jobs):
    """Bytes of /dev/shm that it takes."""
    return (DEV_SHM / jobs.name).stat().st_blocks * 512


def in_hand(jobs):
    return jobs._look()[2]


def test_what_is_put_comes_out_in_order(jobs):
    objects = [1, "two", None, (3, [4.5]), {"six": b"7"}, b"x" * MiB, set()]
    for one in objects:
        jobs.put(one)
    assert jobs.qsize() == len(objects)
    assert [jobs.get() for _ in objects] == objects
    assert jobs.empty() and jobs.qsize() == 0


def test_arguments_are_multiprocessings(jobs):
    jobs.put(1)
    jobs.put(2, True)
    jobs.put(3, True, None)
    jobs.put(4, False)
    jobs.put(5, block=False, timeout=None)
    jobs.put(obj=6, timeout=1)
    jobs.put_nowait(7)
    assert jobs.get(True, None) == 1
    assert jobs.get(True) == 2
    assert jobs.get(timeout=1) == 3
    assert jobs.get(False, 1) == 4
    assert [jobs.get_nowait() for _ in range(3)] == [5, 6, 7]
    for got in (
        lambda: jobs.get(False),
        lambda: jobs.get(timeout=0.01),
        lambda: jobs.get(True, -1),
        jobs.get_nowait,
    ):
        with pytest.raises(queue.Empty):
            got()
    jobs.cancel_join_thread()
    jobs.close()
    jobs.join_thread()


@pytest.mark.parametrize("maxsize", [1, 3])
def test_maxsize_counts_messages_that_wait(maxsize):
    with Queue(maxsize) as jobs:
        assert jobs.maxsize == maxsize
        for turn in range(10):
            assert not jobs.full()
            for number in range(maxsize):
                jobs.put((turn, number), block=False)
            assert jobs.full() and jobs.qsize() == maxsize
            with pytest.raises(queue.Full):
                jobs.put_nowait(0)
            with pytest.raises(queue.Full):
                jobs.put(0, True, 0.01)
            for number in range(maxsize):
                assert jobs.get() == (turn, number)


@pytest.mark.parametrize("maxsize", [0, -1, 2**31, 2**70])
def test_maxsize_may_be_none(maxsize):
    with Queue(maxsize) as jobs:
        assert jobs.maxsize == 0
        jobs.put(1)
        assert not jobs.full()


def test_who_waits_for_room_goes_on_when_one_is_got():
    with Queue(1) as jobs:
        jobs.put("first")
        child, ours = told(children.wait_to_put, jobs)
        assert ours.recv() == "here"
        assert not ours.poll(0.1)
        assert jobs.get() == "first"
        assert ours.recv() == "put"
        assert jobs.get(timeout=PATIENCE) == "late"
        ended(child)


def test_long_ones_count_too():
    """They are written when others may put already."""
    with Queue(2) as jobs:
        jobs.put(b"x" * MiB)
        jobs.put(b"y" * MiB)
        with pytest.raises(queue.Full):
            jobs.put_nowait(b"")
        assert len(jobs.get()) == len(jobs.get()) == MiB


class Unpicklable:
    def __reduce__(self):
        raise AttributeError("not this")


def test_what_cannot_be_pickled_raises_where_it_is_put():
    with Queue(1) as jobs:
        with pytest.raises(AttributeError, match="not this"):
            jobs.put(Unpicklable())
        jobs.put(1)
        assert jobs.qsize() == 1 and jobs.get() == 1


def test_what_cannot_be_unpickled_is_out(jobs):
    jobs.put(1)
    jobs._put(b"no pickle")
    jobs.put(2)
    assert jobs.get() == 1
    with pytest.raises(pickle.UnpicklingError):
        jobs.get()
    assert jobs.get() == 2


class Registered:
    pass


def test_reducers_of_multiprocessing_are_asked(jobs):
    from multiprocessing.reduction import ForkingPickler

    ForkingPickler.register(Registered, lambda _: (str, ("by ours",)))
    try:
        jobs.put([Registered()])
        assert jobs.get() == ["by ours"]
        del ForkingPickler._extra_reducers[Registered]
        copyreg.pickle(Registered, lambda _: (str, ("by copyreg",)))
        jobs.put(Registered())
        assert jobs.get() == "by copyreg"
    finally:
        ForkingPickler._extra_reducers.pop(Registered, None)
        copyreg.dispatch_table.pop(Registered, None)


def test_closed_one_says_so(jobs):
    assert repr(jobs) == f"Queue({jobs.name!r})"
    jobs.put(1)
    jobs.close()
    jobs.close()
    assert "closed" in repr(jobs)
    for call in (lambda: jobs.put(1), jobs.get, jobs.qsize, jobs.empty):
        with pytest.raises(ValueError, match="is closed"):
            call()
    for call in jobs.join, jobs.task_done, jobs.full:
        with pytest.raises(ValueError, match="is closed"):
            call()


def test_shut_down_as_queue_queue(jobs):
    jobs.put(1)
    jobs.shutdown()
    with pytest.raises(ShutDown):
        jobs.put(2)
    assert jobs.get() == 1
    jobs.task_done()
    with pytest.raises(ShutDown):
        jobs.get()


def test_many_may_be_put_before_anybody_gets():
    """And memory is taken for what is in it, and given back."""
    with Queue() as jobs, Queue() as back:
        count = 200_000
        assert held(jobs) <= 1 << 17
        for number in range(count):
            jobs.put(number)
        assert jobs.qsize() == count
        assert 32 * count < held(jobs) < 80 * count
        child = started(children.add_up, jobs, back)
        jobs.put(None)
        assert back.get(timeout=PATIENCE) == (count, sum(range(count)))
        ended(child)
        assert held(jobs) < 2 * MiB


def test_goes_round_and_round():
    """All is where it should be when the end of the data is passed, with
    lengths of all kinds."""
    with Queue(size=2 * MiB) as jobs:
        assert jobs.size == 2 * MiB
        sizes = [0, 10, 1000, 5000, 70_000, 300_000, 40]
        sent = 0
        for turn in range(200):
            for at, size in enumerate(sizes):
                jobs.put((turn, at, b"x" * (size + turn % 7)))
                sent += size
            for at, size in enumerate(sizes):
                got = jobs.get()
                assert got[:2] == (turn, at)
                assert got[2] == b"x" * (size + turn % 7)
        assert sent > 20 * jobs.size
        assert held(jobs) <= jobs.size + 4096


def test_full_of_bytes_is_full():
    with Queue(size=1 << 16) as jobs:
        with pytest.raises(queue.Full):
            while True:
                jobs.put_nowait(bytes(1000))
        count = jobs.qsize()
        assert 50 < count < 65
        for _ in range(count):
            assert jobs.get() == bytes(1000)
        with pytest.raises(queue.Empty):
            jobs.get_nowait()


def test_longer_than_half_of_it_says_what_to_do():
    with Queue(size=1 << 16) as jobs:
        with pytest.raises(ValueError, match="a larger 'size'"):
            jobs.put(bytes(1 << 16))
        assert jobs.empty()


def test_put_that_waits_with_nobody_there_warns():
    with Queue(1) as jobs:
        jobs.put(1)
        with (
            pytest.warns(RuntimeWarning, match="no other process") as caught,
            pytest.raises(queue.Full),
        ):
            jobs.put(2, timeout=1.1)
        assert [warning.filename for warning in caught] == [__file__]


def test_put_that_waits_with_somebody_there_does_not_warn():
    with Queue(1) as jobs, warnings.catch_warnings():
        warnings.simplefilter("error")
        jobs.put(1)
        assert jobs.get() == 1
        jobs.put(2)
        with pytest.raises(queue.Full):
            jobs.put(3, timeout=1.1)


def test_wait_is_told_of_what_is_put(jobs):
    assert wait([jobs], 0) == []
    threading.Timer(0.05, jobs.put, [1]).start()
    assert wait([jobs], PATIENCE) == [jobs]
    assert jobs.get() == 1


def test_forgotten_one_leaves_nothing():
    jobs = Queue()
    jobs.put(1)
    assert jobs.get() == 1
    name, ref = jobs.name, weakref.ref(jobs)
    assert (DEV_SHM / name).exists()
    del jobs
    gc.collect()
    assert ref() is None
    assert not (DEV_SHM / name).exists()


def test_named_one_is_found_by_strangers(name):
    with Queue(5, name=name, create=True) as jobs:
        jobs.put({"task": 1})
        done = python(
            f"""if 1:
            from shmemext import Queue
            with Queue(name={name!r}) as jobs:
                print(jobs.maxsize, jobs.get())
                jobs.task_done()
                jobs.put("back")
            """
        )
        assert done.stdout == "5 {'task': 1}\n"
        assert jobs.get(timeout=PATIENCE) == "back"
        jobs.unlink()


def test_name_that_is_not_there_or_another_kind(name):
    with pytest.raises(FileNotFoundError):
        Queue(name=name)
    with shmemext.Channel(name, create=True) as channel:
        with pytest.raises(ValueError, match="there is a Channel of that"):
            Queue(name=name)
        channel.unlink()
    with Queue(3, name=name, create=True) as jobs:
        with pytest.raises(ValueError, match="there is a Queue of that name"):
            shmemext.Channel(name)
        with pytest.raises(FileExistsError):
            Queue(name=name, create=True)
        with Queue(name=name, create=True, exist_ok=True) as same:
            assert same.maxsize == 3
        with pytest.raises(ValueError, match="exists with maxsize=3"):
            Queue(4, name=name, create=True, exist_ok=True)
        jobs.unlink()


@pytest.mark.parametrize("size", [0, -1])
def test_size_is_positive(size):
    with pytest.raises(ValueError, match="positive"):
        Queue(size=size)


def test_objects_are_counted_where_there_is_a_fork(jobs):
    """A child is a peer from its first use on."""
    assert jobs.peers == 0
    child, ours = told(children.get_and_stay, jobs)
    jobs.put(1)
    assert ours.recv() == 1
    assert jobs.peers == 1
    child.kill()
    child.join()
    assert jobs.peers == 0


def test_limit_is_less_where_addresses_are_few(gigabyte):
    """As `ulimit -v` has it: nothing is taken of it before it is used."""
    with Queue() as one, Queue() as other:
        assert 64 * MiB <= one.size < 1 << 30 > one.size + other.size
        other.put(b"x" * MiB)
        assert len(other.get()) == MiB


def test_full_dev_shm_is_an_error_and_no_crash(on_tmpfs):
    on_tmpfs(
        "8m",
        """
        import queue
        from shmemext import Queue
        jobs = Queue()
        assert jobs.size == 8 * MiB, jobs.size
        with open("/dev/shm/fill", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        try:
            while True:
                jobs.put(b"x" * 1000, timeout=0.01)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            assert "/dev/shm" in str(error) and "gc" in str(error), error
        os.unlink("/dev/shm/fill")
        count = 0
        try:
            while True:
                jobs.put(b"x" * 100000, timeout=0.01)
                count += 1
        except queue.Full:
            pass
        assert count > 50, count
        for _ in range(count):
            assert jobs.get() == b"x" * 100000
        assert used() < 4 * MiB, used()
        """,
    )


def test_doc_has_the_signature():
    import inspect

    text = inspect.getdoc(Queue)
    assert re.match(r"Queue\(maxsize=0, \*, name=None", text)


def test_time_that_is_left_is_waited_for_once():
    """A second first, and then the rest."""
    with Queue(1) as jobs:
        jobs.put(1)
        began = time.monotonic()
        with pytest.warns(RuntimeWarning), pytest.raises(queue.Full):
            jobs.put(2, timeout=1.3)
        assert time.monotonic() - began >= 1.3


assert namespace and os
