# SPDX-License-Identifier: MIT
"""Messages that are written in place: reserve()."""

import gc
import queue
import sys
from contextlib import ExitStack

import pytest
from arrays import np
from channel_children import PATIENCE

from shmemext.channels import Channel, Reservation


def test_reserved_message_is_sent_at_the_end(channel):
    with channel.reserve(5) as view:
        assert type(view) is memoryview and not view.readonly
        assert (view.nbytes, view.format, view.itemsize) == (5, "B", 1)
        view[:] = b"hello"
        with pytest.raises(queue.Empty):
            channel.get_nowait()
        assert channel.empty()
    assert channel.get() == b"hello"
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_reserved_message_keeps_its_place(channel):
    with channel.reserve(1) as view:
        channel.put(b"2")
        with pytest.raises(queue.Empty):
            channel.get_nowait()
        view[:] = b"1"
    assert channel.get_many() == [b"1", b"2"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_drops_it(channel, error):
    with pytest.raises(error), channel.reserve(5) as view:
        channel.put(b"next")
        view[:] = b"hello"
        raise error
    assert channel.get_nowait() == b"next"
    assert channel.empty() and channel.qsize() == 0


def test_dropped_one_is_room_again():
    with Channel(create=True, size=4096) as channel:
        for _ in range(50):
            with pytest.raises(ZeroDivisionError), channel.reserve(2000):
                1 / 0  # noqa: B018
            channel.reserve(2000)
            with channel.reserve(2000, timeout=0):
                pass
            assert len(channel.get_nowait()) == 2000
        channel.unlink()


def test_never_entered_is_dropped(channel):
    reservation = channel.reserve(5)
    assert type(reservation) is Reservation
    channel.put(b"next")
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    del reservation
    assert channel.get_nowait() == b"next"


def test_entered_and_forgotten_is_dropped(channel):
    reservation = channel.reserve(5)
    view = reservation.__enter__()
    del reservation
    view[:] = b"hello"
    gc.collect()
    channel.put(b"next")
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    view.release()
    del view
    gc.collect()
    assert channel.get_nowait() == b"next"


def test_circle_of_a_reservation_and_its_view_is_none(channel):
    """It would keep all readers waiting until the process ends."""
    channel.reserve(5).__enter__()
    channel.put(b"next")
    assert channel.get_nowait() == b"next"


def test_with_that_has_no_view_sends_what_is_there(channel):
    with channel.reserve(5):
        pass
    assert len(channel.get_nowait()) == 5


def test_reserve_of_nothing(channel):
    with channel.reserve(0) as view:
        assert len(view) == 0
    assert channel.get_nowait() == b""


def test_reserve_again_after_the_end(channel):
    reservation = channel.reserve(3)
    with reservation as view:
        view[:] = b"abc"
    with pytest.raises(ValueError, match="another"):
        reservation.__enter__()
    with pytest.raises(ValueError, match="another"):
        memoryview(reservation)
    reservation.__exit__(None, None, None)
    assert channel.get_many() == [b"abc"]


def test_array_that_outlives_its_reservation(channel):
    with channel.reserve(800) as view:
        array = np.frombuffer(view, "f8")
        array[:] = 1.5
    message = channel.receive()
    assert np.frombuffer(message, "f8").sum() == 150
    assert array.sum() == 150  # as it says: its reader's
    del message, array


def test_child_view_that_outlives_its_reservation(channel):
    with channel.reserve(8) as view:
        inner = view.cast("Q")
        inner[0] = 7
    assert channel.get() == (7).to_bytes(8, sys.byteorder)
    inner.release()


@pytest.mark.parametrize("wrong", ["1", None, 1.5, b"1"], ids=repr)
def test_reserve_of_no_number(channel, wrong):
    with pytest.raises(TypeError):
        channel.reserve(wrong)


def test_reserve_of_a_wrong_number(channel):
    with pytest.raises(ValueError, match="negative"):
        channel.reserve(-1)
    with pytest.raises(OverflowError):
        channel.reserve(1 << 80)
    for call in (
        lambda: channel.reserve(),
        lambda: channel.reserve(1, True, None, 1),
        lambda: channel.reserve(1, nonsense=1),
    ):
        with pytest.raises(TypeError):
            call()


def test_reserve_where_there_is_no_room():
    with Channel(create=True, size=4096) as channel:
        channel.put(bytes(2000))
        channel.put(bytes(2000))
        for arguments in (False,), (True, 0), (True, 0.001):
            with pytest.raises(queue.Full):
                channel.reserve(2000, *arguments)
        channel.get()
        with channel.reserve(2000, timeout=PATIENCE):
            pass
        channel.unlink()


def test_reserved_before_the_end_is_sent_after_it(channel):
    with channel.reserve(1) as view:
        view[:] = b"x"
        channel.shutdown()
        with pytest.raises(queue.Empty):
            channel.get_nowait()
    assert list(channel) == [b"x"]


def test_reservation_outlives_close(channel):
    with Channel(channel.name) as other:
        with channel.reserve(3) as view:
            channel.close()
            view[:] = b"abc"
        assert other.get() == b"abc"


def test_reservations_end_in_any_order(channel):
    first, second = channel.reserve(1), channel.reserve(1)
    with ExitStack() as stack:
        stack.enter_context(first)[:] = b"1"
        with second as view:
            view[:] = b"2"
        with pytest.raises(queue.Empty):
            channel.get_nowait()
    assert channel.get_many() == [b"1", b"2"]
