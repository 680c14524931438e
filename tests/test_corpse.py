# SPDX-License-Identifier: MIT
"""A name whose owner is dead and whose reaper has not come yet is free."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import DEV_SHM, descriptors

from shmemext import SharedMemory, _shmemext

# What a process that adopts orphans starts would come back to it: such a one
# has no reaper, and what it leaves stays there for us.
OWNER = """
import ctypes, importlib, os, signal, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
which, options, *names = sys.argv[1:]
module = importlib.import_module(f"{which}.shared_memory")
made = [
    module.SharedMemory(name, create=True, size=4096, **eval(options))
    for name in names
]
for shm in made:
    shm.buf[0] = 7
print("up", flush=True)
sys.stdin.read()
if which == "multiprocessing":
    from multiprocessing.resource_tracker import _resource_tracker
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    os.kill(_resource_tracker._pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""

# Without a reaper likewise: its first work would be to sweep.
STARTER = """
import ctypes, os, sys
from shmemext import SharedMemory
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
held = []
for line in sys.stdin:
    shm = SharedMemory(line.strip(), create=True, size=4096, exist_ok=True)
    print(int(shm.created), os.fstat(shm.fileno()).st_ino, flush=True)
    held.append(shm)
"""


@contextmanager
def owner(*names, which="shmemext", options="{}"):
    """A process that has created them; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OWNER, which, options, *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "up\n"
        yield process
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def leave_corpses(*names, **options):
    with owner(*names, **options):
        pass


@pytest.fixture(autouse=True)
def family():
    """Ours, with its reaper, which sweeps first of all: before there is
    something to be swept. Nothing of ours is there afterwards."""
    with SharedMemory(create=True, size=1) as shm:
        shm.unlink()
        yield
    _shmemext._sweep(False)


def is_there(name, identity):
    """Also when whoever removes what the dead have left has come."""
    _shmemext._sweep(False)
    with suppress(FileNotFoundError):
        return (DEV_SHM / name).stat().st_ino == identity
    return False


def inode(shm):
    return os.fstat(shm.fileno()).st_ino


def test_create_of_a_name_whose_owner_was_killed(both, name):
    """Ours is dead, and so is what it owned. The standard library's segments
    are nobody's: its tracker is dead, too."""
    which = both.__name__.partition(".")[0]
    leave_corpses(name, which=which)
    if which == "multiprocessing":
        with pytest.raises(FileExistsError):
            both.SharedMemory(name, create=True, size=4096)
        with SharedMemory(name, create=True, size=10, exist_ok=True) as shm:
            assert not shm.created
        return
    with both.SharedMemory(name, create=True, size=4096) as shm:
        assert shm.created
        assert shm.buf[0] == 0
        assert is_there(name, inode(shm))
        shm.unlink()


@pytest.mark.parametrize("size", [1, 4096, 1 << 20])
def test_exist_ok_does_not_attach_to_a_corpse(name, size):
    leave_corpses(name)
    before = descriptors()
    with SharedMemory(name, create=True, size=size, exist_ok=True) as shm:
        assert descriptors() == before
        assert shm.created
        assert shm.size == size
        assert shm.buf[0] == 0
        assert is_there(name, inode(shm))
        shm.unlink()


def test_segment_of_users_is_a_corpse_too(name):
    leave_corpses(name)
    (DEV_SHM / name).chmod(0o1600)
    with SharedMemory(name, create=True, size=10) as shm:
        assert shm.created
        assert is_there(name, inode(shm))
        shm.unlink()


def test_worker_that_is_killed_at_once_and_again(name):
    """Whoever takes over from it keeps the name, each time."""
    code = (
        "import sys; from shmemext import SharedMemory\n"
        "shm = SharedMemory(sys.argv[1], create=True, size=9, exist_ok=True)\n"
        "print(int(shm.created), flush=True); sys.stdin.read()\n"
    )
    for _ in range(30):
        with subprocess.Popen(
            [sys.executable, "-c", code, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            assert worker.stdout.readline() == "1\n"
            worker.kill()
        with SharedMemory(name, create=True, size=9, exist_ok=True) as shm:
            assert shm.created
            assert is_there(name, inode(shm))
            shm.unlink()


# --- no corpses


def refused(name):
    """It is somebody's: a create fails, and exist_ok attaches."""
    before = (DEV_SHM / name).stat().st_ino
    with pytest.raises(FileExistsError):
        SharedMemory(name, create=True, size=10)
    with SharedMemory(name, create=True, size=10, exist_ok=True) as shm:
        assert not shm.created
        assert shm.buf[0] == 7
    assert (DEV_SHM / name).stat().st_ino == before
    return True


def test_what_nobody_has_open_is_no_corpse_while_its_family_lives(name):
    with SharedMemory(name, create=True, size=4096) as shm:
        shm.buf[0] = 7
    assert refused(name)
    SharedMemory(name).unlink()


def test_family_of_another_process_lives(name):
    with owner(name):
        assert refused(name)


def test_family_of_which_only_a_child_is_left(name):
    code = OWNER.replace(
        'print("up", flush=True)',
        "closed = [shm.close() for shm in made]\n"
        "if os.fork():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        'print("up", flush=True)',
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "shmemext", "{}", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "up\n"
        assert process.wait() == -signal.SIGKILL
        assert refused(name)


def test_what_no_family_owned_is_no_corpse(name):
    leave_corpses(name, options="{'track': False}")
    assert refused(name)


def test_what_somebody_has_is_no_corpse(name):
    with owner(name), SharedMemory(name) as mine:
        ours = inode(mine)
        keep = mine.buf[:1]
    assert refused(name)
    assert keep[0] == 7
    assert (DEV_SHM / name).stat().st_ino == ours


def test_same_name_of_another_file_is_no_corpse(name):
    """The record is of a file that is gone."""
    leave_corpses(name)
    (DEV_SHM / name).unlink()
    (DEV_SHM / name).write_bytes(b"\7" * 4096)
    assert refused(name)


@contextmanager
def lock_of_the_dead():
    """As a sweep holds it: of every family that is dead."""
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    files = [path.open("r+b") for path in DEV_SHM.glob(".shmemext-2-*/.lock")]
    held = 0
    for file in files:
        with suppress(BlockingIOError):
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
            held += 1
    assert held
    try:
        yield
    finally:
        for file in files:
            file.close()


def test_corpse_that_a_sweep_is_at_work_on(name):
    """Two never remove the same name: one of them might remove what another
    has created in its place. It is waited for, but not for ever."""
    leave_corpses(name)
    before = (DEV_SHM / name).stat().st_ino
    with lock_of_the_dead():
        with pytest.raises(FileExistsError):
            SharedMemory(name, create=True, size=10)
        assert (DEV_SHM / name).stat().st_ino == before
    with SharedMemory(name, create=True, size=10) as shm:
        assert shm.created
        shm.unlink()


def test_family_that_has_no_lock_any_more_is_left_to_a_sweep(name):
    leave_corpses(name)
    for lock in DEV_SHM.glob(".shmemext-2-*/.lock"):
        with lock.open("r+b") as file, suppress(BlockingIOError):
            whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
            lock.unlink()
    assert refused(name)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/dev/null"),
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: path.touch(0),
    ],
    ids=["link", "directory", "FIFO", "no right to read"],
)
def test_what_cannot_be_a_corpse(name, make):
    path = DEV_SHM / name
    make(path)
    try:
        with pytest.raises(FileExistsError):
            SharedMemory(name, create=True, size=10)
    finally:
        (Path.rmdir if path.is_dir() else Path.unlink)(path)


# --- races


@pytest.mark.parametrize("starters", [2, 8])
def test_starters_that_find_a_corpse_meet_in_one_segment(name, starters):
    names = [f"{name}-{i}" for i in range(50)]
    leave_corpses(*names)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(starters)
    ]
    try:
        for one in names:
            for process in processes:
                process.stdin.write(one + "\n")
                process.stdin.flush()
            said = [p.stdout.readline().split() for p in processes]
            created, inodes = zip(*said, strict=True)
            assert sorted(created) == ["0"] * (starters - 1) + ["1"]
            assert len(set(inodes)) == 1
            assert (DEV_SHM / one).stat().st_ino == int(inodes[0])
        _shmemext._sweep(False)
        assert all((DEV_SHM / one).exists() for one in names)
    finally:
        for process in processes:
            process.communicate()
