# SPDX-License-Identifier: MIT
"""Channels between processes: who finds them, and who of them is killed."""

import errno
import multiprocessing
import os
import pickle
import queue
import re
import struct
import subprocess
import sys
import threading
import time

import channel_children as children
import pytest
from conftest import DEV_SHM, python

from shmemext import Lock, SharedMemory
from shmemext.channels import Channel, ShutDown

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
PATIENCE = 60
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
lifetimes = pytest.mark.parametrize("lifetime", ["family", "users"])


@pytest.fixture
def channel():
    with Channel(create=True, size=1 << 16) as made:
        yield made
        made.unlink()


def started(function, *arguments, method="fork"):
    context = multiprocessing.get_context(method)
    child = context.Process(target=function, args=arguments, daemon=True)
    child.start()
    return child


def told(function, *arguments, method="fork"):
    """A child that says something by the end of a pipe that it gets."""
    ours, theirs = multiprocessing.get_context(method).Pipe()
    child = started(function, *arguments, theirs, method=method)
    theirs.close()
    return child, ours


def ended(child):
    child.join(PATIENCE)
    assert child.exitcode == 0


def kill(child):
    child.kill()
    child.join()


# Who finds it


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


# What is refused, by name


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


def test_full_dev_shm_is_an_error_at_create(private):
    code = """
import errno, os
from shmemext import Channel
room = os.statvfs("/dev/shm")
size = 1 << (room.f_bavail * room.f_frsize).bit_length()
before = os.listdir("/dev/shm")
try:
    Channel("shmemext-test-full", create=True, size=size)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
else:
    raise AssertionError(size)
assert "shmemext-test-full" not in os.listdir("/dev/shm")
    """
    private.run("-c", code)


def test_file_that_may_only_be_read(two_users):
    two_users.run(
        "-c",
        "from shmemext import Channel\n"
        "Channel('shmemext-test-ro', create=True, mode=0o644, track=False)",
    )
    code = """
from shmemext import Channel
try:
    Channel("shmemext-test-ro")
except PermissionError as error:
    print(error.filename or error)
    """
    done = two_users.run("-c", code, user=65534)
    assert "shmemext-test-ro" in done.stdout


# Who is killed


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


def test_message_of_a_reader_that_ends_is_done(channel):
    channel.put_many([b"1", b"2"])
    child, ours = told(children.take_and_end, channel)
    assert ours.recv() == b"1"
    child.join()
    assert channel.get() in (b"1", b"2")


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
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
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
