# SPDX-License-Identifier: MIT
"""Broadcast: arguments, exceptions, and frames among objects of a process."""

import array
import asyncio
import errno
import gc
import inspect
import math
import pickle
import queue
import random
import threading
import time
import weakref
from contextlib import ExitStack

import pytest
from arrays import np
from conftest import DEV_SHM
from test_channel_messages import VIEWS

import shmemext
from shmemext import SharedMemory, channels
from shmemext.channels import Broadcast, Frame, Reservation

PATIENCE = 60
SIZE = 10_000


@pytest.fixture
def cast():
    with Broadcast(create=True, size=SIZE) as made:
        yield made
        made.unlink()


@pytest.fixture
def reader(cast):
    with Broadcast(cast.name) as made:
        yield made


def held(cast):
    """How many frames are in somebody's hand."""
    return cast._look()[1]


def received(cast, timeout=0):
    with cast.receive(timeout) as frame:
        return frame.seq, bytes(frame)


def controls():
    return {path.name for path in DEV_SHM.glob("shmemext-cast.*")}


# The newest frame


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


# Who writes


def test_who_writes_is_the_writer_until_it_is_closed(cast, reader):
    assert cast.writer is None
    cast.put(b"1")
    with pytest.raises(
        OSError, match="another Broadcast of this process"
    ) as caught:
        reader.put(b"no")
    assert caught.value.errno == errno.EBUSY
    assert caught.value.filename == cast.name
    with Broadcast(cast.name) as other:
        assert isinstance(other.writer, int)
        cast.close()
        assert other.writer is None
        other.put(b"2")
        assert other.seq == 2
        with pytest.raises(OSError, match="has a writer"):
            reader.put(b"no")
    reader.put(b"3")
    assert received(reader) == (3, b"3")


def test_writer_that_is_forgotten_is_none(cast, reader):
    with Broadcast(cast.name) as other:
        other.put(b"x")
    other = Broadcast(cast.name)
    other.put(b"x")
    del other
    gc.collect()
    assert reader.writer is None
    reader.put(b"y")
    assert reader.seq == 3


def test_close_with_a_frame_half_written(cast, reader):
    """It is written to its end; then another one may write."""
    with cast.reserve(3) as view:
        cast.close()
        with pytest.raises(OSError, match="has a writer"):
            reader.put(b"no")
        view[:] = b"abc"
    assert received(reader) == (1, b"abc")
    reader.put(b"next")
    assert received(reader) == (2, b"next")


def test_close_while_what_was_received_is_held(cast, reader):
    cast.put(b"abc")
    frame = cast.receive()
    cast.close()
    reader.put(b"next")
    assert bytes(frame) == b"abc"
    del frame
    assert held(reader) == 0


# Ends


def test_closed(cast):
    cast.close()
    cast.close()
    for call in (
        lambda: cast.put(b"x"),
        lambda: cast.reserve(),
        lambda: cast.receive(0),
        lambda: cast.peers,
        lambda: cast.size,
        lambda: cast.seq,
        lambda: cast.missed,
        lambda: cast.writer,
        cast.__enter__,
    ):
        with pytest.raises(ValueError, match="the broadcast is closed"):
            call()
    assert repr(cast) == f"<Broadcast({cast.name!r}), closed>"


def test_close_leaves_who_waits_alone(cast, reader):
    got = []
    waiting = threading.Thread(target=lambda: got.append(received(reader, 9)))
    waiting.start()
    time.sleep(0.03)
    reader.close()
    cast.put(b"x")
    waiting.join(PATIENCE)
    assert got == [(1, b"x")]


def test_unlink_removes_both_names(name):
    before = controls()
    with (
        Broadcast(name, create=True, size=10) as cast,
        Broadcast(name) as reader,
    ):
        assert len(controls() - before) == 1
        cast.unlink()
        assert controls() == before and not (DEV_SHM / name).exists()
        with pytest.raises(FileNotFoundError):
            reader.unlink()
        with pytest.raises(FileNotFoundError):
            Broadcast(name)
        frames = []
        for i in range(8):  # with blocks that were never touched before
            cast.put(b"%d" % i)
            frames.append(reader.receive(0))
        assert [bytes(frame) for frame in frames] == [
            b"%d" % i for i in range(8)
        ]
        del frames


def test_unlink_of_a_name_that_is_gone_removes_the_other(name):
    before = controls()
    with Broadcast(name, create=True, size=10) as cast:
        (DEV_SHM / name).unlink()
        assert controls() != before
        with pytest.raises(FileNotFoundError, match=name):
            cast.unlink()
        assert controls() == before


def test_never_opened():
    cast = Broadcast.__new__(Broadcast)
    for call in (
        lambda: cast.name,
        cast.unlink,
        lambda: pickle.dumps(cast),
    ):
        with pytest.raises(ValueError, match="never opened"):
            call()
    with pytest.raises(ValueError, match="closed"):
        cast.put(b"x")
    assert cast.close() is None
    assert repr(cast) == "Broadcast()"


class Camera(Broadcast):
    """Module level, to be pickled."""

    frames = 0

    def put(self, data):
        self.frames += 1
        super().put(data)


def test_subclass():
    with Camera(create=True, size=10) as camera:
        camera.put(b"x")
        copy = pickle.loads(pickle.dumps(camera))
        assert type(copy) is Camera and copy.frames == 0
        assert camera.frames == 1 and received(copy) == (1, b"x")
        copy.close()
        camera.unlink()


def test_circle_is_collected(cast):
    class Own(Broadcast):
        pass

    own = Own(cast.name)
    own.put(b"x")
    own.itself = own
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert gone() is None and cast.writer is None


def test_init_again_lets_go_of_the_first(cast):
    with Broadcast(create=True, size=10) as second:
        own = Broadcast(cast.name)
        own.put(b"x")
        own.__init__(second.name)
        assert cast.writer is None and own.name == second.name
        own.put(b"y")
        assert second.seq == 1
        own.close()
        second.unlink()


def test_rebuild_of_what_is_none(cast):
    for wrong in (5, 5), (), (5,):
        with pytest.raises(TypeError):
            Broadcast._rebuild(*wrong)
    with SharedMemory(create=True, size=4096) as shm:
        with pytest.raises(ValueError, match="unlink"):
            Broadcast._rebuild(shm, shm)
        shm.unlink()


# Threads and tasks


def test_threads_of_one_reader_have_each_frame_once(cast, reader):
    seen, errors = [], []

    def read():
        while True:
            try:
                with reader.receive(0.5) as frame:
                    data = bytes(frame)
                    number = int.from_bytes(data[:8], "little")
                    if number == 0:
                        return
                    if data != data[:8] * (len(data) // 8):
                        errors.append(data)
                    seen.append(number)
            except queue.Empty:
                return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(1, 1500):
        cast.put(i.to_bytes(8, "little") * (i % 1000 + 1))
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == [] and held(cast) == 0
    assert len(seen) == len(set(seen)) > 0
    assert max(seen) == 1499
    assert reader.missed + len(seen) == 1499 - min(seen) + 1


def test_threads_of_one_writer_write_one_after_the_other(cast):
    done = []

    def write():
        for _ in range(300):
            try:
                cast.put(b"x")
                done.append(1)
            except OSError as error:
                assert error.errno == errno.EBUSY

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert cast.seq == len(done) >= 300


def test_frames_are_whole(cast):
    """One quick reader, and one that keeps arrays for long."""
    stop, errors = threading.Event(), []

    def read(kept):
        with Broadcast(cast.name) as reader, ExitStack() as stack:
            last = []
            while not stop.is_set():
                try:
                    frame = stack.enter_context(reader.receive(0.05))
                except queue.Empty:
                    continue
                last.append(memoryview(frame))
                errors.extend(1 for view in last if len(set(view)) > 1)
                if len(last) > kept:
                    last.pop(0).release()
                    stack.close()

    threads = [threading.Thread(target=read, args=(n,)) for n in (0, 2)]
    for thread in threads:
        thread.start()
    for i in range(2000):
        cast.put(bytes([i % 256]) * 5000)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []


def test_tasks(cast, reader):
    async def main():
        waiting = asyncio.create_task(reader.receive_async())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        cast.put(b"x")
        with await waiting as frame:
            assert (frame.seq, bytes(frame)) == (1, b"x")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.receive_async(), 0.01)
        reader.close()
        with pytest.raises(ValueError, match="closed"):
            await reader.receive_async()

    asyncio.run(main())


def test_task_that_is_cancelled_has_received_nothing(cast, reader):
    async def main():
        waiting = [
            asyncio.create_task(reader.receive_async()) for _ in range(20)
        ]
        await asyncio.sleep(0.02)
        for task in waiting:
            task.cancel()
        cast.put(b"x")
        await asyncio.wait(waiting)
        return [task.result() for task in waiting if not task.cancelled()]

    assert asyncio.run(main()) == []
    assert held(cast) == 0
    assert received(reader) == (1, b"x")


def test_tasks_of_one_reader_have_each_frame_once(cast, reader):
    async def main():
        seen = []

        async def read():
            with await reader.receive_async() as frame:
                seen.append(frame.seq)

        tasks = [asyncio.create_task(read()) for _ in range(10)]
        while len(seen) < 10:
            cast.put(b"x")
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        return seen

    seen = asyncio.run(main())
    assert seen == sorted(set(seen))


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
    ({"size": 1 << 62}, ValueError),
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
