# SPDX-License-Identifier: MIT
"""What docs/differences.md says of channels and queues, where
test_channel.py does not."""

import inspect
import multiprocessing
import pickle
import queue
import sys

import pytest

from shmemext import Channel


@pytest.fixture
def channel():
    with Channel(create=True, size=4096) as made:
        yield made
        made.unlink()


@pytest.fixture
def theirs():
    made = multiprocessing.Queue()
    yield made
    made.close()
    made.join_thread()


def test_what_is_put_is_taken_at_once(channel):
    """queue.Queue's is the object itself."""
    ours, mutable = bytearray(b"before"), queue.Queue()
    channel.put(ours)
    mutable.put(ours)
    ours[:] = b"after"
    assert channel.get() == b"before"
    assert mutable.get() is ours


def test_what_cannot_be_sent_is_told_to_who_sends_it(
    channel, theirs, monkeypatch
):
    """multiprocessing.Queue's thread prints it, when put() has returned."""
    told = []
    monkeypatch.setattr(
        multiprocessing.queues.Queue,
        "_on_queue_feeder_error",
        staticmethod(lambda error, item: told.append(type(error))),
    )
    assert theirs.put(lambda: None) is None
    theirs.put(b"next")
    assert theirs.get(timeout=60) == b"next"
    assert len(told) == 1
    with pytest.raises(TypeError):
        channel.put(lambda: None)


def test_it_may_be_pickled_at_any_time(channel, theirs):
    with pytest.raises(TypeError):
        pickle.dumps(queue.Queue())
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(theirs)
    with pickle.loads(pickle.dumps(channel)) as other:
        other.put(b"x")
    assert channel.get() == b"x"


def test_closed_is_for_both_sides(channel):
    theirs = multiprocessing.Queue()
    for made in theirs, channel:
        made.close()
        for call in made.get, lambda made=made: made.put(b"x"):
            with pytest.raises(ValueError, match="closed"):
                call()
    assert not hasattr(queue.Queue, "close")


def test_shutdown_throws_nothing_away(channel):
    assert not hasattr(multiprocessing.Queue(), "shutdown")
    if sys.version_info >= (3, 13):
        made = queue.Queue()
        made.put(b"x")
        made.shutdown(immediate=True)
        assert made.empty()
    channel.put(b"x")
    with pytest.raises(TypeError):
        channel.shutdown(immediate=True)
    channel.shutdown()
    assert channel.get() == b"x"


def test_longer_one_is_full_before_it_says_so(channel):
    channel.put(bytes(2000))
    channel.put(bytes(1000))
    assert not channel.full()
    with pytest.raises(queue.Full):
        channel.put_nowait(bytes(2000))
    made = queue.Queue(1)
    made.put(b"x")
    assert made.full()


@pytest.mark.parametrize(
    "name", ["task_done", "join", "join_thread", "cancel_join_thread"]
)
def test_what_a_channel_has_not(name):
    theirs = queue.Queue, multiprocessing.queues.JoinableQueue
    assert any(hasattr(each, name) for each in theirs)
    assert not hasattr(Channel, name)


def test_what_only_a_channel_has(theirs):
    ours = "put_many get_many reserve receive messages peers __aiter__"
    for name in ours.split():
        assert hasattr(Channel, name)
        assert not hasattr(queue.Queue, name)
        assert not hasattr(theirs, name)


def test_sizes_are_bytes(channel, theirs):
    assert inspect.signature(queue.Queue).parameters["maxsize"].default == 0
    assert channel.size == 4096
    for _ in range(1000):
        theirs.put(b"x" * 100)
    for _ in range(1000):
        theirs.get(timeout=60)
    with pytest.raises(queue.Full):
        for _ in range(1000):
            channel.put_nowait(b"x" * 100)
