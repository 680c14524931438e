# SPDX-License-Identifier: MIT
"""What of ours wait() does not wait for. What others are refused is in
test_wait.py."""

from multiprocessing import connection

import pytest

from shmemext import SharedMemory, synchronize, wait

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


def test_memory_with_a_descriptor_is_a_file(channel):
    """Which can be read at any time."""
    with SharedMemory(create=True, size=1) as memory:
        for things in [memory], [channel, memory]:
            assert wait(things) == [memory]
        assert connection.wait([memory]) == [memory]
        memory.unlink()
