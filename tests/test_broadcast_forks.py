# SPDX-License-Identifier: MIT
"""A child that a fork makes holds what its parent holds, and is not the
writer."""

import os
import queue

import pytest
from broadcasts import received
from channel_children import ended_well, forked, in_a_fork
from conftest import python

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


def test_child_holds_what_its_parent_holds(cast):
    """It is another one: neither gives the other's back."""
    cast.put(b"hello")
    frame = cast.receive()
    told, tell = os.pipe()

    def live():
        os.close(tell)
        os.read(told, 1)
        assert bytes(frame) == b"hello"
        frame.__exit__(None, None, None)
        assert cast._look()[1] == 0

    child = forked(live)
    frame.__exit__(None, None, None)
    assert cast._look()[1] == 1
    for i in range(50):
        cast.put(b"again%d" % i)
    os.close(told)
    os.write(tell, b"x")
    os.close(tell)
    ended_well(child)


def test_child_gives_nothing_of_its_parents_back(cast):
    cast.put(b"hello")
    with cast.receive() as frame:
        in_a_fork(lambda: frame.__exit__(None, None, None))
        in_a_fork(lambda: None)
        for i in range(50):
            cast.put(b"again%d" % i)
        assert bytes(frame) == b"hello"
        assert cast._look()[2] == 0
    assert received(cast, 0)[0] == 51
    taken = []
    for i in range(8):  # those of the dead are found when they are needed
        cast.put(b"%d" % i)
        taken.append(cast.receive(0))
    del taken


def test_child_is_not_the_writer(cast):
    cast.put(b"1")

    def write():
        with pytest.raises(OSError, match=f"process {os.getppid()}, "):
            cast.put(b"no")
        cast.close()

    in_a_fork(write)
    assert cast.writer == os.getpid()
    cast.put(b"2")
    assert received(cast) == (2, b"2")


def test_child_publishes_nothing_of_its_parents(cast):
    reservation = cast.reserve(5)

    def end():
        reservation.__exit__(None, None, None)
        assert cast.seq == 0
        with pytest.raises(OSError, match="has a writer"):
            cast.put(b"no")

    with reservation as view:
        view[:] = b"hello"
        in_a_fork(end)
        with pytest.raises(queue.Empty):
            cast.receive(0.05)
        view[:] = b"HELLO"
    assert received(cast) == (1, b"HELLO")


def test_child_goes_on_where_its_parent_has_died(name):
    code = """
import os, signal, sys, time
from shmemext import Broadcast
cast = Broadcast(sys.argv[1], create=True, size=10)
cast.put(b"1")
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.01)
    assert cast.writer is None
    cast.put(b"2")
    with cast.receive(0) as frame:
        print(frame.seq, bytes(frame).decode(), cast.writer == os.getpid())
    sys.stdout.flush()
    cast.unlink()
    os._exit(0)
os.kill(parent, signal.SIGKILL)
    """
    done = python(code, name, check=False)
    assert done.stdout == "2 2 True\n"
