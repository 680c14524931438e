# SPDX-License-Identifier: MIT
"""Frames: what is written, and what is held."""

import array
import errno
import gc
import queue
import random

import pytest
from arrays import np
from broadcasts import SIZE, held, received
from test_channel_messages import VIEWS

from shmemext.channels import Broadcast, Frame, Reservation

# What is written


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        bytearray(b"abc"),
        memoryview(b"abcdef")[1:4],
        array.array("d", [1.5, -2]),
        bytes(range(250)) * (SIZE // 250),
    ],
    ids=lambda data: f"{type(data).__name__}-{len(data)}",
)
def test_any_buffer_is_put(cast, reader, data):
    cast.put(data)
    assert received(reader) == (1, bytes(data))


def test_large_buffer_is_put():
    data = random.randbytes(1 << 20)
    with Broadcast(create=True, size=1 << 20) as cast:
        cast.put(data)
        assert received(cast) == (1, data)
        cast.unlink()


@pytest.mark.parametrize("data", ["text", 5, None, [1], object()], ids=repr)
def test_what_is_no_buffer_is_not_put(cast, data):
    with pytest.raises(TypeError):
        cast.put(data)
    with pytest.raises(BufferError):
        cast.put(memoryview(b"abcdef")[::2])
    assert (cast.seq, cast.writer) == (0, None)


def test_frame_is_as_long_as_it_was_written(cast, reader):
    with cast.reserve() as view:
        assert type(view) is memoryview and not view.readonly
        assert (view.nbytes, view.format) == (SIZE, "B")
    assert len(received(reader)[1]) == SIZE
    with cast.reserve(3) as view:
        view[:] = b"abc"
    assert received(reader) == (2, b"abc")
    with cast.reserve(0) as view:
        assert view.nbytes == 0
    assert received(reader) == (3, b"")
    with cast.reserve(None) as view:
        assert view.nbytes == SIZE


def test_longer_than_the_longest(cast):
    for call in (
        lambda size: cast.put(bytes(size)),
        lambda size: cast.reserve(size),
    ):
        with pytest.raises(ValueError, match=r"size=10001$"):
            call(SIZE + 1)
    with pytest.raises(OverflowError):
        cast.reserve(1 << 80)
    with pytest.raises(ValueError, match="negative"):
        cast.reserve(-1)
    for wrong in "1", 1.5, b"1":
        with pytest.raises(TypeError):
            cast.reserve(wrong)
    assert (cast.seq, cast.writer) == (0, None)


def test_reserved_frame_is_there_at_the_end(cast, reader):
    cast.put(b"before")
    reservation = cast.reserve(3)
    assert type(reservation) is Reservation
    with reservation as view:
        view[:] = b"abc"
        assert received(reader) == (1, b"before")
        with pytest.raises(queue.Empty):
            reader.receive(0)
    assert received(reader) == (2, b"abc")
    with pytest.raises(ValueError, match="released"):
        view[0]
    for call in reservation.__enter__, lambda: memoryview(reservation):
        with pytest.raises(ValueError, match=r"frame was sent.*another"):
            call()
    reservation.__exit__(None, None, None)
    assert cast.seq == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_makes_it_no_frame(cast, reader, error):
    with pytest.raises(error), cast.reserve() as view:
        view[:5] = b"wrong"
        raise error
    with pytest.raises(queue.Empty):
        reader.receive(0)
    cast.put(b"right")
    assert received(reader) == (1, b"right")


def test_reservation_that_is_dropped_is_no_frame(cast):
    reservation = cast.reserve()
    view = memoryview(reservation)
    del reservation
    gc.collect()
    with pytest.raises(OSError, match="is being written"):
        cast.put(b"x")
    del view
    gc.collect()
    cast.put(b"x")
    assert cast.seq == 1


def test_one_frame_is_written_at_a_time(cast):
    with cast.reserve() as view:
        for call in cast.reserve, lambda: cast.put(b"x"):
            with pytest.raises(OSError, match="end its reservation") as caught:
                call()
            assert caught.value.errno == errno.EBUSY
            assert caught.value.filename == cast.name
        view[:1] = b"y"
    assert cast.seq == 1


def test_writer_never_waits_whoever_holds_what():
    with (
        Broadcast(create=True, size=8, readers=5, depth=3) as cast,
        Broadcast(cast.name) as reader,
    ):
        frames = []
        for i in range(5):
            cast.put(i.to_bytes(8, "little"))
            frames.append(reader.receive(0))
        for i in range(5, 500):
            cast.put(i.to_bytes(8, "little"))
        for i, frame in enumerate(frames):
            assert bytes(frame) == i.to_bytes(8, "little")
            assert frame.seq == i + 1
        cast.unlink()


@pytest.mark.parametrize("depth", [1, 2, 255])
@pytest.mark.parametrize("readers", [1, 1023])
def test_depths_and_readers(depth, readers):
    with Broadcast(create=True, size=1, readers=readers, depth=depth) as cast:
        assert (cast.depth, cast.readers) == (depth, readers)
        for i in range(600):
            cast.put(bytes([i % 256]))
            assert received(cast) == (i + 1, bytes([i % 256]))
        frames = []
        for i in range(readers):
            cast.put(bytes([i % 256]))
            frames.append(cast.receive(0))
        assert [frame[0] for frame in frames] == [
            i % 256 for i in range(readers)
        ]
        del frames
        cast.unlink()


# What is held


def test_frame_is_a_readonly_buffer(cast, reader):
    cast.put(b"hello")
    with reader.receive() as frame:
        assert type(frame) is Frame
        assert (frame.seq, len(frame)) == (1, 5)
        view = memoryview(frame)
        assert view.readonly and view.format == "B" and view == b"hello"
        assert frame[0] == ord("h") and frame[1:3] == b"el"
        with pytest.raises(IndexError):
            frame[5]
        with pytest.raises(TypeError):
            frame[0] = 1
        with pytest.raises(TypeError):
            view[0] = 1
        assert repr(frame) == "<Frame: 5 bytes>"
        assert not hasattr(frame, "deliveries")
        view.release()
        assert held(cast) == 1
    assert held(cast) == 0
    assert repr(frame) == "<Frame: 5 bytes, given back>"
    for call in (
        lambda: memoryview(frame),
        lambda: frame[0],
        frame.__enter__,
    ):
        with pytest.raises(ValueError, match="frame was given back"):
            call()
    assert (frame.seq, len(frame)) == (1, 5)


@pytest.mark.parametrize("make", VIEWS, ids=range(len(VIEWS)))
def test_view_outlives_with_and_keeps_its_frame(cast, make):
    if not np:
        pytest.skip("there is no numpy")
    reader = Broadcast(cast.name)
    cast.put(bytes(range(200)) * 4)
    with reader.receive() as frame:
        view = make(frame)
        before = memoryview(view).tobytes()
    assert held(cast) == 1
    for i in range(30):
        cast.put(bytes([i]) * 800)
    assert memoryview(view).tobytes() == before
    reader.close()
    assert held(cast) == 1
    cast.put(b"\xff" * 800)
    assert memoryview(view).tobytes() == before
    del view, frame
    assert held(cast) == 0


def test_frame_without_with_is_given_back_by_its_death(cast, reader):
    cast.put(b"hello")
    frame = reader.receive()
    assert bytes(frame) == b"hello" and held(cast) == 1
    del frame
    assert held(cast) == 0


def test_more_are_held_than_was_said():
    with (
        Broadcast(create=True, size=10, readers=3) as cast,
        Broadcast(cast.name) as reader,
    ):
        frames = []
        for i in range(3):
            cast.put(b"%d" % i)
            frames.append(reader.receive(0))
        cast.put(b"3")
        for call in reader.receive, lambda: reader.receive(0):
            with pytest.raises(OSError, match=r"readers=3") as caught:
                call()
            assert caught.value.errno == errno.ENOBUFS
            assert caught.value.filename == cast.name
        cast.put(b"4")  # the writer learns nothing of it
        del frames[1]
        assert received(reader) == (5, b"4")
        assert [bytes(frame) for frame in frames] == [b"0", b"2"]
        del frames
        cast.unlink()


def test_frames_end_in_any_order(cast, reader):
    frames = []
    for i in range(8):
        cast.put(b"%d" % i)
        frames.append(reader.receive())
    views = [memoryview(frame) for frame in frames]
    for i in 3, 7, 0, 5:
        views[i].release()
        frames[i].__exit__(None, None, None)
    assert held(cast) == 4
    for i in range(20):
        cast.put(b"x%d" % i)
    assert [bytes(views[i]) for i in (1, 2, 4, 6)] == [b"1", b"2", b"4", b"6"]
    del frames, views
    assert held(cast) == 0
