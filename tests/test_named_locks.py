# SPDX-License-Identifier: MIT
"""Lock("gpu"): one lock for all programs that know the name, for as long as
any process has it."""

import contextlib
import errno
import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from machine import NOBODY
from sync_children import (
    acquired,
    count_up,
    file_of,
    hold_for_good,
    there,
    use_given,
)

from shmemext import SharedMemory, _shmemext
from shmemext._named import PREFIX
from shmemext.synchronize import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    OwnerDied,
    RLock,
    RWLock,
    Semaphore,
)

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

HERE = Path(__file__).parent
METHODS = ["fork", "spawn", "forkserver"]
PATIENCE = 10


@pytest.fixture
def called():
    """A name that no other test uses."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    gc.collect()  # what an exception's frames have
    assert wait_until(lambda: not there(name))


class Program:
    """Another program, of a family of its own."""

    def __init__(self, code, *args, **options):
        paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
        before = "import os, sys\nfrom sync_children import *\n"
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", before + code, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            **options,
        )

    def heard(self):
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.communicate("\n")
        assert self.process.returncode == 0

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def program():
    made = []

    def make(code, *args, **options):
        made.append(Program(code, *args, **options))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.kill()
        one.process.stdout.close()
        one.process.stdin.close()


HOLD = """
lock = Lock(sys.argv[1])
say(lock.acquire(timeout=30))
stay()
"""


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


# --- One lock


def test_two_programs_exclude_each_other(called, program):
    lock = Lock(called)
    other = program(HOLD, called)
    assert other.heard() == "True"
    assert not lock.acquire(timeout=0.01)
    assert "alive" in repr(lock)
    other.end()
    with pytest.raises(OwnerDied):  # it ended with the lock held
        lock.acquire()
    with lock.repair():
        pass
    with lock:
        pass


def test_killed_holder_is_told(called, program):
    lock = Lock(called)
    other = program(HOLD, called)
    assert other.heard() == "True"
    other.kill()
    with pytest.raises(OwnerDied) as told:
        lock.acquire()
    assert told.value.pid == other.process.pid
    assert f"Lock('{called}')" in str(told.value)


def test_who_opens_it_later_is_told_too(called, program):
    """As long as anybody has it."""
    lock = Lock(called)
    other = program(HOLD, called)
    assert other.heard() == "True"
    other.kill()
    late = program(
        "lock = Lock(sys.argv[1])\nsay(acquired(lock, 10))\nstay()", called
    )
    assert late.heard() == "OwnerDied"
    late.end()
    del lock


def test_opened_twice_in_one_process_is_one(called):
    one, other = Lock(called), Lock(f"/{called}")
    assert one.acquire()
    assert not other.acquire(block=False)
    other.release()
    assert not one.locked()


@pytest.mark.parametrize(("starters", "times"), [(32, 20), (3, 500)])
def test_racing_starters_have_one_lock(called, starters, times):
    """They open it at the same moment, and count up: nothing is lost, and none
    finds a lock that is half made. Of many there is always one who has it; of
    few often none, so that the name comes and goes."""
    context = multiprocessing.get_context("fork")
    with SharedMemory(create=True, size=8, lifetime="users") as memory:
        start = context.Barrier(starters)

        def race():
            start.wait()
            for _ in range(times):
                lock = Lock(called)
                _, inode, _ = _shmemext._identity(lock.memory)
                assert file_of(called).stat().st_ino == inode
                count_up(lock, memory, 2)
                del lock

        workers = [
            context.Process(daemon=True, target=race) for _ in range(starters)
        ]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
        assert [one.exitcode for one in workers] == [0] * starters
        count = int.from_bytes(memory.buf[:8], "little")
        assert count == starters * times * 2


def test_threads_that_open_and_close_it(called):
    done = []

    def work():
        for _ in range(200):
            with Lock(called):
                done.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(done) == 800


# --- How long it lives


def test_name_goes_with_the_last_object(called):
    one, other = Lock(called), Lock(called)
    del one
    assert there(called)
    del other
    assert not there(called)


def test_name_goes_when_a_program_ends_that_has_it(called, program):
    """Held, and as a global, which nobody lets go of before."""
    other = program(HOLD, called)
    assert other.heard() == "True"
    other.end()
    assert not there(called)


@pytest.mark.parametrize("method", METHODS)
def test_name_goes_with_a_worker_that_ends(called, method):
    """At once: its family lives on, and nobody was killed."""
    context = multiprocessing.get_context(method)
    worker = context.Process(daemon=True, target=hold_for_good, args=(called,))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert not there(called)


def test_name_goes_though_everybody_was_killed(called, program):
    other = program(HOLD, called)
    assert other.heard() == "True"
    other.kill()
    assert wait_until(lambda: not there(called))


def test_forked_child_keeps_it(called):
    """Which has not used it: it is one and the same when the parent has let
    go, and a stranger is kept out."""
    lock = Lock(called)
    inode = file_of(called).stat().st_ino
    ours, theirs = os.pipe()
    back, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        os.read(ours, 1)
        os.write(said, b"1" if lock.acquire(timeout=10) else b"0")
        os.read(ours, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(ours)
    del lock
    try:
        assert file_of(called).stat().st_ino == inode
        os.write(theirs, b"1")
        assert os.read(back, 1) == b"1"
        stranger = Lock(called)
        assert not stranger.acquire(timeout=0.01)
    finally:
        os.close(theirs)
        os.waitpid(pid, 0)
        os.close(back)
        os.close(said)
    assert acquired(stranger, 10) == "OwnerDied"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [Lock, RLock])
def test_child_is_given_it_before_its_parent_lets_go(called, method, kind):
    """The name is not split in two, however late the child begins."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    lock = kind(called)
    inode = file_of(called).stat().st_ino
    child = context.Process(daemon=True, target=use_given, args=(theirs, lock))
    child.start()
    del lock
    assert file_of(called).stat().st_ino == inode
    ours.send(None)
    assert ours.recv() == (inode, True)
    assert not kind(called).acquire(block=False)
    ours.send(None)
    child.join()
    assert child.exitcode == 0


def test_pickle_finds_it_by_name(called):
    lock = Lock(called, on_death="ignore")
    copy = pickle.loads(pickle.dumps(lock))
    assert lock.acquire()
    assert not copy.acquire(block=False)


@pytest.mark.parametrize(
    "make",
    [
        Event,
        Semaphore,
        BoundedSemaphore,
        Condition,
        lambda where: Barrier(2, print, 3, where),
        RWLock,
        lambda where: RWLock(where).read,
        lambda where: Condition(Lock(), where=where),
        lambda where: Condition(where=where).lock,
    ],
)
def test_pickle_finds_all_that_have_a_name(called, make):
    made = make(where=called)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(made, protocol))
        assert type(copy) is type(made)
        assert repr(copy) == repr(made)


def test_pickle_makes_it_where_it_has_gone(called):
    lock = Lock(called, on_death="ignore")
    pickled = pickle.dumps(lock)
    del lock
    assert pickle.loads(pickled).acquire()


# --- What else is called so


def test_segment_of_that_name_is_left_alone(called):
    with SharedMemory(called, create=True, size=100) as segment:
        segment.buf[:] = b"x" * 100
        lock = Lock(called)
        assert lock.acquire()
        lock.release()
        del lock
        assert bytes(segment.buf) == b"x" * 100
        assert SharedMemory(called).size == 100
        segment.unlink()


def foreign(name, content, **options):
    segment = SharedMemory(
        PREFIX + name, create=True, size=len(content), **options
    )
    segment.buf[:] = content
    return segment


@pytest.mark.parametrize("lifetime", ["users", "family"])
@pytest.mark.parametrize("size", [1, 7, 64, 4096])
@pytest.mark.parametrize("byte", [b"\0", b"x"])
def test_what_is_no_lock_is_left_alone(called, lifetime, size, byte):
    segment = foreign(called, size * byte, lifetime=lifetime)
    inode = file_of(called).stat().st_ino
    with pytest.raises(ValueError, match=called) as told:
        Lock(called)
    assert PREFIX + called in str(told.value)
    assert bytes(segment.buf) == size * byte
    assert file_of(called).stat().st_ino == inode
    if lifetime == "family":
        segment.unlink()
    segment.close()


def test_lock_of_another_kind(called):
    lock = RLock(called)
    with pytest.raises(ValueError, match=r"Lock\(.*: .* is a RLock"):
        Lock(called)
    assert lock.acquire()


def test_lock_of_another_version(called):
    segment = foreign(
        called, Lock(called).memory.buf.tobytes(), lifetime="users"
    )
    segment.buf[3] = 77
    with pytest.raises(ValueError, match="another version"):
        Lock(called)
    segment.close()


def test_lock_cut_short(called):
    content = Lock(called).memory.buf.tobytes()[:32]
    segment = foreign(called, content, lifetime="users")
    with pytest.raises(ValueError, match="has 32 bytes, and one takes 64"):
        Lock(called)
    segment.close()


def test_lock_with_another_parameter(called):
    lock = Lock(called)
    with pytest.raises(ValueError, match="on_death"):
        Lock(called, on_death="ignore")
    assert lock.acquire()


def test_segment_that_is_nobodys(called):
    """Which would stay when the last one has let go."""
    content = Lock(called).memory.buf.tobytes()
    segment = foreign(called, content, track=False)
    with pytest.raises(ValueError, match="somebody else's"):
        Lock(called)
    segment.unlink()


@pytest.mark.parametrize("content", [b"", None])
def test_file_that_is_no_memory(called, content):
    if content is None:
        os.mkfifo(file_of(called))
    else:
        file_of(called).write_bytes(content)
    with pytest.raises(ValueError, match="somebody else's"):
        Lock(called)
    assert there(called)
    file_of(called).unlink()


# --- Names and modes


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", OSError),
        ("/", OSError),
        ("a/b", OSError),
        ("a\0b", ValueError),
        ("\udcff", UnicodeEncodeError),
        ("x" * 300, OSError),
        (b"bytes", TypeError),
        (7, TypeError),
    ],
)
def test_names_that_are_none(name, error):
    with pytest.raises(error) as told:
        Lock(name)
    if error is OSError:
        assert told.value.errno in (errno.EINVAL, errno.ENAMETOOLONG)
        assert told.value.filename == name


def test_longest_name(called):
    name = called.ljust(255 - len(PREFIX), "x")
    lock = Lock(name)
    assert there(name)
    del lock
    with pytest.raises(OSError) as told:
        Lock(f"{name}x")
    assert "at most 241 bytes" in told.value.__notes__[-1]


@pytest.mark.parametrize("mode", [None, 0o600, 0o660, 0o666, 0o642])
def test_mode_is_exact(called, mode):
    before = os.umask(0o077)
    try:
        lock = Lock(called) if mode is None else Lock(called, mode=mode)
    finally:
        os.umask(before)
    assert file_of(called).stat().st_mode & 0o7777 == 0o1000 | (mode or 0o600)
    other = Lock(called, mode=0o640)  # it keeps what it has
    assert file_of(called).stat().st_mode & 0o777 == (mode or 0o600)
    assert lock.acquire()
    assert not other.acquire(block=False)


@pytest.mark.parametrize("mode", [0o1600, 0o400, -1, 1 << 20])
def test_modes_that_are_none(called, mode):
    with pytest.raises(ValueError, match="mode"):
        Lock(called, mode=mode)


def test_lock_of_another_user(two_users, called):
    """Only who would share his own takes another's."""
    code = (
        "import sys; from shmemext.synchronize import Lock\n"
        "lock = Lock(sys.argv[1], mode=0o666)\n"
    )
    ask = (
        "try: Lock(sys.argv[1])\n"
        "except PermissionError as e: print(e.filename, e.__notes__[0])\n"
    )
    child = subprocess.Popen(
        two_users.command(
            "-c",
            f"{code}print('on', flush=True); sys.stdin.read()",
            called,
            user=NOBODY,
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "on\n"
    done = two_users.run("-c", f"{code}print(lock.acquire())\n{ask}", called)
    child.communicate()
    taken, refused = done.stdout.splitlines()
    assert taken == "True"
    assert refused.startswith(called)
    assert f"of user {NOBODY}" in refused


# --- By hand


def publish(called, content, size):
    return _shmemext._publish(
        content,
        False,
        name=PREFIX + called,
        create=True,
        size=size,
        lifetime="users",
    )


def test_publish_shows_the_content_with_the_name(called):
    """Of a segment that others wait for: none sees zeros."""
    seen = []

    def watch():
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                seen.append(file_of(called).read_bytes()[:4])
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    made = publish(called, b"1234", 1 << 20)
    watcher.join()
    assert seen == [b"1234"]
    assert made.size == 1 << 20
    assert bytes(made.buf[:8]) == b"1234\0\0\0\0"
    made.close()


def test_publish_of_more_than_there_is_room_for(called):
    with pytest.raises(ValueError, match="longer than size"):
        publish(called, b"12345", 4)
