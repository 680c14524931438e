# SPDX-License-Identifier: MIT
"""Channels in threads: the same objects, used at once. Without a GIL, and
under ThreadSanitizer, this is where races would show."""

import queue
from contextlib import suppress

import pytest
from test_threads import in_threads, quick_switches

from shmemext.channels import Channel, ShutDown

__all__ = ["quick_switches"]
THREADS = 6
TURNS = 150


def taken(channel):
    return channel._look()[2]


def test_one_channel_is_used_by_all(channel):
    sent, got = [], []

    def put(place):
        for turn in range(TURNS):
            data = b"%d %d" % (place, turn)
            if turn % 3 == 0:
                channel.put(data)
            elif turn % 3 == 1:
                assert channel.put_many([data, b"#" + data]) == 2
                sent.append(b"#" + data)
            else:
                with channel.reserve(len(data)) as view:
                    view[:] = data
            sent.append(data)

    def get(place):
        with suppress(ShutDown):
            while True:
                if place == 0:
                    got.append(channel.get())
                elif place == 1:
                    got.extend(channel.get_many(5))
                else:
                    with channel.receive() as message:
                        got.append(bytes(message))

    def look():
        for _ in range(TURNS):
            assert channel.qsize() >= 0 and channel.peers == 0
            assert channel.empty() in (False, True)
            assert channel.full() in (False, True)
            assert channel.name in repr(channel) and channel.size == 1 << 16

    def write_all():
        in_threads(*[lambda place=i: put(place) for i in range(3)])
        channel.shutdown()

    in_threads(
        write_all, look, *[lambda place=i: get(place) for i in range(3)]
    )
    assert sorted(got) == sorted(sent)
    assert taken(channel) == 0


def test_one_message_is_given_back_once(channel):
    for turn in range(TURNS):
        channel.put(b"%d" % turn)
        message = channel.receive()

        def use(message=message, turn=turn):
            with suppress(ValueError), message:
                view = memoryview(message)
                assert view == b"%d" % turn
                assert message[0] == view[0]
                assert "Message" in repr(message)
                assert message.deliveries == 1
            assert len(message) == len(b"%d" % turn)

        in_threads(*[use] * 3)
        assert taken(channel) == 0 and channel.empty()


def test_one_reservation_is_sent_once(channel):
    for _ in range(TURNS):
        reservation = channel.reserve(3)

        def use(reservation=reservation):
            with suppress(ValueError), reservation as view:
                view[:] = b"abc"

        in_threads(*[use] * 3)
        assert channel.get_many() == [b"abc"]


def test_close_in_the_middle():
    with Channel(create=True, size=1 << 16) as channel:
        for _ in range(TURNS // 5):
            other = Channel(channel.name)

            def use(other=other):
                with pytest.raises(ValueError, match="closed"):
                    while True:
                        other.put(b"x")
                        with suppress(queue.Empty):
                            other.get_nowait()
                        with suppress(queue.Empty):
                            other.receive(False)

            in_threads(use, use, other.close)
        channel.unlink()


def test_views_of_one_message_go_anywhere(channel):
    for _ in range(TURNS):
        channel.put(bytes(100))
        with channel.receive() as message:
            views = [memoryview(message)[i:] for i in range(4)]
        del message
        in_threads(*[view.release for view in views], views.clear)
        assert taken(channel) == 0
