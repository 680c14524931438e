# SPDX-License-Identifier: MIT
"""What is no broadcast, and what somebody has written into one."""

import errno
import os
import queue
import re
import struct
import time

import pytest
from broadcasts import SIZE, control_of, controls
from conftest import DEV_SHM

from shmemext import Lock, SharedMemory
from shmemext.channels import Broadcast, Channel


def test_segment_that_is_no_broadcast(name):
    for content in (bytes(8192), b"x" * 8192, b"x" * 10):
        shm = SharedMemory(name, create=True, size=len(content))
        shm.buf[: len(content)] = content
        for names in {}, {"create": True, "exist_ok": True, "size": 100}:
            with pytest.raises(ValueError, match=f"{name}.*no broadcast"):
                Broadcast(name, **names)
        assert bytes(shm.buf[: len(content)]) == content
        shm.close()
        shm.unlink()


def test_lock_or_channel_of_that_name(name):
    with SharedMemory(name, create=True, size=8192) as shm:
        lock = Lock(shm)
        with pytest.raises(ValueError, match=f"{name}.*a Lock"):
            Broadcast(name)
        del lock
        shm.unlink()
    with Channel(name, create=True, size=4096) as channel:
        with pytest.raises(ValueError, match=f"{name}.*a Channel"):
            Broadcast(name)
        with pytest.raises(ValueError, match=r"size=4096.*unlink"):
            Channel(name, create=True, exist_ok=True)
        channel.unlink()
    with Broadcast(name, create=True, size=10) as cast:
        with pytest.raises(ValueError, match=f"{name}.*a Broadcast"):
            Channel(name)
        cast.unlink()


def test_another_version(cast):
    with SharedMemory(cast.name) as shm:
        shm.buf[3] += 1
        with pytest.raises(ValueError, match=f"{cast.name}.*another version"):
            Broadcast(cast.name)
        shm.buf[3] -= 1
        Broadcast(cast.name).close()


def test_control_of_another(cast):
    control = control_of(cast.name)
    for at in 0, 8:
        with SharedMemory(control) as shm:
            shm.buf[at] ^= 1
            with pytest.raises(ValueError, match=f"{cast.name}.*unlink"):
                Broadcast(cast.name)
            shm.buf[at] ^= 1
    Broadcast(cast.name).close()


def test_control_that_is_gone(name):
    with Broadcast(name, create=True, size=10):
        control = control_of(name)
        (DEV_SHM / control).unlink()
        with pytest.raises(FileNotFoundError, match=control) as caught:
            Broadcast(name)
        assert name in caught.value.__notes__[0]
        assert "unlink" in caught.value.__notes__[0]
        with pytest.raises(FileNotFoundError):
            Broadcast(name, create=True, exist_ok=True, size=10)
        SharedMemory(name).unlink()
    assert control not in controls()


def test_broadcast_that_is_about_to_go(name, monkeypatch):
    """Who finds the name alone looks again: then it is gone, too."""
    cast = Broadcast(name, create=True, size=10)
    sleep = time.sleep

    def go(seconds):
        if (DEV_SHM / name).exists():
            (DEV_SHM / name).unlink()
        sleep(seconds)

    (DEV_SHM / control_of(name)).unlink()
    monkeypatch.setattr(time, "sleep", go)
    with pytest.raises(FileNotFoundError, match=name):
        Broadcast(name)
    monkeypatch.undo()
    options = {"create": True, "exist_ok": True, "size": 10}
    with Broadcast(name, **options) as other:
        assert other.seq == 0
        other.unlink()
    cast.close()


@pytest.mark.parametrize("which", ["data", "control"])
@pytest.mark.parametrize("size", [0, 1, 64, 300, 4096])
def test_segment_that_is_too_short(cast, which, size):
    name = cast.name if which == "data" else control_of(cast.name)
    if size >= (DEV_SHM / name).stat().st_size:
        return
    os.truncate(DEV_SHM / name, size)
    with pytest.raises((ValueError, OSError)):
        Broadcast(cast.name)


@pytest.mark.parametrize("which", ["data", "control"])
def test_memory_that_was_cut_short(which):
    with Broadcast(create=True, size=SIZE) as cast:
        cast.put(b"x" * 100)
        control = control_of(cast.name)
        os.truncate(DEV_SHM / (cast.name if which == "data" else control), 0)
        with pytest.warns(RuntimeWarning):
            if which == "control":
                with pytest.raises(OSError, match="cut short"):
                    cast.receive(0)
            else:
                with cast.receive(0) as frame:
                    assert bytes(frame) == bytes(100)
            for call in (
                lambda: cast.receive(0),
                lambda: cast.receive(5),
                lambda: cast.put(b"x"),
                lambda: cast.reserve(),
                lambda: cast.seq,
                lambda: cast.writer,
            ):
                with pytest.raises(OSError, match="cut short"):
                    call()
        cast.unlink()


HOSTILE = [1, 8, 1 << 20, 1 << 40, (1 << 64) - 16, (1 << 64) - 1, 1 << 63]
# newest, the entries, lengths, slots; the lock, and the word that is slept on
WHERE = [192, 256, 264, 320, 328, 512, 520, 72, 136]


def use(cast, reader):
    """What is said of one in which somebody has written, as errnos."""
    said = set()
    for call in (
        lambda: reader.receive(0),
        lambda: reader.receive(0.01),
        lambda: cast.put(b"y" * 100),
        lambda: reader.receive(0),
        cast.close,
        lambda: reader.put(b"z"),
        lambda: (reader.seq, reader.missed, reader.writer),
        lambda: reader.receive(0),
    ):
        try:
            got = call()
            assert not got or len(got) <= 100
        except queue.Empty:
            pass
        except OSError as error:
            said.add(error.errno)
            if error.errno == errno.EBADMSG:
                assert re.search("damaged", str(error))
                assert error.filename == reader.name
    return said


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_words_are_damage(where, value):
    with (
        Broadcast(create=True, size=100) as cast,
        Broadcast(cast.name) as reader,
    ):
        for i in range(3):
            cast.put(b"x" * i)
        with SharedMemory(control_of(cast.name)) as shm:
            struct.pack_into("=Q", shm.buf, where, value)
        said = use(cast, reader)
        # A slot may be said to be somebody's, and the lock.
        assert said <= {errno.EBADMSG, errno.EBUSY, errno.ENOBUFS}
        reader.unlink()


def test_damage_is_told(cast):
    cast.put(b"x")
    with SharedMemory(control_of(cast.name)) as shm:
        struct.pack_into("=Q", shm.buf, 256, (1 << 64) - 1)
        struct.pack_into("=Q", shm.buf, 264, (1 << 64) - 1)
    with pytest.raises(OSError, match=cast.name) as caught:
        cast.receive(0)
    assert caught.value.errno == errno.EBADMSG
    with Broadcast(cast.name) as successor:
        cast.close()
        with pytest.raises(OSError) as caught:
            successor.put(b"x")
        assert caught.value.errno == errno.EBADMSG
