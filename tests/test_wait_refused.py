# SPDX-License-Identifier: MIT
"""What wait() does not wait for."""

import threading
from multiprocessing import connection

import pytest

from shmemext import Channel, SharedMemory, synchronize, wait


@pytest.fixture
def channel():
    with Channel(create=True, size=4096) as made:
        yield made
        made.unlink()


OURS = {
    "Lock": lambda: synchronize.Lock(),
    "RLock": lambda: synchronize.RLock(),
    "Semaphore": lambda: synchronize.Semaphore(),
    "BoundedSemaphore": lambda: synchronize.BoundedSemaphore(),
    "Condition": lambda: synchronize.Condition(),
    "Barrier": lambda: synchronize.Barrier(2),
    "RWLock": lambda: synchronize.RWLock(),
    "ReadLock": lambda: synchronize.RWLock().read,
    "Atomic": lambda: synchronize.Atomic(),
    "Derived": lambda: type("Derived", (synchronize.Lock,), {})(),
}


@pytest.mark.parametrize("name", OURS)
def test_what_of_ours_cannot_be_waited_for_is_named(name, channel):
    one = OURS[name]()
    for things in [one], [channel, one], [one, channel]:
        with pytest.raises(TypeError, match=rf"{name}.* Channel.* Event"):
            wait(things, 0)


def test_message_cannot_be_waited_for(channel):
    channel.put(b"x")
    with channel.receive() as message:
        for one in message, channel.reserve(1):
            with pytest.raises(TypeError, match="Channel"):
                wait([one], 0)


STRANGERS = [object(), None, "x", 1.5, threading.Event(), -1]


@pytest.mark.parametrize("one", STRANGERS, ids=repr)
def test_strangers_are_refused_as_multiprocessing_does(one, channel):
    words = []
    for call, things in [
        (connection.wait, [one]),
        (wait, [one]),
        (wait, [channel, one]),
    ]:
        with pytest.raises(ValueError) as caught:
            call(things, 0)
        words.append(str(caught.value))
    assert len(set(words)) == 1


def test_memory_with_a_descriptor_is_a_file(channel):
    """Which can be read at any time."""
    with SharedMemory(create=True, size=1) as memory:
        for things in [memory], [channel, memory]:
            assert wait(things) == [memory]
        assert connection.wait([memory]) == [memory]
        memory.unlink()
