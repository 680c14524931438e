# SPDX-License-Identifier: MIT
"""A SIGKILL before each system call of what changes /dev/shm.

strace(1) delivers it. Whatever the process had done by then, it is gone after
the next sweep, or before that if the family had a reaper; and nothing of
anybody else is.

What a SIGKILL between two stores leaves is written by hand here, and a lot
that no SIGKILL would leave: ledgers are read as if anybody had written them.

This file is a program as well: `test_crash_points.py ACTION` is the stage on
which the crashes of one action happen.
"""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
from family_children import (
    DEV_SHM,
    FAMILY,
    bury,
    create,
    directory,
    environment,
    gone,
    has_private_shm,
    kept,
    lock,
    new_family,
    open_files,
    path,
    record,
    records,
    some_directory,
    sweep,
    there,
    wait_until,
    with_private_shm,
)
from tracing import calls_of, has_strace, inject, points

from shmemext import SharedMemory
from shmemext._family import REAPER

PREFIX = f"shmemext-test-crash-{os.getpid()}"
MARK = "getsid"  # a call that nobody else makes
# Calls that Python makes at its exit, now more of them, now fewer.
PYTHONS_OWN = {"munmap", "madvise", "brk", "futex", "rt_sigaction", "mmap"}


# --- The stage


def fill_ledger():
    for i in range(15):
        create(f"{PREFIX}-{i}")


def die_young():
    """Leaves a ledger for others to take over."""
    if os.fork() == 0:
        create(f"{PREFIX}-young")
        os._exit(0)
    os.wait()


def create_one():
    create(f"{PREFIX}-one", 5000)


def create_two():
    create(f"{PREFIX}-two", 5000)


def create_for_users():
    create(f"{PREFIX}-two", 5000, lifetime="users")


def create_nobodys():
    create(f"{PREFIX}-two", 5000, track=False)


def create_taken():
    with contextlib.suppress(FileExistsError):
        create(f"{PREFIX}-bystander")


def attach_one():
    kept.append(SharedMemory(f"{PREFIX}-one"))


def attach_and_unlink_one():
    SharedMemory(f"{PREFIX}-one").unlink()


def leave():
    raise SystemExit(0)


# What the child does before, what it is killed in.
ACTIONS = {
    "first create": (lambda: None, create_one),
    "create": (create_one, create_two),
    "create on a taken name": (create_one, create_taken),
    "create with a full ledger": (fill_ledger, create_one),
    "create on the ledger of a dead": (die_young, create_one),
    "create in a family that lives on": (create_one, create_two),
    "create for its users in a family that lives on": (
        create_one,
        create_for_users,
    ),
    "create of nobody's in a family that lives on": (
        create_one,
        create_nobodys,
    ),
    "attach": (create_one, attach_one),
    "close": (create_one, lambda: kept.pop().close()),
    "unlink": (create_one, lambda: kept[-1].unlink()),
    "unlink by an attacher": (create_one, attach_and_unlink_one),
    "sweep": (lambda: None, sweep),
    "normal exit": (create_one, leave),
}


def act(action, ready, go):
    """In the child."""
    if "lives on" not in action:
        new_family()
    prepare, do = ACTIONS[action]
    prepare()
    os.write(ready, b"1")
    os.read(go, 1)
    os.getsid(0)
    do()
    os.getsid(0)
    os._exit(0)


def under_strace(action, *options):
    """Runs the action in a child, under strace from a known moment on.
    Returns how it ended."""
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        act(action, ready[1], go[0])
    os.close(ready[1])
    assert os.read(ready[0], 1) == b"1"
    strace = subprocess.Popen(
        ["strace", "-p", str(pid), *options], stderr=subprocess.PIPE
    )
    assert b"attached" in strace.stderr.readline()
    os.write(go[1], b"1")
    _, status = os.waitpid(pid, 0)
    strace.communicate()
    for fd in (ready[0], *go):
        os.close(fd)
    return status


def dead_family():
    """With a segment, for the next sweep."""
    name = f"{PREFIX}-of-the-dead"
    path(name).write_bytes(b"x")
    inode = path(name).stat().st_ino
    return bury(some_directory(), record(name, inode), record("", 0))


def tidy_up(action):
    """What a killed process leaves to its family, the family knows."""
    if "lives on" in action:
        known = records(directory())
        # Where a segment is made under another name, the next one removes
        # what is left under such (draft.h).
        with SharedMemory(create=True, size=1) as shm:
            shm.unlink()
        assert not list(directory().glob("d*"))
        for mine in there(f"{PREFIX}-one", f"{PREFIX}-two"):
            assert mine in known or "nobody" in action
            assert path(mine).stat().st_nlink == 1
            path(mine).unlink()


def stage(action):
    bystander = create(f"{PREFIX}-bystander", 10)
    bystander.buf[:5] = b"alive"
    inode = path(bystander.name).stat().st_ino
    ours = set(DEV_SHM.glob(f"{FAMILY}*")) | {directory()}

    def theirs():
        return set(DEV_SHM.glob(f"{FAMILY}*")) - ours - {remains}

    trace = Path(tempfile.mkdtemp(), "trace")

    remains = dead_family()
    assert under_strace(action, "-o", trace) == 0
    calls = calls_of(trace.read_text())
    shutil.rmtree(trace.parent)
    tidy_up(action)
    assert wait_until(lambda: not theirs())
    if action == "normal exit":  # of all that Python does, the end
        todo = [
            (name, when)
            for name, when in points(calls, len(calls) - 40, len(calls))
            if name not in PYTHONS_OWN
        ]
    else:
        first = calls.index(MARK)
        todo = list(points(calls, first, calls.index(MARK, first + 1)))

    def left():
        return [file.name for file in DEV_SHM.glob(f"{PREFIX}*")]

    killed = 0
    for name, when in todo:
        remains = dead_family()
        status = under_strace(action, "-o", "/dev/null", *inject(name, when))
        killed += status == signal.SIGKILL
        assert status in (0, signal.SIGKILL), (name, when, status)
        tidy_up(action)
        # Where a reaper was there, it needs no sweep: but not all had one.
        wait_until(lambda: not theirs(), 0.02)
        sweep()
        assert wait_until(lambda: not theirs()), (name, when, theirs())
        assert gone(remains)
        assert wait_until(lambda: left() == [bystander.name]), (
            name,
            when,
            left(),
        )
        assert path(bystander.name).stat().st_ino == inode
        assert bytes(bystander.buf[:5]) == b"alive"
    print(len(todo), killed)


needs_strace = pytest.mark.skipif(
    not has_strace(), reason="needs strace, and to be allowed to use it"
)


@needs_strace
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_before_each_call(action):
    command = [sys.executable, "-W", "ignore", __file__, action]
    if has_private_shm():
        command = with_private_shm(command)
    done = subprocess.run(
        command,
        env={**environment(), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    todo, killed = map(int, done.stdout.split())
    assert todo > 0
    # Some calls may be others than they were when they were counted: those
    # of a sweep where others use the same /dev/shm; most of those of an exit,
    # where the reaper is often faster than the process that leaves.
    assert killed > (0 if action == "normal exit" else todo / 2)


@needs_strace
def test_reaper_killed_before_each_call(tmp_path):
    trace = tmp_path / "trace"
    where = dead_family()
    subprocess.run(["strace", "-o", trace, REAPER, where], check=True)
    assert not there(where, f"{PREFIX}-of-the-dead")
    calls = calls_of(trace.read_text())
    first_lock = [name.removesuffix("64") for name in calls].index("fcntl")
    todo = list(points(calls, first_lock - 1, len(calls) - 1))
    killed = 0
    for name, when in todo:
        where = dead_family()
        command = ["strace", "-o", "/dev/null", *inject(name, when), REAPER]
        done = subprocess.run([*command, where])
        killed += done.returncode == -signal.SIGKILL
        sweep()
        assert not there(where, f"{PREFIX}-of-the-dead"), (name, when)
    # Somebody else's sweep may have been faster.
    assert killed > len(todo) / 2 > 5


def test_reaper_that_waits_for_a_sweep_which_is_killed():
    """After .lock was gone, and before the directory was."""
    where = bury(some_directory())
    with (where / ".lock").open("r+") as file:
        lock(file, fcntl.F_RDLCK)
        with subprocess.Popen([REAPER, where]) as reaper:
            lock_file = str(where / ".lock")
            assert wait_until(lambda: lock_file in open_files(reaper.pid))
            time.sleep(0.05)  # for it to wait
            (where / ".reaper").unlink()
            (where / ".lock").unlink()
            lock(file, fcntl.F_UNLCK)
            assert reaper.wait() == 0
    assert not there(where)


# --- Ledgers by hand


@pytest.fixture
def foreign(name):
    """A file that no family knows."""
    file = path(f"{name}-foreign")
    file.write_bytes(b"foreign")
    yield file.name
    assert file.read_bytes() == b"foreign"
    file.unlink()


def inode(name):
    return path(name).lstat().st_ino


def swept(*ledgers):
    """Is a dead family with these ledgers gone after a sweep?"""
    where = bury(some_directory(), *ledgers)
    try:
        sweep()
        return not there(where)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def test_record_is_executed(name):
    path(name).write_bytes(b"x")
    assert swept(record(name, inode(name)))
    assert not there(name)


@pytest.mark.parametrize("content", ["free", "other inode", "gone", "empty"])
def test_record_that_is_absent_or_out_of_date(content, foreign):
    records_of = {
        "free": record(foreign, 0),
        "other inode": record(foreign, inode(foreign) + 1),
        "gone": record(foreign + "-gone", inode(foreign)),
        "empty": record("", DEV_SHM.stat().st_ino),
    }
    assert swept(records_of[content])


def test_name_that_was_given_to_another_file(name, foreign):
    path(name).write_bytes(b"x")
    stale = record(name, inode(name))
    path(foreign).rename(path(name))
    path(name).rename(path(foreign))
    assert swept(stale, record(foreign, inode(foreign) ^ 1))


@pytest.mark.parametrize("name_of", ["absolute", "relative", "nested"])
def test_record_of_a_file_elsewhere(name_of, tmp_path):
    """Its inode's number is no leave to remove it."""
    victim = tmp_path / "victim"
    victim.touch()
    names = {
        "absolute": str(victim),
        "relative": os.path.relpath(victim, DEV_SHM),
        "nested": f"./{victim}",
    }
    assert swept(record(names[name_of], victim.stat().st_ino))
    assert victim.exists()


def test_record_of_a_file_in_a_directory(name):
    path(name).mkdir()
    (path(name) / "victim").touch()
    try:
        number = (path(name) / "victim").stat().st_ino
        assert swept(record(f"{name}/victim", number))
        assert (path(name) / "victim").exists()
    finally:
        shutil.rmtree(path(name))


@pytest.mark.parametrize("victim", ["own", "living", ".", "..", "file"])
def test_record_of_what_is_no_segment(victim, tmp_path):
    """A family's directory, or a name that begins like one."""
    where = some_directory()
    reserved = some_directory()
    reserved.write_bytes(b"x")
    names = {
        "own": where.name,
        "living": directory().name,
        "file": reserved.name,
    }
    called = names.get(victim, victim)
    bury(where)
    try:
        (where / "l0123456789abcdef").write_bytes(
            record(called, path(called).stat().st_ino)
        )
        sweep()
        assert not there(where)
        assert directory().is_dir()
        assert reserved.read_bytes() == b"x"
    finally:
        reserved.unlink()


def test_record_whose_name_has_no_end(foreign):
    assert swept(record("a" * 256, 1), record(foreign, 1))
    assert swept(record(b"\xff" * 256, inode(foreign)))


@pytest.mark.parametrize("cut", [1, 8, 16, 100, 271])
def test_ledger_cut_short(cut, name, foreign):
    """What is whole is executed, half a record is not."""
    path(name).write_bytes(b"x")
    half = record(foreign, inode(foreign))[:cut]
    assert swept(record(name, inode(name)) + half, half, b"")
    assert not there(name)


@pytest.mark.parametrize("seed", range(20))
def test_ledger_of_garbage(seed, name, foreign):
    """Nothing alive or foreign is touched, and what is true is done."""
    rng = random.Random(seed)
    path(name).write_bytes(b"x")
    here = [file.name for file in DEV_SHM.iterdir()]
    names = [*here, "", ".", "../etc/passwd", "a/b"]

    def nonsense():
        kind = rng.randrange(3)
        if kind == 0:
            return rng.randbytes(272)
        if kind == 1:
            return record(rng.choice(names), rng.randrange(1, 1 << 20))
        return rng.randbytes(8) + bytes(8) + b"/" * 256

    before = inode(foreign)
    true = record(name, inode(name))
    made = [nonsense() for _ in range(40)] + [true] + [nonsense()]
    assert swept(b"".join(made), rng.randbytes(rng.randrange(5000)))
    assert not there(name)
    assert before == inode(foreign)


def test_living_family_is_left_alone(name):
    """Its records are true, and its names stay."""
    path(name).write_bytes(b"x")
    where = bury(some_directory(), record(name, inode(name)))
    with (where / ".lock").open() as file:
        lock(file, fcntl.F_RDLCK)
        sweep()
        assert there(name, where) == [name, where]
    sweep()
    assert not there(name, where)


def test_foreign_files_in_a_family_directory(name, tmp_path):
    """They stay, and so does the directory."""
    path(name).write_bytes(b"x")
    outside = tmp_path / "outside"
    outside.write_bytes(record(name, inode(name)))
    where = bury(some_directory())
    try:
        (where / "notes").touch()
        (where / "l0123456789abcdeX").symlink_to(outside)
        with contextlib.suppress(OSError):
            sweep()
        assert (where / "notes").exists()
        assert outside.exists()
        assert there(name)
    finally:
        shutil.rmtree(where)


def test_other_directories_are_not_families(name):
    """Not of this user alone, not of the right name, not a directory."""
    path(name).write_bytes(b"x")
    made = [some_directory(), DEV_SHM / "shmemext-x", some_directory()]
    try:
        bury(made[0], record(name, inode(name))).chmod(0o755)
        bury(made[1], record(name, inode(name)))
        made[2].symlink_to(made[1])
        sweep()
        assert there(name, *made) == [name, *made]
    finally:
        made[2].unlink()
        for where in made[:2]:
            shutil.rmtree(where)


def test_garbage_in_ledgers_that_are_taken_over(name, foreign):
    """A living family takes them over, with all that is in them."""
    code = """
        import random
        rng = random.Random(1)
        name, foreign, number = sys.argv[1:]
        garbage = [
            *[rng.randbytes(n) for n in (0, 100, 272, 1000, 4096, 9000)],
            record(foreign, int(number) + 1) * 40,
        ]
        for i, content in enumerate(garbage):
            (directory() / f"l{i:016x}").write_bytes(content)
        create(name)
        create(f"{name}-2")
        assert set(records(directory())) >= {name, f"{name}-2"}
        say(directory())
        os.kill(os.getpid(), 9)
    """
    program = "from family_children import *\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program, name, foreign, str(inode(foreign))],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (-9, "")
    assert gone(name, f"{name}-2", done.stdout.strip())


if __name__ == "__main__":
    stage(sys.argv[1])
