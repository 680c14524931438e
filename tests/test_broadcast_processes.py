# SPDX-License-Identifier: MIT
"""Broadcasts between processes: who is killed, and who may do what."""

import errno
import os
import queue

import broadcast_children as children
import pytest
from broadcasts import SIZE, received
from channel_children import ended, in_a_fork, kill, started, told
from conftest import python

from shmemext.channels import Broadcast

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)


# Who is killed


def test_many_see_what_one_writes(cast):
    readers = [told(children.see_until, cast, 3000) for _ in range(3)]
    for i in range(3000):
        cast.put(bytes([i % 256]) * (i % SIZE + 1))
    for reader, ours in readers:
        seen, missed = ours.recv()
        assert seen == sorted(set(seen)) and seen[-1] == 3000
        assert missed == 3000 - seen[0] + 1 - len(seen)
        ended(reader)


def test_dead_writer_is_a_timeout_and_another_goes_on(cast):
    writer, ours = told(children.put_and_stay, cast, [b"1", b"2", b"3"])
    pid = ours.recv()
    assert cast.writer == pid == writer.pid
    with pytest.raises(OSError, match=f"has a writer, process {pid}, ") as it:
        cast.put(b"no")
    assert it.value.errno == errno.EBUSY and it.value.filename == cast.name
    assert received(cast) == (3, b"3")
    kill(writer)
    assert cast.writer is None
    with pytest.raises(queue.Empty):
        cast.receive(0.05)
    with Broadcast(cast.name) as successor:
        successor.put(b"4")
        assert cast.writer == os.getpid()
    assert received(cast) == (4, b"4")
    assert cast.missed == 0


def test_writer_that_ends_is_none(cast):
    ended(started(children.put_and_end, cast, [b"1", b"2"]))
    assert cast.writer is None
    assert received(cast) == (2, b"2")
    cast.put(b"3")
    assert received(cast) == (3, b"3")


def test_frame_of_a_writer_killed_inside_is_none(cast):
    child = started(children.reserve_and_die, cast)
    child.join()
    assert received(cast) == (1, b"whole")
    with pytest.raises(queue.Empty):
        cast.receive(0.05)
    cast.put(b"next")
    assert received(cast) == (2, b"next")


def test_dead_readers_are_forgotten():
    with Broadcast(create=True, size=10, readers=2) as cast:
        for times in range(1, 4):
            cast.put(b"%d" % times)
            pair = [told(children.hold_and_stay, cast) for _ in range(2)]
            for _, ours in pair:
                assert ours.recv() == (times, b"%d" % times)
            with pytest.raises(OSError, match="readers=2"):
                cast.receive(0)
            for child, _ in pair:
                kill(child)
            assert cast._look()[1] == 2
            assert received(cast, 0) == (times, b"%d" % times)
            assert cast._look()[1] == 0
        cast.unlink()


def test_reader_that_ends_with_a_frame_in_hand(cast):
    cast.put(b"x")
    in_a_fork(lambda: children.kept.append(cast.receive(0)))
    frames = [cast.receive(0)]
    for i in range(7):
        cast.put(b"%d" % i)
        frames.append(cast.receive(0))
    del frames


# Machines of their own


def test_who_may_only_read_it_takes_part(two_users):
    writer = """
from shmemext import Broadcast
cast = Broadcast("shmemext-test-ro", create=True, size=10, mode=0o644)
cast.put(b"hello")
print("ready")
    """
    reader = """
import os
from shmemext import Broadcast
with Broadcast("shmemext-test-ro") as cast:
    with cast.receive(60) as frame:
        print(bytes(frame), frame.seq, cast.writer is not None)
        print(cast._look())
    for call in lambda: cast.put(b"no"), cast.reserve:
        try:
            call()
        except PermissionError as error:
            print(error.filename, error.strerror[:26])
    print(cast._look())
    """
    with two_users.running(writer):
        done = two_users.run("-c", reader, user=65534)
    assert done.stdout.splitlines() == [
        "b'hello' 1 True",
        "(1, 1, 0)",
        *["shmemext-test-ro this process may only read it"[:43]] * 2,
        "(1, 0, 0)",
    ]


def test_who_may_not_read_it_does_not(two_users):
    writer = """
from shmemext import Broadcast
cast = Broadcast("shmemext-test-private", create=True, size=10)
print("ready")
    """
    reader = """
from shmemext import Broadcast
for options in {}, {"create": True, "exist_ok": True, "size": 10}:
    try:
        Broadcast("shmemext-test-private", **options)
    except PermissionError as error:
        print("shmemext-test-private" in str(error))
    """
    with two_users.running(writer):
        done = two_users.run("-c", reader, user=65534)
    assert done.stdout == "True\nTrue\n"


def test_keyboard_interrupt_stops_a_wait():
    code = """
import os, signal, threading
from shmemext import Broadcast
cast = Broadcast(create=True, size=10)
try:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    cast.receive()
except KeyboardInterrupt:
    print("stopped", cast._look())
"""
    assert python(code).stdout == "stopped (0, 0, 0)\n"


def test_daemon_that_waits_ends_with_its_parent():
    code = """
import multiprocessing, os, sys
sys.path[:0] = [sys.argv[1]]
import broadcast_children as children
from shmemext import Broadcast
cast = Broadcast(create=True, size=10)
ours, theirs = multiprocessing.Pipe()
child = multiprocessing.Process(
    target=children.wait_for_ever, args=(cast, theirs), daemon=True)
child.start()
assert ours.recv() == "here"
"""
    python(code, os.path.dirname(__file__))  # noqa: PTH120


def test_in_a_subinterpreter():
    python("""
import sys
from shmemext import Broadcast
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
cast = Broadcast(create=True, size=10)
cast.put(b"hello")
other = interpreters.create()
code = f'''
from shmemext import Broadcast
with Broadcast({cast.name!r}) as cast:
    frame = cast.receive()
    assert bytes(frame) == b"hello"
    try:
        cast.put(b"no")
    except OSError:
        pass
    del frame
'''
failed = interpreters.run_string(other, code)
assert failed is None, failed
interpreters.destroy(other)
assert cast._look() == (1, 0, 0)
""")
