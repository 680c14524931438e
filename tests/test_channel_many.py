# SPDX-License-Identifier: MIT
"""Several messages at once: put_many() and get_many()."""

import queue
import random
import threading
from contextlib import suppress

import pytest
from waiters import wait_until_asleep

from shmemext.channels import Channel, ShutDown


def test_many(channel):
    sent = [bytes([i]) * i for i in range(100)]
    assert channel.put_many(sent) == 100
    assert channel.qsize() == 100
    assert channel.get_many(1) == sent[:1]
    assert channel.get_many(50) == sent[1:51]
    assert channel.get_many() == sent[51:]
    with pytest.raises(queue.Empty):
        channel.get_many(block=False)
    with pytest.raises(queue.Empty):
        channel.get_many(5, False)
    with pytest.raises(queue.Empty):
        channel.get_many(5, True, 0.001)


def test_many_takes_any_iterable(channel):
    assert channel.put_many(iter([b"a", bytearray(b"b")])) == 2
    assert channel.put_many(b"" for _ in range(3)) == 3
    assert channel.put_many([]) == 0
    assert channel.get_many() == [b"a", b"b", b"", b"", b""]
    for wrong in 5, None:
        with pytest.raises(TypeError):
            channel.put_many(wrong)
    with pytest.raises(ZeroDivisionError):
        channel.put_many(1 // i for i in (1, 0))
    assert channel.empty()


def test_many_takes_a_thousand_of_itself(channel):
    assert channel.put_many([b"x"] * 2000) == 2000
    assert len(channel.get_many()) == 1000
    assert len(channel.get_many(10**6)) == 1000
    for wrong in 0, -1:
        with pytest.raises(ValueError, match="max"):
            channel.get_many(wrong)
    for wrong in 1.5, "1", None:
        with pytest.raises(TypeError):
            channel.get_many(wrong)


def test_many_that_do_not_fit_are_some(full):
    with pytest.raises(queue.Full):
        full.put_many([b"x"], block=False)
    taken = full.get_many(5)
    sent = full.put_many([bytes(100)] * 10, block=False)
    assert 1 <= sent <= 5
    with suppress(queue.Full):
        assert full.put_many([b""] * 9, timeout=0.001) <= 9
    with pytest.raises(queue.Full):
        full.put_many([bytes(500)], timeout=0.001)
    assert len(taken) == 5


def test_many_that_wait_for_room_are_all_sent():
    with Channel(create=True, size=4096) as channel:
        got = []
        reader = threading.Thread(
            target=lambda: got.extend(channel.get() for _ in range(500))
        )
        reader.start()
        sent = [random.randbytes(i % 300) for i in range(500)]
        assert channel.put_many(sent) == 500
        reader.join()
        assert got == sent
        channel.unlink()


def test_many_that_are_shut_down_say_how_many():
    """Who has sent some is told; who has sent none is told why."""
    with Channel(create=True, size=4096) as channel:
        done = []
        writer = threading.Thread(
            target=lambda: done.append(channel.put_many([bytes(1000)] * 9))
        )
        writer.start()
        wait_until_asleep(writer)
        channel.shutdown()
        writer.join()
        assert done == [len(list(channel))]
        with pytest.raises(ShutDown):
            channel.put_many([b"x"])
        channel.unlink()
