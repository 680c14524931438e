# SPDX-License-Identifier: MIT
"""Who the writer of a broadcast is, while that changes."""

import multiprocessing
import time

import pytest
from broadcasts import PATIENCE
from conftest import python

from shmemext import Broadcast

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


def write_and_leave(name, end):
    until = time.monotonic() + 2 * PATIENCE
    with Broadcast(name):  # so that it lives on where it has left
        while not end.is_set() and time.monotonic() < until:
            with Broadcast(name) as cast:
                cast.put(b"x")


def test_writer_that_goes_while_it_is_looked_at():
    """It has a pid, or it is None."""
    context = multiprocessing.get_context("spawn")
    with Broadcast(create=True, size=100) as cast:
        end = context.Event()
        writer = context.Process(
            target=write_and_leave, args=(cast.name, end), daemon=True
        )
        writer.start()
        assert cast.receive(PATIENCE).seq
        seen = {cast.writer for _ in range(5000)}
        until = time.monotonic() + PATIENCE
        while not seen >= {None, writer.pid} and time.monotonic() < until:
            seen.add(cast.writer)
        end.set()
        writer.join()
        cast.unlink()
        assert seen == {None, writer.pid}
        assert cast.writer is None


CAMERA = """
import os, signal, sys
from shmemext import Broadcast
cast = Broadcast(
    sys.argv[1], create=True, size=10, exist_ok=True, lifetime="users"
)
cast.put(b"x")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_camera_that_is_started_again(name):
    """For who has been looking it is the same one."""
    options = {"create": True, "exist_ok": True, "lifetime": "users"}
    with Broadcast(name, size=10, **options) as cast:
        for times in range(1, 4):
            python(CAMERA, name, check=False)
            assert cast.receive(PATIENCE).seq == times
            assert (cast.writer, cast.missed) == (None, 0)
