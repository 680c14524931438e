# SPDX-License-Identifier: MIT
"""Channels between processes, any of whom is killed."""

import os
import queue
import threading
import time

import channel_children as children
import pytest
from channel_children import PATIENCE, ended, kill, started, told
from conftest import python

from shmemext.channels import Channel, ShutDown

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])


def test_message_of_a_killed_reader_is_delivered_again(channel):
    channel.put(b"x")
    for times in range(1, 4):
        child, ours = told(children.take_and_stay, channel)
        assert ours.recv() == (b"x", times)
        with pytest.raises(queue.Empty):
            channel.get_nowait()
        kill(child)
    with channel.receive(timeout=PATIENCE) as message:
        assert (bytes(message), message.deliveries) == (b"x", 4)
    assert channel._look()[4] == 3


@methods
@pytest.mark.parametrize("how", ["return", "exit", "_exit"])
def test_daemon_that_ends_normally_is_in_nobodys_way(channel, method, how):
    """Others live, and get all: what it had in hand too, but if its Python
    has let go of that at its end."""
    channel.put_many([b"1", b"2"])
    child, ours = told(children.take_and_go, channel, how, method=method)
    assert ours.recv() == b"1"
    channel.put(b"3")
    bystander, said = told(children.report, channel)
    assert said.recv()[2] == 2
    ours.send("go")
    ended(child)
    got = [channel.get(timeout=PATIENCE) for _ in range(2)]
    channel.put(b"end")
    while got[-1] != b"end":
        got.append(channel.get(timeout=PATIENCE))
    tidy = method == "spawn" and how != "_exit"
    assert sorted(got) == [b"1"] * (not tidy) + [b"2", b"3", b"end"]
    assert channel.empty() and channel._look()[2] == 0 and channel.peers == 1
    kill(bystander)


def test_cancelled_tasks_in_several_processes_lose_nothing():
    with Channel(create=True, size=4096) as channel:
        readers = [
            told(children.read_in_tasks, channel, i, method=method)
            for i, method in enumerate(["fork", "spawn"])
        ]
        writers = [
            told(children.write_in_tasks, channel, first, 150, first)
            for first in (0, 150)
        ]
        for child, ours in writers:
            assert ours.recv() == "done"
            ended(child)
        channel.shutdown()
        got = []
        for child, ours in readers:
            got += ours.recv()
            ended(child)
        assert sorted(got) == sorted(b"%d" % i * 50 for i in range(300))
        channel.unlink()


def test_reservation_of_a_killed_writer_is_dropped(channel):
    child, ours = told(children.reserve_and_stay, channel, 3000)
    assert ours.recv() == "reserved"
    channel.put(b"next")
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    kill(child)
    assert channel.get(timeout=PATIENCE) == b"next"
    assert channel._look()[3] == 1


def test_who_waits_behind_the_dead_is_woken(channel):
    child, ours = told(children.reserve_and_stay, channel, 3000)
    assert ours.recv() == "reserved"
    channel.put(b"next")
    got = []
    waiting = threading.Thread(target=lambda: got.append(channel.get()))
    waiting.start()
    time.sleep(0.05)
    kill(child)
    waiting.join(PATIENCE)
    assert got == [b"next"]


def test_get_of_one_that_is_killed_is_lost_and_no_other(channel):
    channel.put_many([b"1", b"2"])
    child = started(children.get_and_die, channel)
    child.join()
    assert channel.get(timeout=PATIENCE) == b"2"


@methods
def test_shutdown_wakes_other_processes(channel, method):
    child, ours = told(children.wait_to_get, channel, method=method)
    assert ours.recv() == "here"
    time.sleep(0.02)
    channel.shutdown()
    assert type(ours.recv()) is ShutDown
    ended(child)


def test_end_waits_for_the_message_in_anothers_hand(channel):
    channel.put(b"x")
    child, ours = told(children.take_and_stay, channel)
    assert ours.recv() == (b"x", 1)
    channel.shutdown()
    with pytest.raises(queue.Empty):
        channel.get(timeout=0.05)
    kill(child)
    assert list(channel) == [b"x"]


def test_many_to_many(channel):
    writers = [
        started(children.put_many_numbers, channel, 1000 * i, 1000)
        for i in range(3)
    ]
    readers = [told(children.drain, channel) for _ in range(3)]
    for writer in writers:
        ended(writer)
    channel.shutdown()
    got = [ours.recv() for _, ours in readers]
    numbers = [int.from_bytes(data, "little") for part in got for data in part]
    assert sorted(numbers) == list(range(3000))
    for part in got:
        for i in range(3):
            mine = [
                n
                for n in (int.from_bytes(data, "little") for data in part)
                if n // 1000 == i
            ]
            assert mine == sorted(mine)
    for reader, _ in readers:
        ended(reader)


def test_keyboard_interrupt_stops_a_wait():
    for call in "get()", "receive()", "put(bytes(2000))":
        code = f"""
import os, signal, threading, queue
from shmemext import Channel
channel = Channel(create=True, size=4096)
if "put" in {call!r}:
    channel.put(bytes(2000))
    channel.put(bytes(2000))
try:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    channel.{call}
except KeyboardInterrupt:
    print("stopped")
"""
        assert python(code).stdout == "stopped\n"


def test_daemon_that_waits_ends_with_its_parent():
    code = """
import multiprocessing, os, sys
sys.path[:0] = [sys.argv[1]]
import channel_children as children
from shmemext import Channel
channel = Channel(create=True)
ours, theirs = multiprocessing.Pipe()
child = multiprocessing.Process(
    target=children.wait_for_ever, args=(channel, theirs), daemon=True)
child.start()
assert ours.recv() == "here"
"""
    python(code, os.path.dirname(__file__))  # noqa: PTH120


def test_in_a_subinterpreter():
    python("""
import sys
from shmemext import Channel
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
channel = Channel(create=True)
other = interpreters.create()
code = f'''
from shmemext import Channel
with Channel({channel.name!r}) as channel:
    with channel.reserve(5) as view:
        view[:] = b"hello"
    message = channel.receive()
    assert bytes(message) == b"hello"
    del message
    channel.put(b"back")
'''
failed = interpreters.run_string(other, code)
assert failed is None, failed
interpreters.destroy(other)
assert channel.get_nowait() == b"back"
""")
