# SPDX-License-Identifier: MIT
"""handoff: forks at any time, threads, workers that come and go."""

import gc
import os
import pickle
import threading
import time
from multiprocessing import Pipe, get_context

import pytest
from conftest import segments
from handoff_children import lies_in_pool

from shmemext import _hooks, _pickles, _pools, handoff

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

LARGE = 100_000


def content(seed, size=LARGE):
    return bytes([seed % 251]) * size


def buffer(seed, size=LARGE):
    return pickle.PickleBuffer(bytearray(content(seed, size)))


@pytest.fixture(autouse=True)
def enabled():
    handoff.enable(limit=32 << 20)
    yield
    handoff.disable()
    gc.collect()


def names():
    return {one for one in segments() if one.startswith(_pools.PREFIX)}


@pytest.fixture
def pipe():
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        yield reader, writer


def in_child(act, *args):
    """What act() does in a forked child is right."""
    pid = os.fork()
    if not pid:
        try:
            act(*args)
            gc.collect()
            _pools.leave()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def ends_well(pid):
    assert os.waitpid(pid, 0)[1] == 0


def test_forked_child_has_what_its_parent_had(pipe):
    """And keeps it, whatever the parent sends meanwhile."""
    reader, writer = pipe
    writer.send(buffer(1))
    received = [reader.recv()]
    go, ready = Pipe(duplex=False)

    def look():
        go.recv()
        assert received[0] == content(1)
        received.pop()[:] = bytes(LARGE)

    with go, ready:
        pid = in_child(look)
        received.clear()
        for seed in range(20):
            writer.send(buffer(seed))
            assert reader.recv() == content(seed)
        ready.send(None)
        ends_well(pid)


class Forks:
    """In the middle of a message."""

    def __init__(self, act):
        self.act = act

    def __reduce__(self):
        self.pid = in_child(self.act)
        return str, ("forked",)


def test_fork_in_the_middle_of_a_message(pipe):
    """Parent and child both send."""
    reader, writer = pipe
    forks = Forks(lambda: writer.send(buffer(2)))
    writer.send([buffer(1), forks, buffer(3)])
    ends_well(forks.pid)
    received = [reader.recv(), reader.recv()]
    messages = {type(one): one for one in received}
    assert messages[memoryview] == content(2)
    assert messages[list] == [content(1), "forked", content(3)]


class Leaves:
    """A child that is forked here raises through the pickle."""

    def __reduce__(self):
        self.pid = os.fork()
        if not self.pid:
            raise SystemExit
        return str, ("forked",)


def test_child_that_leaves_the_message_takes_nothing_back(pipe):
    reader, writer = pipe
    leaves, parent = Leaves(), os.getpid()
    try:
        writer.send([buffer(1), leaves])
    except SystemExit:
        gc.collect()
    finally:
        if os.getpid() != parent:
            os._exit(0)
    ends_well(leaves.pid)
    assert reader.recv() == [content(1), "forked"]


def test_forked_child_takes_back_nothing_of_its_parents():
    parcel = _pickles.message(buffer(1))
    ends_well(in_child(_pickles.take_back, parcel))
    assert handoff.stats()["in_flight"] == 1
    assert pickle.loads(parcel) == content(1)


def test_forked_child_may_end_it_and_begin_it():
    """While another thread of its parent does."""
    taken, done = threading.Event(), threading.Event()

    def hold():
        with _hooks._lock:
            taken.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)

    def again():
        handoff.disable()
        handoff.enable()
        reader, writer = Pipe(duplex=False)
        with reader, writer:
            writer.send(buffer(1))
            assert lies_in_pool(reader.recv())

    pid = in_child(again)
    done.set()
    thread.join()
    ends_well(pid)


def test_each_child_sends_through_a_pool_of_its_own(pipe):
    reader, writer = pipe
    writer.send(buffer(0))
    reader.recv()
    before = names()
    pids = [in_child(writer.send, buffer(seed)) for seed in range(5)]
    received = [reader.recv() for _ in pids]
    for pid in pids:
        ends_well(pid)
    assert sorted(map(bytes, received)) == [content(seed) for seed in range(5)]
    assert len(names() - before) == 2 * len(pids)
    del received
    _pools.leave()
    assert names() <= before


def test_pools_of_workers_that_are_gone_are_gone():
    """Of each worker there was one, and each did one task; what the pool's
    thread has received and nobody has asked for yet holds another one."""
    context = get_context("fork")
    before = names()
    with context.Pool(2, maxtasksperchild=1) as pool:
        for seed in range(40):
            received = pool.apply(buffer, (seed,))
            assert lies_in_pool(received)
            assert received == content(seed)
            assert len(names() - before) <= 2 * 8
            del received
        pool.close()
        pool.join()
    _pools.leave()
    assert names() <= before


def test_threads_send_and_receive_at_the_same_time():
    failed = []

    def converse(number):
        try:
            here, there = Pipe()
            with here, there:
                for turn in range(50):
                    seed = number * 50 + turn
                    here.send({"it": buffer(seed), "of": number})
                    received = there.recv()
                    assert received["it"] == content(seed)
                    assert lies_in_pool(received["it"])
        except BaseException as error:
            failed.append(error)
            raise

    threads = [
        threading.Thread(target=converse, args=(number,))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert handoff.stats()["in_flight"] == 0


def test_hooks_come_and_go_while_others_send():
    """What is sent meanwhile arrives, one way or another."""
    stop, failed = threading.Event(), []

    def converse():
        try:
            here, there = Pipe()
            with here, there:
                while not stop.is_set():
                    here.send(list(range(100)))
                    assert there.recv() == list(range(100))
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=converse) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        handoff.enable()
        handoff.disable()
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
