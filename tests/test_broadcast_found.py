# SPDX-License-Identifier: MIT
"""Who finds a broadcast, and how it is passed on."""

import os
import pickle
import subprocess
import sys
import time

import broadcast_children as children
import pytest
from broadcasts import PATIENCE, SIZE, control_of, controls, received
from channel_children import ended, told
from conftest import DEV_SHM, python
from machine import wait_until
from test_channel_found import lifetimes, methods

from shmemext import segments
from shmemext.channels import Broadcast

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


@methods
@lifetimes
def test_children_that_are_passed_one(method, lifetime):
    before = controls()
    with Broadcast(create=True, size=SIZE, lifetime=lifetime) as cast:
        cast.put(b"hello")
        child, ours = told(children.report, cast, method=method)
        assert ours.recv() == (cast.name, 1, b"hello", os.getpid())
        assert cast.peers == 1
        ours.send("end")
        ended(child)
        assert cast.peers == 0
        if lifetime == "family":
            cast.unlink()
    wait_until(lambda: controls() == before)


def test_two_strangers_find_it_by_name(name):
    code = """
import sys
from shmemext import Broadcast
with Broadcast(sys.argv[1], timeout=60) as cast:
    assert (cast.size, cast.readers, cast.depth) == (100, 3, 5)
    with cast.receive(60) as frame:
        print(bytes(frame).decode(), frame.seq)
    """
    with subprocess.Popen(
        [sys.executable, "-c", code, name], stdout=subprocess.PIPE, text=True
    ) as stranger:
        time.sleep(0.1)
        with Broadcast(
            name, create=True, size=100, readers=3, depth=5
        ) as cast:
            cast.put(b"hello")
            assert stranger.communicate(timeout=PATIENCE)[0] == "hello 1\n"
            cast.unlink()


def test_name_that_is_not_there(name):
    for options in {}, {"timeout": 0.01}:
        with pytest.raises(FileNotFoundError, match=name):
            Broadcast(name, **options)
    with pytest.raises(ValueError):
        Broadcast()


def test_exist_ok_is_one_for_all(name):
    before = controls()
    options = {"create": True, "exist_ok": True, "size": 100}
    with Broadcast(name, **options) as first:
        first.put(b"x")
        with Broadcast(name, **options) as second:
            assert received(second) == (1, b"x")
        with Broadcast(name, **{**options, "size": 99}) as second:
            assert second.size == 100
        with pytest.raises(FileExistsError):
            Broadcast(name, create=True, size=100)
        for more in {"size": 101}, {"size": 1 << 20}, {"readers": 9}:
            with pytest.raises(
                ValueError, match=r"size=100, readers=8, depth=2.*unlink"
            ):
                Broadcast(name, **{**options, **more})
        with pytest.raises(ValueError, match="depth=2"):
            Broadcast(name, **options, depth=3)
        assert len(controls() - before) == 1
        first.unlink()
    assert controls() == before


def test_many_create_it_at_once(name):
    code = """
import sys
from shmemext import Broadcast
print(flush=True)
sys.stdin.readline()
with Broadcast(sys.argv[1], create=True, exist_ok=True, size=10) as cast:
    print(cast._look()[0], flush=True)
    sys.stdin.readline()
    assert cast.receive(60)[0] == ord("x")
    """
    before = controls()
    creators = [
        subprocess.Popen(
            [sys.executable, "-c", code, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for step in range(2):
        for creator in creators:
            assert creator.stdout.readline()
        if step == 1:
            assert len(controls() - before) == 1
            with Broadcast(name) as cast:
                cast.put(b"x")
        for creator in creators:
            creator.stdin.write("\n")
            creator.stdin.flush()
    for creator in creators:
        creator.communicate(timeout=PATIENCE)
        assert creator.returncode == 0
    wait_until(lambda: controls() == before and not (DEV_SHM / name).exists())


@pytest.mark.parametrize(
    ("mode", "control"),
    [
        (None, 0o600),
        (0o600, 0o600),
        (0o644, 0o666),
        (0o640, 0o660),
        (0o664, 0o666),
        (0o444, 0o666),
    ],
)
def test_who_may_read_it_may_write_who_holds_what(name, mode, control):
    with Broadcast(name, create=True, size=10, mode=mode) as cast:
        bits = [
            (DEV_SHM / each).stat().st_mode & 0o7777
            for each in (name, control_of(name))
        ]
        assert bits == [0o600 if mode is None else mode, control]
        cast.unlink()


def test_names_are_of_the_same_owner(name):
    for options, kind in (
        ({}, "family"),
        ({"lifetime": "users"}, "users"),
        ({"track": False}, "untracked"),
    ):
        with Broadcast(name, create=True, size=10, **options) as cast:
            both = {name, control_of(name)}
            kinds = {s.kind for s in segments() if s.name in both}
            assert kinds == {kind}
            cast.unlink()


def test_users_names_go_together(name):
    before = controls()
    cast = Broadcast(name, create=True, size=10, lifetime="users")
    other = Broadcast(name)
    cast.put(b"x")
    frame = other.receive()
    cast.close()
    other.close()
    assert (DEV_SHM / name).exists() and controls() != before
    del frame  # it was a user yet
    assert controls() == before and not (DEV_SHM / name).exists()


def test_users_names_go_with_one_that_is_killed(name):
    before = controls()
    code = """
import os, signal, sys
from shmemext import Broadcast
cast = Broadcast(sys.argv[1], create=True, size=10, lifetime="users")
cast.put(b"x")
os.kill(os.getpid(), signal.SIGKILL)
    """
    python(code, name, check=False)
    wait_until(lambda: controls() == before and not (DEV_SHM / name).exists())


def test_pickled_by_name(cast):
    copy = pickle.loads(pickle.dumps(cast))
    assert type(copy) is Broadcast and copy.name == cast.name
    cast.put(b"x")
    assert received(copy) == (1, b"x")
    copy.close()


def test_pickled_and_replaced(name):
    """The frames would be another's."""
    with Broadcast(name, create=True, size=10) as cast:
        sent = pickle.dumps(cast)
        cast.unlink()
    with Broadcast(name, create=True, size=10) as cast:
        with pytest.raises(FileNotFoundError):
            pickle.loads(sent)
        cast.unlink()


def test_creator_that_is_killed_between_both_leaves_nothing(name):
    """One of the segments is there, and nobody asks for it."""
    before = controls()
    for lifetime in "family", "users":
        code = f"""
import os, signal, sys
from shmemext import Broadcast, _channels
def die(*args, **kwargs):
    print(*[n for n in os.listdir("/dev/shm") if "shmemext-cast" in n])
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
_channels.place = die
Broadcast(sys.argv[1], create=True, size=10, lifetime={lifetime!r})
        """
        done = python(code, name, check=False)
        assert set(done.stdout.split()) > before
        wait_until(lambda: controls() == before)
        assert not (DEV_SHM / name).exists()


def test_name_of_the_dead_is_free(name):
    code = """
import os, signal, sys
from shmemext import Broadcast
cast = Broadcast(sys.argv[1], create=True, size=10)
cast.put(b"x")
os.kill(os.getpid(), signal.SIGKILL)
    """
    python(code, name, check=False)
    with Broadcast(name, create=True, exist_ok=True, size=20) as cast:
        assert (cast.seq, cast.size) == (0, 20)
        cast.unlink()
