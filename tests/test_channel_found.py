# SPDX-License-Identifier: MIT
"""Who finds a channel, and how it is passed on."""

import pickle
import subprocess
import sys
import time

import channel_children as children
import pytest
from channel_children import PATIENCE, ended, kill, started, told
from conftest import DEV_SHM

from shmemext import SharedMemory
from shmemext.channels import Channel

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
lifetimes = pytest.mark.parametrize("lifetime", ["family", "users"])


@methods
@lifetimes
def test_children_that_are_passed_one(method, lifetime):
    with (
        Channel(create=True, size=1 << 16, lifetime=lifetime) as there,
        Channel(create=True, lifetime=lifetime) as back,
    ):
        child = started(children.echo, there, back, method=method)
        sent = [b"%d" % i * (i % 300) for i in range(500)]
        there.put_many(sent)
        there.shutdown()
        assert [back.get(timeout=PATIENCE) for _ in sent] == sent
        ended(child)
        there.unlink()
        back.unlink()


def test_two_strangers_find_it_by_name(name):
    code = """
import sys
from shmemext import Channel
with Channel(sys.argv[1], timeout=60) as channel:
    assert channel.size == 8192, channel.size
    for data in channel:
        print(data.decode())
    """
    with subprocess.Popen(
        [sys.executable, "-c", code, name], stdout=subprocess.PIPE, text=True
    ) as stranger:
        time.sleep(0.1)
        with Channel(name, create=True, size=8192) as channel:
            channel.put_many([b"a", b"b"])
            channel.shutdown()
            assert stranger.communicate(timeout=PATIENCE)[0] == "a\nb\n"
            channel.unlink()


def test_exist_ok_is_one_for_all(name):
    with Channel(name, create=True, exist_ok=True, size=4096) as first:
        with Channel(name, create=True, exist_ok=True, size=4096) as second:
            first.put(b"x")
            assert second.get() == b"x"
        with pytest.raises(FileExistsError):
            Channel(name, create=True)
        first.unlink()
        with pytest.raises(FileNotFoundError):
            first.unlink()
    for options in {}, {"timeout": 0.01}:
        with pytest.raises(FileNotFoundError):
            Channel(name, **options)


def test_exist_ok_of_another_size_says_what_is_there(name):
    """A channel does not grow, as a segment does."""
    with Channel(name, create=True, size=4096) as channel:
        channel.put(b"x")
        for size in 4097, 1 << 20:
            with pytest.raises(ValueError) as caught:
                Channel(name, create=True, exist_ok=True, size=size)
            text = str(caught.value)
            assert text.startswith(f"Channel({name!r}) exists with size=4096")
            assert "ask for no more, or unlink() it" in text
            assert "grow" not in text
        with Channel(name, create=True, exist_ok=True, size=4096) as same:
            assert same.get_nowait() == b"x"
        channel.unlink()
    with SharedMemory(name, create=True, size=100) as shm:
        with pytest.raises(ValueError, match="no channel in it"):
            Channel(name, create=True, exist_ok=True)
        shm.unlink()


def test_mode(name):
    with Channel(name, create=True, mode=0o640) as channel:
        assert (DEV_SHM / name).stat().st_mode & 0o777 == 0o640
        channel.unlink()


@pytest.mark.parametrize("size", [1, 4096, 5000, 1 << 20, (1 << 20) + 1])
def test_size_is_a_power_of_two(size):
    with Channel(create=True, size=size) as channel:
        assert channel.size >= max(size, 4096)
        assert channel.size & (channel.size - 1) == 0
        assert channel.size < 2 * max(size, 4096)
        channel.unlink()


@pytest.mark.parametrize(
    ("size", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (1 << 62, ValueError),
        (1 << 70, OverflowError),
        (1.5, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_wrong_sizes(name, size, error):
    with pytest.raises(error):
        Channel(name, create=True, size=size)
    assert not (DEV_SHM / name).exists()


def test_wrong_arguments(name):
    for names in {"nonsense": 1}, {"readonly": True}, {"lifetime": "never"}:
        with pytest.raises((TypeError, ValueError)):
            Channel(name, create=True, **names)
    with pytest.raises(TypeError):
        Channel(5)
    assert not (DEV_SHM / name).exists()


def test_pickled_by_name(channel):
    copy = pickle.loads(pickle.dumps(channel))
    assert type(copy) is Channel and copy.name == channel.name
    channel.put(b"x")
    assert copy.get() == b"x"
    copy.close()
    with pytest.raises(TypeError):
        Channel._rebuild(5)


def test_peers_are_other_living_processes(channel):
    assert channel.peers == 0
    with Channel(channel.name):
        assert channel.peers == 0
    child, ours = told(children.report, channel)
    assert ours.recv() == (channel.name, channel.size, 1)
    assert channel.peers == 1
    kill(child)
    assert channel.peers == 0
