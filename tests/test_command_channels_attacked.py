# SPDX-License-Identifier: MIT
"""shmemext channels, where names go meanwhile, and strangers write what they
like."""

import os
import struct

import pytest
from conftest import DEV_SHM

from shmemext import Broadcast, Channel, _heads
from shmemext._traffic import look


def opened(name):
    return os.open(DEV_SHM / name, os.O_RDONLY)


def looked_at(file, open_control=opened):
    try:
        return look(file, open_control)
    finally:
        os.close(file)


def test_broadcast_that_is_unlinked_meanwhile_is_none():
    """And not damaged, though what controls it cannot be found."""
    with Broadcast(create=True, size=100) as cast:

        def open_late(name):
            cast.unlink()
            return opened(name)

        file = opened(cast.name)
        assert looked_at(file, open_late) is None


def test_broadcast_whose_control_was_removed_is_damaged():
    with Broadcast(create=True, size=100) as cast:

        def open_late(name):
            (DEV_SHM / name).unlink()
            return opened(name)

        assert looked_at(opened(cast.name), open_late).state == "damaged"
        cast.unlink()


@pytest.mark.parametrize("kind", [os.mkdir, os.mkfifo, None])
def test_broadcast_whose_control_is_something_else(kind):
    """Nobody waits for it."""
    with Broadcast(create=True, size=100) as cast:
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

        found = looked_at(opened(cast.name), open_late)
        assert found.state == "damaged"
        (control,) = controls
        control.rmdir() if kind is os.mkdir else control.unlink()
        cast.unlink()


def test_channel_that_is_cut_short_meanwhile_is_damaged():
    with Channel(create=True, size=1 << 16) as channel:
        channel.put_many([b"x" * 100] * 100)
        file = opened(channel.name)
        os.truncate(DEV_SHM / channel.name, 4096 + 50)
        assert looked_at(file).state == "damaged"
        channel.unlink()


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
    found = looked_at(os.open(path, os.O_RDONLY))
    assert (found.state, found.in_hand, found.in_dead_hands) == ("open", 2, 2)
    assert (found.messages, found.members) == (0, 0)
