# SPDX-License-Identifier: MIT
"""What is refused, by name: what is no channel, or damaged."""

import errno
import os
import pickle
import queue
import re
import struct
import sys

import pytest
from conftest import DEV_SHM

from shmemext import Lock, SharedMemory
from shmemext.channels import Channel


def test_segment_that_is_no_channel(name):
    for content in (bytes(8192), b"x" * 8192):
        shm = SharedMemory(name, create=True, size=8192)
        shm.buf[: len(content)] = content
        for names in {}, {"create": True, "exist_ok": True}:
            with pytest.raises(ValueError, match=f"{name}.*no channel"):
                Channel(name, size=4096, **names)
        shm.close()
        shm.unlink()


def test_lock_or_list_of_that_name(name):
    with SharedMemory(name, create=True, size=8192) as shm:
        lock = Lock(shm)
        with pytest.raises(ValueError, match=f"{name}.*Lock"):
            Channel(name)
        del lock
        shm.unlink()


def test_another_version(channel):
    with SharedMemory(channel.name) as shm:
        shm.buf[3] += 1
        with pytest.raises(ValueError, match="another version"):
            Channel(channel.name)
        shm.buf[3] -= 1
        Channel(channel.name).close()


def test_segment_that_is_too_short_for_what_it_says(channel):
    os.truncate(DEV_SHM / channel.name, 4096)
    with pytest.raises((ValueError, OSError)):
        Channel(channel.name)


NOT_WHOLE = "none, or not all of one"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no channel in it"),
        (b"SX\x01\x01\0\0\0\0", "a Lock of that name"),
        (b"SX\x09\x07\x0c\0\0\0", "another version"),
        (b"SX\x09\x01\x0b\0\0\0", NOT_WHOLE),
        (b"SX\x09\x01\xff\xff\xff\xff", NOT_WHOLE),
        (b"SX\x09\x01\x0e\0\0\0", NOT_WHOLE),
    ],
)
def test_unpickled_where_there_is_something_else_by_now(name, content, words):
    """A name may come again."""
    if sys.byteorder == "big":
        content = content[::-1]
    with Channel(name, create=True, size=4096) as channel:
        pickled = pickle.dumps(channel)
        channel.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)
    with SharedMemory(name, create=True, size=8192) as shm:
        shm.write(content)
        with pytest.raises(ValueError, match=f"Channel.*{name}.*{NOT_WHOLE}"):
            pickle.loads(pickled)
        for names in {}, {"create": True, "exist_ok": True, "size": 4096}:
            with pytest.raises(ValueError, match=f"{name}.*{words}"):
                Channel(name, **names)
        shm.unlink()


def test_memory_that_was_cut_short(channel):
    channel.put(b"x" * 100)
    os.truncate(DEV_SHM / channel.name, 0)
    with pytest.warns(RuntimeWarning):
        with pytest.raises(OSError, match="cut short"):
            channel.get()
        for call in (
            channel.get_nowait,
            channel.qsize,
            lambda: channel.put_nowait(b"x"),
            lambda: channel.put(bytes(3000)),
            lambda: channel.reserve(5),
            channel.receive,
        ):
            with pytest.raises(OSError, match="cut short"):
                call()


POSITIONS = {"tail": 128, "head": 136, "next": 256}
HOSTILE = [1, 8, 16, 1 << 20, 1 << 40, (1 << 64) - 16, (1 << 64) - 1, 1 << 63]


@pytest.mark.parametrize("where", POSITIONS)
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_positions_are_damage(channel, where, value):
    channel.put_many([b"x" * 100] * 3)
    channel.get()
    with SharedMemory(channel.name) as shm:
        struct.pack_into("=Q", shm.buf, POSITIONS[where], value)
    use_damaged(channel)


@pytest.mark.parametrize("offset", [0, 8])
@pytest.mark.parametrize("value", [0, *HOSTILE])
def test_hostile_records_are_damage(channel, offset, value):
    channel.put(b"x" * 100)
    with SharedMemory(channel.name) as shm:
        struct.pack_into("=Q", shm.buf, 4096 + offset, value)
    use_damaged(channel)


def use_damaged(channel):
    """Whatever it says, it is said at once."""
    said = set()
    for call in (
        channel.get_nowait,
        lambda: channel.get(timeout=0.01),
        channel.qsize,
        lambda: channel.put_nowait(b"x"),
        lambda: channel.put(bytes(3000), timeout=0.01),
        lambda: channel.receive(timeout=0.01),
        lambda: channel.get_many(timeout=0.01),
        lambda: channel.full(),
    ):
        try:
            call()
        except (queue.Empty, queue.Full):
            pass
        except OSError as error:
            said.add(error.errno)
            assert re.search("damaged", str(error))
    assert said <= {errno.EBADMSG}


def test_damaged_is_told_by_name(channel):
    channel.put(b"x")
    with SharedMemory(channel.name) as shm:
        shm.buf[4096:4112] = b"\xff" * 16
    with pytest.raises(OSError, match=channel.name) as caught:
        channel.get()
    assert caught.value.errno == errno.EBADMSG
