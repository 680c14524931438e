# SPDX-License-Identifier: MIT
"""Systems that lack what a create is made of: files without a name, a way to
name them, fallocate(). tests/faults/missing.c stands in for them, and a ramfs
is one.

Everything is said of segments as on any other system: they appear whole, one
of several creates, no byte is lost, and who is killed leaves nothing.
"""

import errno
import fcntl
import os
import struct
import subprocess
import sys
from pathlib import Path

import kinds
import pytest
from conftest import DEV_SHM, python
from family_children import (
    HERE,
    bury,
    has_private_shm,
    some_directory,
    sweep,
    there,
    with_private_shm,
)
from preload import FAULTS, build
from preload import environment as before_libc
from tracing import has_strace, inject

SYSTEMS = {
    "gVisor": "O_TMPFILE=95,fallocate_keep=95",
    "no O_TMPFILE": "O_TMPFILE=21",
    "flags that make no sense": "O_TMPFILE=22",
    "no such call": "O_TMPFILE=38,fallocate=38",
    "a policy": "linkat_empty=1,linkat_proc=1",
    "another policy": "O_TMPFILE=1",
    "no /proc, not root": "linkat_empty=2,procfd=2,linkat_proc=2",
    "no second names": "O_TMPFILE=95,linkat=1",
    "no fallocate": "fallocate=95",
    "nothing": "linkat=1,fallocate=95,statx=38",
}

# What a segment's whole life is, in each way to create one.
LIFE = """
import gc, os, pickle, sys
from pathlib import Path
from shmemext import AnonymousMemory, Lock, ShareableList, SharedMemory
from shmemext import _shmemext
from shmemext.managers import SharedMemoryManager

def live(name=None, **options):
    shm = SharedMemory(name, create=True, size=9999, **options)
    path = Path("/dev/shm", shm.name)
    status = path.stat()
    assert (status.st_size, status.st_nlink) == (9999, 1)
    assert status.st_mode & 0o7777 == options.get("mode", 0o600) | (
        0o1000 if "lifetime" in options else 0
    )
    if options.get("reserve", True):
        assert status.st_blocks * 512 >= 9999
    shm.buf[:5] = b"hello"
    if os.geteuid() != 0 and status.st_mode & 0o600 != 0o600:
        return shm.unlink()  # root alone may open it
    peer = SharedMemory(shm.name, readonly=not status.st_mode & 0o200)
    assert bytes(peer.buf[:5]) == b"hello" and not any(peer.buf[5:])
    if not peer.readonly:
        peer.buf[-1] = 7
        peer.grow(100_000)
        assert (peer.buf[9998], path.stat().st_size) == (7, 100_000)
        assert shm.refresh() and pickle.loads(pickle.dumps(shm)).buf[9998] == 7
    again = dict(options, create=True, size=10, exist_ok=True)
    assert not SharedMemory(shm.name, **again).created
    try:
        SharedMemory(shm.name, create=True, size=10)
    except FileExistsError:
        pass
    else:
        raise AssertionError
    peer.close()
    shm.close() if "lifetime" in options else shm.unlink()
    gc.collect()
    assert not path.exists()

live()
live(sys.argv[1])
live(sys.argv[1], track=False)
live(sys.argv[1], track=True)
live(reserve=False)
live(sys.argv[1], reserve=False, track=False)
live(lifetime="users")
live(mode=0o640)
live(mode=0o400)
live(mode=0o222, track=False)
items = [1, "two", 3.0, None, b"four" * 5000]
made = ShareableList(items)
assert list(ShareableList(name=made.shm.name)) == items
made.shm.unlink()
with SharedMemoryManager() as manager:
    assert manager.SharedMemory(100).size == 100
    assert list(manager.ShareableList(items)) == items
memory = AnonymousMemory(9999)
locks = [Lock(sys.argv[1]), Lock(SharedMemory(create=True, size=64))]
if "procfd" not in os.environ.get("MISSING", ""):  # its file is found there
    memory.grow(100_000)
    locks += [Lock(), Lock(AnonymousMemory(64))]
for lock in locks:
    with lock:
        assert not lock.acquire(False)
del locks, lock
assert not any(memory.buf)
if _shmemext._own():
    left = Path("/dev/shm", f".shmemext-2-{_shmemext._own()}").glob("d*")
    assert not list(left)
print("done")
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build("missing", tmp_path_factory.mktemp("systems"))


@pytest.fixture
def lacking(library):
    """The environment of a process on such a system."""

    def of(missing):
        return {**before_libc(library), **kinds.HERE, "MISSING": missing}

    return of


@pytest.mark.parametrize("system", SYSTEMS)
def test_everything_works(system, lacking, name):
    done = python(LIFE, name, env=lacking(SYSTEMS[system]))
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_ramfs(name):
    """As embedded systems have it: really without fallocate()."""
    command = with_private_shm([sys.executable, "-c", LIFE, name])
    mount = command.index("--propagation") + 4
    assert "tmpfs" in command[mount]
    command[mount] = command[mount].replace("tmpfs", "ramfs")
    if (
        not has_private_shm()
        or subprocess.run(
            [*command[: mount + 1], "mode=1777", "true"], capture_output=True
        ).returncode
    ):
        pytest.skip("a ramfs cannot be mounted here")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_without_a_family_there_is_one_only_where_it_is_needed(lacking, name):
    code = """
import sys
from shmemext import SharedMemory, _shmemext
shm = SharedMemory(sys.argv[1], create=True, size=10, track=False)
print(_shmemext._own() is not None)
shm.unlink()
"""
    assert python(code, name, env=lacking("")).stdout == "False\n"
    assert python(code, name, env=lacking("O_TMPFILE=95")).stdout == "True\n"


WITHOUT_LOCKS = """
import os, sys
from shmemext import SharedMemory
before = set(os.listdir("/dev/shm"))
for track in False, True:
    for reserve in True, False:
        shm = SharedMemory(
            sys.argv[1], create=True, size=5000, track=track, reserve=reserve
        )
        shm.buf[4999] = 7
        peer = SharedMemory(sys.argv[1], track=False)
        peer.grow(200_000)
        assert shm.refresh() and shm.buf[4999] == 7 and not any(shm.buf[5000:])
        assert set(os.listdir("/dev/shm")) - before == {sys.argv[1]}
        shm.unlink()
"""


@pytest.mark.parametrize("missing", ["", ",O_TMPFILE=95", ",linkat_empty=1"])
@pytest.mark.parametrize("space", ["", ",fallocate_keep=95", ",fallocate=38"])
def test_nobodys_needs_no_locks(missing, space, lacking, name):
    """And so no family: gVisor has neither O_TMPFILE nor these."""
    command = [sys.executable, "-c", WITHOUT_LOCKS, name]
    if has_private_shm():
        command = with_private_shm(command)
    done = subprocess.run(
        command,
        env={
            **os.environ,
            **lacking("ofd=22,linkat_proc=1" + missing + space),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


FULL = """
import os, sys
from pathlib import Path
from shmemext import AnonymousMemory, SharedMemory
shm = SharedMemory(sys.argv[1], create=True, size=5000)
shm.buf[:] = b"x" * 5000
path = Path("/dev/shm", shm.name)
for call in (
    lambda: SharedMemory(create=True, size=2 << 20),
    lambda: shm.grow(2 << 20),
):
    before = set(os.listdir("/dev/shm")), path.stat().st_blocks
    try:
        call()
    except OSError as error:
        print(error.errno)
    assert (set(os.listdir("/dev/shm")), path.stat().st_blocks) == before
    assert path.stat().st_size == shm.size == 5000
assert bytes(shm.buf) == b"x" * 5000
with open("/dev/shm/eater", "wb", buffering=0) as file:
    while os.statvfs("/dev/shm").f_bavail:
        file.write(bytes(4096))
shm.grow(8192)  # of the page that it has
shm.unlink()
"""


@pytest.mark.parametrize("system", ["gVisor", "no fallocate", "no such call"])
def test_no_room_changes_nothing(system, lacking, name):
    if not has_private_shm():
        pytest.skip("no right to mount a small /dev/shm")
    done = subprocess.run(
        with_private_shm(
            [sys.executable, "-c", FULL, name], "mode=1777,size=1m"
        ),
        env={**os.environ, **lacking(SYSTEMS[system])},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("28\n28\n", "")


RACE = """
import multiprocessing as mp, os, sys
from shmemext import SharedMemory, _shmemext
name, WORKERS, ROUNDS, SIZE = sys.argv[1], 4, 40, 300_000
path = "/dev/shm/" + name

def work(me, barrier, created, options):
    for attempt in range(ROUNDS):
        barrier.wait(60)
        try:
            shm = SharedMemory(name, create=True, size=SIZE, **options)
        except FileExistsError:
            assert not options.get("exist_ok")
        else:
            assert shm.size == SIZE
            if shm.created:
                created[attempt * WORKERS + me] = 1
                assert not any(shm.buf)
                shm.buf[0] = 1
        barrier.wait(60)
        if created[attempt * WORKERS + me]:
            os.unlink(path)

def watch(end):
    seen = 0
    while not end.value:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        assert (status.st_size, status.st_mode & 0o777) == (SIZE, 0o640)
        seen += 1
    assert seen

context = mp.get_context("fork")
for options in {}, {"exist_ok": True}, {"track": False}:
    options["mode"] = 0o640
    barrier, end = context.Barrier(WORKERS), context.Value("b")
    created = context.Array("b", WORKERS * ROUNDS)
    watcher = context.Process(target=watch, args=(end,))
    watcher.start()
    workers = [
        context.Process(target=work, args=(i, barrier, created, options))
        for i in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    end.value = 1
    watcher.join()
    assert [p.exitcode for p in (watcher, *workers)] == [0] * (WORKERS + 1)
    for attempt in range(ROUNDS):
        assert sum(created[attempt * WORKERS :][:WORKERS]) == 1
"""


@pytest.mark.parametrize("system", ["gVisor", "no such call", "nothing"])
def test_one_of_several_creates_and_it_appears_whole(system, lacking, name):
    done = python(RACE, name, env=lacking(SYSTEMS[system]))
    assert done.stderr == ""


# Each writes every byte of the pieces that are its own, as soon as the memory
# is so long: somebody else may be about to make it longer than before.
GROW = """
import fcntl, multiprocessing as mp, os, sys
import kinds
WORKERS, STEPS, PIECE = 4, 20, 70_001

def work(me, memory, barrier):
    memory = kind.again(memory)
    barrier.wait(60)
    for step in range(STEPS):
        number = step * WORKERS + (me + step) % WORKERS
        size = (number + 1) * PIECE
        if memory.size < size:
            memory.grow(size)
        memory.buf[size - PIECE : size] = bytes([1 + number]) * PIECE

context = mp.get_context("fork")
with kinds.kind_of(sys.argv[1], sys.argv[2]) as kind:
    memory = kind.create(1, reserve=sys.argv[3] != "sparse")
    barrier = context.Barrier(WORKERS)
    if sys.argv[3] == "under a lockf":
        fcntl.lockf(memory.fileno(), fcntl.LOCK_EX)
    workers = [
        context.Process(target=work, args=(me, memory, barrier))
        for me in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    memory.refresh()
    most = WORKERS * STEPS * PIECE
    if sys.argv[3] == "under a lockf":  # nobody could have the lock
        assert memory.size >= most
    else:
        assert memory.size == most
    for number in range(WORKERS * STEPS):
        written = bytes(memory.buf[number * PIECE :][:PIECE])
        assert written == bytes([1 + number]) * PIECE, number
"""


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("how", ["reserved", "sparse", "under a lockf"])
@pytest.mark.parametrize("missing", ["fallocate=38", "fallocate_keep=95"])
def test_grow_at_once_keeps_every_byte(kind, how, missing, lacking, tmp_path):
    python(GROW, kind, tmp_path, how, env=lacking(missing), timeout=120)


LOOKING = """
import os
from pathlib import Path
from shmemext import SharedMemory
shm = SharedMemory(create=True, size=5000)
path = Path("/dev/shm", shm.name)
pid = os.fork()
if pid == 0:
    for attempt in range(50):
        try:
            SharedMemory(shm.name).grow(12 << 20)
        except OSError as error:
            print(error.errno, flush=True)
    os._exit(0)
while not os.waitpid(pid, os.WNOHANG)[0]:
    assert path.stat().st_size == 5000
shm.unlink()
"""


@pytest.mark.parametrize("system", ["gVisor", "no fallocate"])
def test_nobody_sees_a_length_come_and_go(system, lacking):
    """Who looks would use what is there, and lose it."""
    if not has_private_shm():
        pytest.skip("no right to mount a small /dev/shm")
    done = subprocess.run(
        with_private_shm(
            [sys.executable, "-c", LOOKING], "mode=1777,size=10m"
        ),
        env={**os.environ, **lacking(SYSTEMS[system])},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("28\n" * 50, "")


STOPPED = """
import os, signal, subprocess, sys, time
import kinds
SIZE, END = 5000, 64 << 20

def is_growing(pid):
    return kind.stat(memory).st_size > SIZE

with kinds.kind_of(sys.argv[1], sys.argv[2]) as kind:
    memory = kind.create(SIZE)
    memory.buf[:] = b"x" * SIZE
    peer = kind.again(memory)
    pid = os.fork()
    if pid == 0:
        kind.again(memory).grow(END)
        os._exit(0)
    while not is_growing(pid):
        pass
    os.kill(pid, signal.SIGSTOP)
    between = kind.stat(memory).st_size
    if sys.argv[3] == "killed":
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    peer.grow(END + 5000)
    peer.buf[between:] = b"y" * (END + 5000 - between)
    if sys.argv[3] != "killed":
        os.kill(pid, signal.SIGCONT)
        assert os.waitpid(pid, 0)[1] == 0
    assert memory.refresh()
    assert bytes(memory.buf[:SIZE]) == b"x" * SIZE
    assert not any(memory.buf[SIZE:between])
    written = bytes(memory.buf[between : END + 5000])
    assert written == b"y" * (END + 5000 - between)
    # He may have been just about to append some.
    most = 0 if sys.argv[3] == "killed" else 64 << 10
    assert END + 5000 <= memory.size <= END + 5000 + most
    assert not any(memory.buf[END + 5000 :])
"""


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_who_is_gone_in_the_middle_of_a_grow(kind, how, lacking, tmp_path):
    """He leaves a length in between, with its bytes, and nobody waits for him
    for ever."""
    python(STOPPED, kind, tmp_path, how, env=lacking("fallocate=95"))


CUT = """
import errno, os, signal
from shmemext import SharedMemory
shm = SharedMemory(create=True, size=5000)
path = "/dev/shm/" + shm.name
peer = SharedMemory(shm.name)
pid = os.fork()
if pid == 0:
    try:
        SharedMemory(shm.name).grow(40 << 20)
    except OSError as error:
        os._exit(error.errno)
    os._exit(0)
while os.stat(path).st_size == 5000:
    pass
os.kill(pid, signal.SIGSTOP)
peer.grow(30 << 20)
peer.buf[-1] = 7
with open("/dev/shm/eater", "wb") as file:
    file.write(bytes(15 << 20))
os.kill(pid, signal.SIGCONT)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == errno.ENOSPC
assert peer.buf[-1] == 7
shm.unlink()
"""


def test_who_was_stopped_and_fails_takes_nothing_from_others(lacking):
    """They have not waited for him, and are longer by now."""
    if not has_private_shm():
        pytest.skip("no right to mount a small /dev/shm")
    done = subprocess.run(
        with_private_shm([sys.executable, "-c", CUT], "mode=1777,size=50m"),
        env={**os.environ, **lacking("fallocate=95")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_signal_handler_grows_what_is_being_grown(lacking):
    """It does not wait for what it interrupts."""
    code = """
import signal
from contextlib import suppress
from shmemext import SharedMemory
shm = SharedMemory(create=True, size=1)
peer = SharedMemory(shm.name)
wanted = 1

def handle(*_):
    with suppress(ValueError):  # interrupted by the next, who has grown it
        peer.grow(max(wanted, peer.size) + 1)

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for step in range(1, 30):
    wanted = shm.size + 500_000
    shm.grow(wanted)
signal.setitimer(signal.ITIMER_REAL, 0)
shm.unlink()
"""
    assert python(code, env=lacking("fallocate=38")).stderr == ""


# --- Drafts, and what is left of them


@pytest.fixture
def living(lacking):
    """A process whose family lives on, and creates when it is told to."""
    code = """
import sys
from family_children import directory
from shmemext import SharedMemory
print(directory(), flush=True)
for line in sys.stdin:
    with SharedMemory(create=True, size=100) as shm:
        shm.unlink()
    print(flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **lacking("O_TMPFILE=95")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.where = Path(process.stdout.readline().strip())

        def create():
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "\n"

        process.create = create
        yield process
        process.stdin.close()
    assert process.returncode == 0


DRAFT = "d0123456789abcdef"
USED = 1 << 61  # the byte that who uses a segment locks, as in os.h


def lock_use(file):
    lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, USED, 1, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)


def test_next_create_removes_what_the_killed_have_left(living):
    (living.where / DRAFT).write_bytes(b"x" * 5000)
    living.create()
    assert not there(living.where / DRAFT)


@pytest.mark.parametrize("mode", [0, 0o200, 0o400])
def test_one_of_any_mode_is_removed(living, mode):
    (living.where / DRAFT).touch()
    (living.where / DRAFT).chmod(mode)
    living.create()
    assert not there(living.where / DRAFT)


def test_draft_that_somebody_makes_is_left_alone(living):
    with (living.where / DRAFT).open("w+") as file:
        lock_use(file)
        living.create()
        assert there(living.where / DRAFT)
    living.create()
    assert not there(living.where / DRAFT)


def test_second_name_of_a_segment_in_use_is_removed(living, name):
    """Its maker was killed when it had its own, and others use it."""
    with (living.where / DRAFT).open("w+") as file:
        lock_use(file)
        (DEV_SHM / name).hardlink_to(living.where / DRAFT)
        living.create()
        assert not there(living.where / DRAFT)
        assert (DEV_SHM / name).stat().st_nlink == 1


STRANGERS = ["d0123", "d0123456789abcdeX", "d0123456789abcdef0", "notes"]


def plant_strangers(where):
    for file in STRANGERS:
        (where / file).touch()
    (where / "d000000000000000a").mkdir()
    (where / "d000000000000000b").symlink_to("notes")
    return [*STRANGERS, "d000000000000000a", "d000000000000000b"]


def remove_strangers(files):
    for file in files:
        file.rmdir() if file.name.endswith("a") else file.unlink()


def test_create_leaves_alone_what_is_no_draft(living):
    living.create()
    before = set(living.where.iterdir())
    planted = plant_strangers(living.where)
    living.create()
    made = set(living.where.iterdir()) - before - {living.where / ".reaper"}
    remove_strangers(made)
    assert {file.name for file in made} == set(planted)


def test_sweep_removes_drafts_and_the_directory():
    where = bury(some_directory())
    (where / DRAFT).write_bytes(b"x" * 5000)
    (where / "dfedcba9876543210").touch(mode=0)
    sweep()
    assert not there(where)


def test_sweep_leaves_alone_what_is_no_draft():
    where = bury(some_directory())
    planted = plant_strangers(where)
    sweep()
    found = list(where.iterdir())
    remove_strangers(found)
    where.rmdir()
    assert {file.name for file in found} == set(planted)


def test_directory_that_goes_while_a_draft_is_in_it(lacking, name):
    """Another one is made, in another family."""
    code = """
import shutil, sys
from family_children import directory
from shmemext import SharedMemory
where = directory()
SharedMemory(create=True, size=1, track=False).unlink()
shutil.rmtree(where)
with SharedMemory(sys.argv[1], create=True, size=1) as shm:
    assert directory() != where and directory().exists()
    shm.unlink()
"""
    python(code, name, env=lacking("O_TMPFILE=95"))


REMOVED = """
import errno, os
from pathlib import Path
from shmemext import SharedMemory
pid = os.fork()
if pid == 0:
    while True:
        for directory in Path("/dev/shm").glob(".shmemext-2-*"):
            try:
                for file in directory.iterdir():
                    file.unlink()
                directory.rmdir()
            except OSError:
                pass
said = set()
for attempt in range(1000):
    for track in None, False:
        try:
            SharedMemory(create=True, size=1, track=track).unlink()
        except OSError as error:
            said.add(error.errno)
os.kill(pid, 9)
assert said <= {errno.ESTALE}, said
"""


def test_directories_that_somebody_removes_all_the_time(lacking):
    """A create does not say that its name is missing, or /dev/shm."""
    if not has_private_shm():
        pytest.skip("no right to mount a /dev/shm of our own")
    done = subprocess.run(
        with_private_shm([sys.executable, "-c", REMOVED]),
        env={**os.environ, **lacking("O_TMPFILE=95")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.EEXIST, errno.EEXIST), (errno.ENOENT, errno.ESTALE)],
)
def test_the_second_way_to_publish_says_why_it_fails(
    code, said, lacking, name
):
    """And not what the first one said: the name was taken, for a moment, or
    the hidden file is gone."""
    source = """
import sys
from shmemext import SharedMemory
try:
    SharedMemory(sys.argv[1], create=True, size=1)
except OSError as error:
    print(error.errno)
"""
    missing = f"O_TMPFILE=95,linkat=1,renameat2={code}"
    assert python(source, name, env=lacking(missing)).stdout == f"{said}\n"


def test_another_dev_shm(lacking, name):
    """It is mounted over the one where the family is."""
    if not has_private_shm():
        pytest.skip("no right to mount another /dev/shm")
    code = """
import subprocess, sys
from shmemext import SharedMemory
for attempt in range(3):
    for track in None, False:
        with SharedMemory(sys.argv[1], True, size=1, track=track) as shm:
            shm.unlink()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
print("done")
"""
    done = subprocess.run(
        with_private_shm([sys.executable, "-c", code, name]),
        env={**os.environ, **lacking("O_TMPFILE=95")},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


THREADS = """
import gc, os, sys, threading
from pathlib import Path
from family_children import directory
from shmemext import SharedMemory

def create():
    for attempt in range(60):
        shm = SharedMemory(create=True, size=200_000)
        assert shm.size == 200_000
        shm.unlink()
        shm.close()

where = directory()
threads = [threading.Thread(target=create) for _ in range(4)]
for thread in threads:
    thread.start()
children = []
while any(thread.is_alive() for thread in threads) and len(children) < 40:
    pid = os.fork()
    if pid == 0:
        SharedMemory(create=True, size=100).unlink()
        os._exit(0)
    children.append(pid)
for thread in threads:
    thread.join()
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children)
SharedMemory(create=True, size=1).unlink()
assert not list(where.glob("d*"))
"""


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a sanitizer's malloc() may be locked for ever in a fork() beside "
    "threads",
)
def test_threads_that_create_and_fork(lacking):
    env = {**lacking("O_TMPFILE=95"), "PYTHONWARNINGS": "ignore"}
    assert python(THREADS, env=env).stderr == ""


# --- Whoever is killed


ACTIONS = [
    "first create",
    "create",
    "create in a family that lives on",
    "create for its users in a family that lives on",
    "create of nobody's in a family that lives on",
]


@pytest.mark.skipif(
    not has_strace(), reason="needs strace, and to be allowed to use it"
)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("system", ["no such call", "a policy"])
def test_killed_before_each_call_of_a_create(action, system, lacking):
    """By the stage of test_crash_points.py."""
    command = [sys.executable, "-W", "ignore", HERE / "test_crash_points.py"]
    if has_private_shm():
        command = with_private_shm(command)
    done = subprocess.run(
        [*command, action],
        env={
            **os.environ,
            **lacking(SYSTEMS[system]),
            "PYTHONHASHSEED": "0",
        },
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    todo, killed = map(int, done.stdout.split())
    assert killed > todo / 2 > 5


@pytest.mark.skipif(
    not has_strace(), reason="needs strace, and to be allowed to use it"
)
@pytest.mark.parametrize("write", [1, 2, 7])
def test_killed_while_zeros_are_written(write, lacking, name):
    (DEV_SHM / name).write_bytes(b"x" * 5000)
    code = f"import shmemext; shmemext.SharedMemory({name!r}).grow(600_000)"
    command = ["strace", "-o", "/dev/null", *inject("write", write)]
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        env={**os.environ, **lacking("fallocate=95")},
    )
    assert done.returncode == -9
    length = (DEV_SHM / name).stat().st_size
    assert length == 5000 + (write - 1) * 65536
    python(code, env=lacking("fallocate=95"))
    content = (DEV_SHM / name).read_bytes()
    assert content == b"x" * 5000 + bytes(600_000 - 5000)


# --- Calls that fail


@pytest.mark.parametrize(
    "missing",
    ["O_TMPFILE=95,fallocate=38", "linkat_empty=1,linkat_proc=1"],
)
def test_every_call_that_fails_is_an_error_that_leaves_nothing(
    missing, library, tmp_path
):
    options = ["-DNO_MALLOC"] if "SHMEMEXT_SANITIZER" in os.environ else []
    failing = build("failing", tmp_path, *options)
    done = subprocess.run(
        [sys.executable, FAULTS / "calls.py", "EMFILE"],
        env={
            **os.environ,
            **before_libc(f"{failing}:{library}"),
            "MISSING": missing,
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert {"openat", "linkat", "fcntl"} < set(done.stdout.split())
