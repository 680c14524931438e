# SPDX-License-Identifier: MIT
"""A Channel as an object: subclasses, circles, and what it is before
__init__()."""

import copy
import gc
import pickle
import weakref

import pytest

import shmemext
from shmemext import channels
from shmemext.channels import Channel


class Named(Channel):
    def __init__(self, label):
        super().__init__(create=True, size=5000)
        self.label = label


def test_subclass_has_an_init_of_its_own():
    with Named("tiles") as channel:
        assert channel.label == "tiles" and channel.size == 8192
        channel.put(b"x")
        assert channel.get() == b"x"
        channel.unlink()


def test_before_init():
    channel = Channel.__new__(Channel)
    assert repr(channel) == "Channel()"
    for call in (
        channel.get,
        lambda: channel.put(b""),
        channel.unlink,
        channel.__reduce__,
        lambda: channel.name,
        lambda: channel.size,
        channel.__enter__,
    ):
        with pytest.raises(ValueError):
            call()
    channel.close()


def test_init_again_is_another_channel(channel, name):
    channel.put(b"x")
    first = channel.name
    with Channel(first) as other:
        channel.__init__(name, create=True, size=4096)
        assert channel.name == name and channel.empty()
        assert other.get() == b"x"
        channel.unlink()
        channel.__init__(first)


def test_weak_reference_and_circle(name):
    channel = Channel(name, create=True, size=4096, lifetime="users")

    class Derived(Channel):
        pass

    circle = Derived(name)
    circle.me = circle
    dead = weakref.ref(channel), weakref.ref(circle)
    del channel, circle
    gc.collect()
    assert [ref() for ref in dead] == [None, None]
    with pytest.raises(FileNotFoundError):
        Channel(name)


def test_names_at_top_level():
    assert shmemext.Channel is Channel
    assert Channel.__module__ == "shmemext.channels"
    for name in channels.__all__:
        assert getattr(channels, name)
    for cls in channels.Message, channels.Reservation:
        with pytest.raises(TypeError):
            cls()


def test_copies_are_the_same_channel(channel):
    for copied in copy.copy(channel), copy.deepcopy(channel):
        assert copied is not channel and copied.name == channel.name
        copied.put(b"x")
        assert channel.get_nowait() == b"x"
        copied.close()
        channel.put(b"y")
        assert channel.get_nowait() == b"y"


def test_copy_of_a_closed_one_is_refused(channel):
    with Channel(channel.name) as other:
        pass
    with pytest.raises(ValueError, match="closed"):
        copy.copy(other)
    with pickle.loads(pickle.dumps(other)) as again:
        channel.put(b"x")
        assert again.get_nowait() == b"x"
