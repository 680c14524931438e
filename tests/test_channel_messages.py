# SPDX-License-Identifier: MIT
"""Messages that are read in place: receive(), messages()."""

import gc
import queue
import threading

import pytest
from arrays import np
from channel_children import PATIENCE

from shmemext.channels import Channel, Message, ShutDown


def taken(channel):
    """How many messages are in somebody's hand."""
    return channel._look()[2]


def test_received_message_is_a_readonly_buffer(channel):
    channel.put(b"hello")
    with channel.receive() as message:
        assert type(message) is Message
        assert message.deliveries == 1
        assert len(message) == 5
        view = memoryview(message)
        assert view.readonly and view.format == "B" and view == b"hello"
        assert message[0] == ord("h") and message[-1] == ord("o")
        assert message[1:3] == b"el" and bytes(message[::2]) == b"hlo"
        assert bytes(message) == b"hello" == bytes(memoryview(message))
        with pytest.raises(IndexError):
            message[5]
        with pytest.raises(TypeError):
            message["1"]
        with pytest.raises(TypeError):
            message[0] = 1
        with pytest.raises(TypeError):
            view[0] = 1
        assert repr(message) == "<Message: 5 bytes>"
        view.release()
        assert taken(channel) == 1 and channel.empty()
    assert taken(channel) == 0
    assert repr(message) == "<Message: 5 bytes, given back>"


def test_message_is_compared_by_its_bytes(channel):
    """A worker that looks for b"stop" is to find it."""
    channel.put_many([b"stop", b"stop", b"go"])
    first, second, third = [channel.receive() for _ in range(3)]
    assert first == b"stop" and b"stop" == first  # noqa: SIM300
    assert first == bytearray(b"stop") and first == memoryview(b"stop")
    assert first == first and first == second and first != third
    assert (first != second, first == third) == (False, False)
    assert first != b"go" and first != "stop" and first is not None
    assert first in [b"go", b"stop"]
    with pytest.raises(TypeError):
        first < second  # noqa: B015
    with pytest.raises(TypeError, match="unhashable"):
        hash(first)
    with first:
        pass
    assert first == first and first != second and first != b"stop"
    assert first in [first]
    del second, third
    assert taken(channel) == 0 and channel.empty()  # who compares has seen it


def test_message_that_was_given_back(channel):
    channel.put(b"hello")
    with channel.receive() as message:
        pass
    for call in (
        lambda: memoryview(message),
        lambda: message[0],
        message.__enter__,
        lambda: bytes(message),
    ):
        with pytest.raises(ValueError, match="given back"):
            call()
    assert len(message) == 5 and message.deliveries == 1
    message.__exit__(None, None, None)


# What outlives its `with`.
VIEWS = [
    lambda held: memoryview(held),
    lambda held: memoryview(held).cast("Q"),
    lambda held: held[8:16],
    lambda held: memoryview(held)[::2],
    lambda held: np.frombuffer(held, "f8"),
    lambda held: np.asarray(held),
    lambda held: np.ndarray(100, "f8", memoryview(held)),
    lambda held: np.ndarray(100, "f8", held),
    lambda held: np.frombuffer(held, "f8")[::3].reshape(2, 17),
]


@pytest.mark.parametrize("make", VIEWS, ids=range(9))
def test_view_outlives_with_and_is_given_back_at_its_end(channel, make):
    if not np:
        pytest.skip("there is no numpy")
    channel.put(bytes(range(200)) * 4)
    with channel.receive() as message:
        view = make(message)
        before = bytes(memoryview(view).tobytes())
    assert taken(channel) == 1
    channel.put_many([b"\xff" * 800] * 20)
    assert memoryview(view).tobytes() == before
    channel.close()
    with Channel(channel.name) as other:
        assert taken(other) == 1
        del view, message
        assert taken(other) == 0


def test_message_without_with_is_given_back_by_its_death(channel):
    channel.put(b"hello")
    message = channel.receive()
    assert bytes(message) == b"hello"
    assert taken(channel) == 1
    del message
    assert taken(channel) == 0 and channel.empty()


def test_message_nobody_has_seen_is_for_another(channel):
    """Who has only received it has not worked on it."""
    channel.put_many([b"1", b"2"])
    channel.receive()
    assert channel.qsize() == 2
    with channel.receive() as message:
        assert bytes(message) == b"1" and message.deliveries == 2
    assert channel.get() == b"2"


def test_exception_gives_it_back(channel):
    channel.put(b"hello")
    with pytest.raises(ZeroDivisionError), channel.receive():
        1 / 0  # noqa: B018
    assert taken(channel) == 0 and channel.empty()


def test_deliveries_are_counted_to_sixteen(channel):
    channel.put(b"hello")
    seen = []
    for _ in range(20):
        message = channel.receive()
        seen.append(message.deliveries)
        del message
    assert seen == [*range(1, 17), *[16] * 4]
    assert channel.get() == b"hello"


def test_received_ones_end_in_any_order(channel):
    channel.put_many([b"%d" % i for i in range(10)])
    messages = [channel.receive() for _ in range(10)]
    views = [memoryview(message) for message in messages]
    for i in 3, 9, 0, 5:
        views[i].release()
        messages[i].__exit__(None, None, None)
    assert taken(channel) == 6
    assert [bytes(views[i]) for i in (1, 2, 4)] == [b"1", b"2", b"4"]
    del messages, views
    assert taken(channel) == 0


def test_held_message_keeps_the_ring_from_wrapping():
    with Channel(create=True, size=4096) as channel:
        channel.put(bytes(1000))
        with channel.receive() as message:
            with pytest.raises(queue.Full):
                for _ in range(10):
                    channel.put_nowait(bytes(1000))
                    channel.get_nowait()
            assert bytes(message) == bytes(1000)
        for _ in range(10):
            channel.put_nowait(bytes(1000))
            channel.get_nowait()
        channel.unlink()


def test_receive_where_there_is_none(channel):
    for arguments in (False,), (True, 0), (True, 0.001), (True, -1):
        with pytest.raises(queue.Empty):
            channel.receive(*arguments)
    for call in (
        lambda: channel.receive(True, None, 1),
        lambda: channel.receive(nonsense=1),
    ):
        with pytest.raises(TypeError):
            call()


def test_messages(channel):
    channel.put_many([b"%d" % i for i in range(10)])
    channel.shutdown()
    seen = []
    for message in channel.messages():
        with message:
            seen.append(bytes(message))
            assert taken(channel) == 1
    assert seen == [b"%d" % i for i in range(10)]
    assert taken(channel) == 0


def test_messages_without_with(channel):
    channel.put_many([b"%d" % i for i in range(10)])
    channel.shutdown()
    assert [bytes(m) for m in channel.messages()] == [
        b"%d" % i for i in range(10)
    ]
    assert taken(channel) == 0


def test_left_loop_gives_the_last_one_back(channel):
    channel.put_many([b"1", b"2"])
    for message in channel.messages():
        assert bytes(message) == b"1"
        break
    del message
    gc.collect()
    assert taken(channel) == 0
    assert channel.get() == b"2"


def test_end_does_not_wait_for_what_who_asks_has_in_hand(channel):
    """It would wait for ever. What comes back yet is for whoever asks."""
    channel.put(b"x")
    message = channel.receive()
    channel.shutdown()
    # Ours comes back to nobody while we are the ones who ask.
    with pytest.raises(ShutDown):
        channel.get_nowait()
    assert list(channel.messages()) == []
    del message  # nobody has seen it
    assert channel.get_nowait() == b"x"


def test_message_that_was_looped_over_keeps_nobody_from_writing():
    """With two readers it would wait for the next one with the last in hand,
    while all that come after it are the other's, until there is no room."""
    with Channel(create=True, size=4096) as channel:
        channel.put_many([bytes(500)] * 2)
        here = iter(channel.messages())
        message = next(here)
        channel.get()
        channel.shutdown()
        assert list(here) == []
        assert taken(channel) == 0
        with pytest.raises(ValueError, match="given back"):
            bytes(message)
        channel.unlink()


def test_message_that_was_only_counted_does_not_come_again(channel):
    channel.put_many([b"1", b"2"])
    channel.shutdown()
    assert sum(1 for _ in channel.messages()) == 2


def test_views_may_die_in_other_threads():
    """The memory has room for all of them: each reader keeps one."""
    channel = Channel(create=True, size=1 << 19)
    count, errors = 400, []

    def write():
        for i in range(count):
            with channel.reserve(64 * 8) as view:
                np.frombuffer(view, "u8")[:] = i
        channel.shutdown()

    def read():
        last = None
        for message in channel.messages():
            with message:
                array = np.frombuffer(message, "u8")
            if len(set(array.tolist())) != 1:
                errors.append(array.copy())
            last = array
        del last

    threads = [threading.Thread(target=f) for f in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == [] and taken(channel) == 0
    channel.unlink()
    channel.close()
