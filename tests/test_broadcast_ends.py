# SPDX-License-Identifier: MIT
"""Who writes a broadcast, and the ends of its objects and of its names."""

import errno
import gc
import pickle
import threading
import weakref

import pytest
from broadcasts import PATIENCE, controls, held, received
from conftest import DEV_SHM
from waiters import wait_until_asleep

from shmemext import SharedMemory
from shmemext.channels import Broadcast

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
    waiting = threading.Thread(
        target=lambda: got.append(received(reader, PATIENCE))
    )
    waiting.start()
    wait_until_asleep(waiting)
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
