# SPDX-License-Identifier: MIT
"""What another user of the machine can do, and cannot: SECURITY.md says it.

The other one is nobody, the tests are root's; what belongs to the two is in a
/dev/shm of their own."""

import signal
import time

import pytest
from arrays import needed_by
from machine import NOBODY, wait_until

NAME = "shmemext-test-theirs"
USED = 1 << 61  # the byte that who uses a segment locks, as in os.h
TOKENS = 1 << 29  # and as many behind it say who lives

ALL_KINDS = """
import pickle
import shmemext
from shmemext import Broadcast, Channel, Lock, Queue, SharedMemory
memory = SharedMemory("m", create=True, size=100)
users = SharedMemory("u", create=True, size=100, lifetime="users")
lock, channel = Lock("l"), Channel("c", create=True)
cast = Broadcast("b", create=True, size=100)
queues = Queue(), Queue(name="q", create=True)
shmemext.dumps(pickle.PickleBuffer(bytearray(1 << 17)))  # makes a pool
print("ready")
"""

# All that is there: what it is, and what comes of looking into it.
LOOK = """
import os, stat
for entry in sorted(os.scandir("/dev/shm"), key=lambda entry: entry.name):
    status = entry.stat(follow_symlinks=False)
    look = os.listdir if entry.is_dir() else open
    try:
        look(entry.path)
        seen = "seen"
    except PermissionError:
        seen = "refused"
    kind = "directory" if entry.is_dir() else entry.name.partition(".")[0]
    print(kind, oct(stat.S_IMODE(status.st_mode) & 0o777), seen)
"""


def test_nothing_is_anothers_unless_it_is_asked_for(private, two_users):
    """Of whichever kind, whatever the umask: and a family's directory, with
    its lock and its ledgers, is nobody else's ever."""
    with private.running(f"import os; os.umask(0)\n{ALL_KINDS}"):
        there = private.run("-c", LOOK, user=NOBODY).stdout.splitlines()
    ordinary = {"m", "u", "c", "b", "q"}
    prefixes = {"shmemext-sync", "shmemext-cast", "shmemext-queue"}
    expected = {f"{one} 0o600 refused" for one in ordinary | prefixes}
    assert set(there) == expected | {
        "directory 0o700 refused",
        "shmemext-pool 0o600 refused",
    }


MAKES = f"""
import os, sys
from shmemext import SharedMemory
shm = SharedMemory("{NAME}", create=True, size=100, mode=int(sys.argv[1], 8))
shm.buf[64:69] = b"hello"
print("ready")
"""

# What comes of each call, and of the segment.
TRIES = f"""
import os, sys
from shmemext import SharedMemory
readonly = sys.argv[1] == "readonly"
path = "/dev/shm/{NAME}"
shm = SharedMemory("{NAME}", readonly=readonly)
def refused(call, *errors):
    try:
        call()
    except errors:
        return
    raise AssertionError(call)
if readonly:
    refused(lambda: SharedMemory("{NAME}"), PermissionError)
    refused(lambda: os.truncate(path, 0), PermissionError)
    refused(lambda: shm.grow(10000), TypeError, PermissionError)
    refused(lambda: shm.write(b"x"), TypeError)
else:
    shm.buf[64:69] = b"HELLO"
refused(lambda: os.chmod(path, 0o666), PermissionError)
refused(lambda: os.rename(path, path + "2"), PermissionError)
refused(shm.unlink, PermissionError)
print(bytes(SharedMemory("{NAME}", readonly=True).buf[64:69]))
"""


@pytest.mark.parametrize(
    "mode, how, left",
    [
        ("644", "readonly", "b'hello'\n"),
        ("666", "writable", "b'HELLO'\n"),
    ],
)
def test_who_may_open_it_has_no_more_than_the_mode_gives(
    two_users, mode, how, left
):
    with two_users.running(MAKES, mode) as (_, said):
        assert said == ["ready"]
        assert two_users.run("-c", TRIES, how, user=NOBODY).stdout == left
        assert two_users.has(NAME)


# --- what is found under a name

CALLS = {
    "Channel": "shmemext.Channel({name!r}, create=True, {option})",
    "Broadcast": "shmemext.Broadcast({name!r}, True, 100, {option})",
    "Queue": "shmemext.Queue(name={name!r}, create=True, {option})",
    "arrays": "arrays.create({name!r}, 10, {option})",
}


@pytest.mark.parametrize("kind", CALLS)
def test_what_another_user_made_is_not_taken(two_users, kind):
    """Where it would be made if it were not there: so it is of segments, and
    of locks by name."""
    before = "import shmemext\n"
    if kind == "arrays":
        before = "import numpy\nfrom shmemext import arrays\n"
        needed_by(before)
    make, take = (
        CALLS[kind].format(name=NAME, option=option)
        for option in ("mode=0o666", "exist_ok=True")
    )
    theirs = f"{before}made = {make}\nprint('ready')\n"
    ours = (
        f"{before}try: {take}\n"
        "except PermissionError as error: print(*error.__notes__)\n"
    )
    with two_users.running(theirs, user=NOBODY) as (_, said):
        assert said == ["ready"]
        assert f"user {NOBODY}" in two_users.run("-c", ours).stdout


# --- what a reader may lock

LOCKS = f"""
import fcntl, os, struct, sys
start, length = map(int, sys.argv[1:])
fd = os.open("/dev/shm/{NAME}", os.O_RDONLY)
def lock(how):
    what = struct.pack("hhqqi4x", how, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, what)
lock(fcntl.F_RDLCK)
fcntl.flock(fd, fcntl.LOCK_EX)
try:
    lock(fcntl.F_WRLCK)
except OSError:
    print("locked for reading")
"""

USES = f"""
from shmemext import Lock, SharedMemory
shm = SharedMemory("{NAME}")
with Lock(shm):
    shm.buf[64:69] = b"world"
shm.grow(10000)
SharedMemory("{NAME}", readonly=True).close()
print(bytes(SharedMemory("{NAME}").buf[64:69]), shm.size)
"""


def test_reader_who_locks_the_bytes_stands_in_nobodys_way(two_users):
    with (
        two_users.running(MAKES, "644"),
        two_users.running(LOCKS, 0, 10000, user=NOBODY) as (_, said),
    ):
        assert said == ["locked", "for", "reading"]
        done = two_users.run("-c", USES)
    assert done.stdout == "b'world' 10000\n"


def test_reader_may_keep_the_name_of_what_goes_with_users(private, two_users):
    """As one who uses it would, which is what it says by that lock."""
    makes = MAKES.replace("mode=", "lifetime='users', mode=")
    with two_users.running(makes, "644") as (owner, said):
        assert said == ["ready"]
        with two_users.running(LOCKS, USED, 1, user=NOBODY) as (_, said):
            assert said == ["locked", "for", "reading"]
            owner.communicate()
            time.sleep(1.5)  # the attendant looks once a second
            assert two_users.has(NAME)
        wait_until(lambda: not two_users.has(NAME))


STEPS = f"""
import sys
from shmemext import Lock, OwnerDied, SharedMemory
lock = Lock(SharedMemory("{NAME}"))
print(lock.acquire(False), flush=True)
for line in sys.stdin:
    try:
        print(lock.acquire(timeout=0.5), flush=True)
    except OwnerDied:
        print("told", flush=True)
    if line == "last\\n":
        break
"""

COMES_LATER = f"""
import errno
from shmemext import Lock, SharedMemory
shm = SharedMemory("{NAME}")
shm.buf[64:69] = b"world"
try:
    Lock(shm).acquire(False)
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_reader_may_have_the_dead_look_alive(two_users):
    """Who had used locks there goes on, by time-outs; who comes later is told
    that somebody has locked what he needs; all is well when the reader ends.
    """

    def ask(child, word):
        child.stdin.write(f"{word}\n")
        child.stdin.flush()
        return child.stdout.readline().strip()

    with (
        two_users.running(MAKES, "644"),
        two_users.running(STEPS) as (holder, first),
        two_users.running(STEPS) as (waiter, second),
    ):
        assert (first, second) == (["True"], ["False"])
        with two_users.running(LOCKS, USED + 1, TOKENS, user=NOBODY):
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            assert ask(waiter, "next") == "False"
            assert two_users.run("-c", COMES_LATER).stdout == "EBUSY\n"
        wait_until(lambda: ask(waiter, "next") == "told")
        waiter.communicate("last\n")
