# SPDX-License-Identifier: MIT
"""Broadcast: arguments, exceptions, and the newest frame among objects of a
process."""

import inspect
import math
import queue
import sys
import time

import pytest
from broadcasts import controls, received
from conftest import DEV_SHM

import shmemext
from shmemext import channels
from shmemext.channels import Broadcast, Frame, Reservation


def test_newest_frame_is_received(cast, reader):
    assert cast.put(b"one") is None
    assert received(reader) == (1, b"one")
    cast.put(b"two")
    cast.put(b"three")
    assert received(reader) == (3, b"three")
    assert reader.missed == 1
    for i in range(10):
        cast.put(b"%d" % i)
    assert received(reader) == (13, b"9")
    assert (reader.seq, reader.missed) == (13, 10)


def test_frame_is_received_once(cast, reader):
    cast.put(b"x")
    assert received(reader) == (1, b"x")
    for arguments in (0,), (0.001,), (-1,):
        with pytest.raises(queue.Empty):
            reader.receive(*arguments)
    with pytest.raises(queue.Empty):
        reader.receive(timeout=0.001)
    cast.put(b"y")
    assert received(reader) == (2, b"y")
    assert reader.missed == 0


def test_each_object_is_a_reader(cast, reader):
    with Broadcast(cast.name) as other:
        cast.put(b"x")
        assert received(other) == received(reader) == received(cast)
        cast.put(b"y")
        cast.put(b"z")
        assert received(other) == (3, b"z")
        assert (other.missed, reader.missed) == (1, 0)


def test_late_reader_has_the_newest_and_missed_none(cast):
    for i in range(5):
        cast.put(b"%d" % i)
    with Broadcast(cast.name) as late:
        assert received(late) == (5, b"4")
        assert late.missed == 0


def test_nothing_was_written_yet(cast, reader):
    assert (cast.seq, cast.missed, cast.writer) == (0, 0, None)
    with pytest.raises(queue.Empty) as caught:
        reader.receive(0)
    assert caught.value.args == ()


@pytest.mark.parametrize("timeout", ["0", b"0", [], 1j], ids=repr)
def test_timeout_of_a_wrong_type(cast, timeout):
    with pytest.raises(TypeError):
        cast.receive(timeout)


def test_timeouts(cast):
    with pytest.raises(ValueError, match="NaN"):
        cast.receive(math.nan)
    with pytest.raises(OverflowError):
        cast.receive(10**400)
    begin = time.monotonic()
    with pytest.raises(queue.Empty):
        cast.receive(0.1)
    assert time.monotonic() - begin >= 0.1


def test_wrong_calls(cast):
    for call in (
        lambda: cast.put(),
        lambda: cast.put(b"", 1),
        lambda: cast.reserve(1, 2),
        lambda: cast.reserve(nbytes=1),
        lambda: cast.receive(None, 1),
        lambda: cast.receive(nonsense=1),
        lambda: cast.receive(0, timeout=0),
        lambda: cast.receive_async(1),
    ):
        with pytest.raises(TypeError):
            call()
    for name in "name", "size", "readers", "depth", "seq", "missed", "writer":
        with pytest.raises(AttributeError):
            setattr(cast, name, 1)
    assert cast.seq == 0


def test_signatures_and_words():
    for name, value in vars(Broadcast).items():
        if not name.startswith("_"):
            assert value.__doc__, name
        if not name.startswith("_") and callable(value):
            assert inspect.signature(value), name
    parameters = inspect.signature(Broadcast).parameters
    assert parameters["readers"].default == 8
    assert parameters["depth"].default == 2
    assert shmemext.Broadcast is Broadcast is channels.Broadcast
    for kind in Frame, Reservation:
        with pytest.raises(TypeError):
            kind()


# How much it takes


def test_memory_is_taken_as_frames_are_held():
    size = 1 << 20
    with Broadcast(create=True, size=size) as cast:

        def takes():
            return (DEV_SHM / cast.name).stat().st_blocks * 512

        assert takes() < size
        for _ in range(50):
            cast.put(bytes(size))
        assert takes() < 4 * size
        frames = []
        for _ in range(4):
            cast.put(bytes(size))
            frames.append(cast.receive())
        assert takes() < 9 * size
        cast.unlink()


WRONG = [
    ({"size": 0}, ValueError),
    ({"size": -1}, ValueError),
    ({"size": sys.maxsize}, ValueError),
    ({"size": 1 << 70}, OverflowError),
    ({"size": 1.5}, TypeError),
    ({"size": "1"}, TypeError),
    ({"size": None}, TypeError),
    ({"readers": 0}, ValueError),
    ({"readers": -1}, ValueError),
    ({"readers": 1024}, ValueError),
    ({"readers": 1.5}, TypeError),
    ({"depth": 0}, ValueError),
    ({"depth": 256}, ValueError),
    ({"depth": None}, TypeError),
    ({"mode": "x"}, TypeError),
    ({"mode": 0o10000}, ValueError),
    ({"lifetime": "never"}, ValueError),
    ({"timeout": 1}, ValueError),
    ({"nonsense": 1}, TypeError),
    ({"readonly": True}, TypeError),
]


@pytest.mark.parametrize(("arguments", "error"), WRONG, ids=str)
def test_wrong_arguments_leave_nothing(name, arguments, error):
    before = controls()
    with pytest.raises(error):
        Broadcast(name, create=True, **{"size": 10, **arguments})
    assert controls() == before and not (DEV_SHM / name).exists()
