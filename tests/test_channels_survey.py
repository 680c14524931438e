# SPDX-License-Identifier: MIT
"""What is seen of channels and broadcasts that go while they are looked at,
that cannot be looked at, or where strangers write what they like."""

import errno
import os
import struct
from contextlib import suppress

import pytest
from conftest import DEV_SHM, descriptors

from shmemext import Broadcast, Channel, _heads, _traffic

SIZE = 4096


def opened(name):
    return os.open(DEV_SHM / name, os.O_RDONLY)


@pytest.fixture
def cast():
    with Broadcast(create=True, size=100) as made:
        made.put(b"x")
        yield made
        with suppress(FileNotFoundError):
            made.unlink()


@pytest.fixture
def channel():
    with Channel(create=True, size=SIZE) as made:
        made.put(b"x")
        yield made
        made.unlink()


def seen(name, open_control=opened):
    before = descriptors()
    file = opened(name)
    try:
        return _traffic.look(file, open_control)
    finally:
        os.close(file)
        assert descriptors() <= before


def test_broadcast_that_goes_meanwhile_is_none(cast):
    """Its name goes first, and what controls it then."""

    def go_first(name):
        cast.unlink()
        return opened(name)

    assert seen(cast.name).state == "written"
    assert seen(cast.name, go_first) is None


def test_broadcast_without_what_controls_it_is_damaged(cast):
    def lose(name):
        (DEV_SHM / name).unlink()
        return opened(name)

    assert seen(cast.name, lose).state == "damaged"


@pytest.mark.parametrize("kind", [os.mkdir, os.mkfifo, None])
def test_broadcast_whose_control_is_something_else(kind, cast):
    """Nobody waits for it."""
    controls = []

    def open_late(name):
        path = DEV_SHM / name
        controls.append(path)
        path.unlink()
        if kind is None:
            path.symlink_to("/dev/zero")
        else:
            kind(path)
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)

    assert seen(cast.name, open_late).state == "damaged"
    (control,) = controls
    control.rmdir() if kind is os.mkdir else control.unlink()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_want_of_descriptors_is_no_damage(cast, code):
    def fail(name):
        raise OSError(code, os.strerror(code), name)

    with pytest.raises(OSError) as caught:
        seen(cast.name, fail)
    assert caught.value.errno == code


@pytest.mark.parametrize("call", ["pread", "fstat"])
@pytest.mark.parametrize("noun", ["channel", "cast"])
def test_each_call_that_fails_is_an_error_or_no_more_than_damage(
    call, noun, request, monkeypatch
):
    made = request.getfixturevalue(noun)
    real = getattr(os, call)
    calls, k = 1, 0
    while k < calls:
        calls = 0

        def fail(*args, at=k):
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                found = seen(made.name)
            except OSError as error:
                assert error.errno == errno.EIO
            else:
                states = "open", "written", "idle", "damaged"
                assert found is None or found.state in states
        k += 1
    assert k > 0


@pytest.mark.parametrize("fails", [False, True])
def test_channel_that_is_never_still_is_not_damaged(
    fails, channel, monkeypatch
):
    """What was read of it may be of two moments, each time."""
    count = _traffic._Ring._count

    def count_meanwhile(self, head, capacity):
        counted = count(self, head, capacity)
        for _ in range(SIZE // 32):  # comes round once
            channel.put(b"y"), channel.get()
        if fails:
            raise _traffic.Damaged
        return counted

    monkeypatch.setattr(_traffic._Ring, "_count", count_meanwhile)
    found = seen(channel.name)
    assert found.state == "open"
    assert found.messages == (None if fails else 1)
    assert found.in_hand == (None if fails else 0)


def test_channel_that_is_cut_short_is_damaged(channel):
    channel.put_many([b"x" * 100] * 10)
    os.truncate(DEV_SHM / channel.name, 4096 + 50)
    assert seen(channel.name).state == "damaged"


TAKEN, KEPT = 3, 5


@pytest.mark.parametrize("token", [0, 1, (1 << 29) - 1])
@pytest.mark.parametrize("state", [TAKEN, KEPT])
def test_message_in_the_hand_of_nobody(state, token, tmp_path):
    """Or of whom a stranger has made up."""
    number = _heads.MAGIC | 9 << 16 | _heads.VERSION << 24 | 12 << 32
    content = bytearray(8192)
    struct.pack_into("=Q", content, 0, number)
    struct.pack_into("=Q", content, 128, 64)
    struct.pack_into("=Q", content, 256, 64)
    for at in 4096, 4128:
        struct.pack_into("=QQ", content, at, state << 61 | token << 28 | 2, 9)
    path = tmp_path / "made-up"
    path.write_bytes(content)
    found = seen(path)  # which is not in /dev/shm
    assert (found.state, found.in_hand, found.in_dead_hands) == ("open", 2, 2)
    assert (found.messages, found.members) == (0, 0)
