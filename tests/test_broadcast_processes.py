# SPDX-License-Identifier: MIT
"""Broadcasts between processes: who finds them, who of them is killed, and
what is refused."""

import errno
import os
import pickle
import queue
import re
import struct
import subprocess
import sys
import time

import broadcast_children as children
import pytest
from channel_children import ended, kill, started, told
from conftest import DEV_SHM, python
from test_channel_forks import in_a_fork
from test_channel_found import lifetimes, methods

from shmemext import Lock, SharedMemory, segments
from shmemext._broadcasts import control_name
from shmemext.channels import Broadcast, Channel

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
PATIENCE = 60
SIZE = 10_000


@pytest.fixture
def cast():
    with Broadcast(create=True, size=SIZE) as made:
        yield made
        made.unlink()


def control_of(name):
    return control_name((DEV_SHM / name).read_bytes()[:64])


def controls():
    return {path.name for path in DEV_SHM.glob("shmemext-cast.*")}


def until(condition):
    """Waits for what comes within a second or two."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def received(cast, timeout=PATIENCE):
    with cast.receive(timeout) as frame:
        return frame.seq, bytes(frame)


# Who finds it


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
    until(lambda: controls() == before)


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
    until(lambda: controls() == before and not (DEV_SHM / name).exists())


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
    until(lambda: controls() == before and not (DEV_SHM / name).exists())


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
        until(lambda: controls() == before)
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


# Forks


def test_child_holds_what_its_parent_holds(cast):
    """It is another one: neither gives the other's back."""
    cast.put(b"hello")
    frame = cast.receive()
    ours, theirs = os.pipe(), os.pipe()

    def live():
        os.read(theirs[0], 1)
        assert bytes(frame) == b"hello"
        frame.__exit__(None, None, None)
        assert cast._look()[1] == 0
        os.write(ours[1], b"x")

    child = os.fork()
    if child == 0:
        status = 1
        try:
            live()
            status = 0
        finally:
            os._exit(status)
    frame.__exit__(None, None, None)
    assert cast._look()[1] == 1
    for i in range(50):
        cast.put(b"again%d" % i)
    os.write(theirs[1], b"x")
    os.read(ours[0], 1)
    assert os.waitpid(child, 0)[1] == 0
    for each in (*ours, *theirs):
        os.close(each)


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


# What is refused, by name


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


def test_full_dev_shm_is_told_to_the_writer(private):
    """When the frame is to be written, and not by SIGBUS; and when there is
    room again it goes on."""
    code = """
import errno, os
from shmemext import Broadcast, SharedMemory
room = os.statvfs("/dev/shm")
size = room.f_bavail * room.f_frsize // 4
cast = Broadcast("shmemext-test-full", create=True, size=size, readers=20)
reader = Broadcast("shmemext-test-full")
frames = []
try:
    for i in range(20):
        with cast.reserve() as view:
            view[:3] = b"%03d" % i
        frames.append(reader.receive(0))
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    assert error.filename == "shmemext-test-full" and "room" in str(error)
else:
    raise AssertionError(size)
assert 1 < len(frames) < 5
assert cast.seq == len(frames)
frames.clear()
for i in range(5):
    cast.put(b"again")
with reader.receive(0) as frame:
    assert bytes(frame) == b"again"
cast.unlink()
    """
    small = private.within("mount -t tmpfs -o size=4m tmpfs /dev/shm")
    small.run("-c", code)


def test_keyboard_interrupt_stops_a_wait():
    code = """
import os, signal, threading
from shmemext import Broadcast
cast = Broadcast(create=True, size=10)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
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
