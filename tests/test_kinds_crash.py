# SPDX-License-Identifier: MIT
"""A SIGKILL before each system call of what makes files and makes them longer.

What is left is what was there, or all of what was to be there; and never a
temporary file. strace(1) delivers the signal: see test_crash_points.py.

This file is a program as well: `test_kinds_crash.py ACTION DIRECTORY` is the
stage on which the crashes of one action happen.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from test_crash_points import (
    MARK,
    calls_of,
    has_strace,
    inject,
    points,
)

from shmemext import AnonymousMemory, MappedFile, SharedMemory

OLD, NEW = 5000, 40 << 20  # reserved in three pieces
TEXT = b"hello" * 1000
SEGMENT = f"shmemext-test-grow-{os.getpid()}"


# --- The stage


class Stage:
    """Where an action happens: a directory with one file in it."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.file = self.directory / "file"
        self.new = self.directory / "new"
        self.segment = Path("/dev/shm", SEGMENT)
        self.prepare()

    def prepare(self):
        self.new.unlink(missing_ok=True)
        self.file.write_bytes(TEXT)
        os.truncate(self.file, OLD)
        self.segment.write_bytes(TEXT)
        self.segment.chmod(0o600)
        self.memory = MappedFile(self.file)
        self.shared = SharedMemory(SEGMENT)

    def check(self):
        """After a death, at whatever point."""
        names = {each.name for each in self.directory.iterdir()}
        assert names - {"new"} == {"file"}, names
        if self.new.exists():
            status = self.new.stat()
            assert status.st_size == NEW, status
            assert status.st_blocks * 512 >= NEW, status
            assert status.st_mode & 0o777 == 0o640
            with MappedFile(self.new, size=NEW) as file:
                assert not any(file.buf[:: 1 << 12])
        for path in self.file, self.segment:
            status = path.stat()
            assert status.st_size in (OLD, NEW), status
            if status.st_size == NEW:
                assert status.st_blocks * 512 >= NEW, status
            with path.open("rb") as file:
                assert file.read(OLD) == TEXT
                assert not any(file.read(1 << 20))
        # whoever had it open goes on
        self.memory.refresh()
        self.memory.grow(NEW)
        self.memory.buf[NEW - 1] = 1
        self.shared.grow(NEW)
        self.shared.buf[NEW - 1] = 1
        self.memory.close()
        self.shared.close()
        self.segment.unlink()


def create(stage):
    MappedFile(stage.new, create=True, size=NEW, mode=0o640)


def create_taken(stage):
    with suppress(FileExistsError):
        MappedFile(stage.file, create=True, size=NEW)


def anonymous(stage):
    with AnonymousMemory(OLD) as memory:
        memory.grow(NEW)
        memory.readonly_handle().close()


ACTIONS = {
    "create a file": create,
    "create on a taken path": create_taken,
    "attach to a file": lambda stage: MappedFile(stage.file),
    "grow a file": lambda stage: stage.memory.grow(NEW),
    "grow a file by another": lambda stage: MappedFile(stage.file).grow(NEW),
    "write and flush": lambda stage: (
        stage.memory.write(TEXT),
        stage.memory.flush(),
    ),
    "grow a segment": lambda stage: stage.shared.grow(NEW),
    "anonymous": anonymous,
}


def under_strace(action, stage, *options):
    """Runs the action in a child, under strace from a known moment on.
    Returns how it ended."""
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ready[1], b"1")
        os.read(go[0], 1)
        os.getsid(0)
        ACTIONS[action](stage)
        os.getsid(0)
        os._exit(0)
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


def perform(action, directory):
    stage = Stage(directory)
    trace = Path(directory).parent / "trace"
    assert under_strace(action, stage, "-o", trace) == 0
    calls = calls_of(trace.read_text())
    stage.check()
    first = calls.index(MARK)
    todo = list(points(calls, first, calls.index(MARK, first + 1)))
    killed = 0
    for name, when in todo:
        stage.prepare()
        try:
            status = under_strace(
                action, stage, "-o", "/dev/null", *inject(name, when)
            )
            killed += status == signal.SIGKILL
            assert status in (0, signal.SIGKILL), status
            stage.check()
        except BaseException:
            print(f"before {name} {when}", file=sys.stderr)
            raise
    stage.segment.unlink(missing_ok=True)
    print(len(todo), killed, *sorted(set(calls)))


def staged(action, tmp_path):
    (tmp_path / "stage").mkdir()
    done = subprocess.run(
        [sys.executable, __file__, action, tmp_path / "stage"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    todo, killed, *calls = done.stdout.split()
    return int(todo), int(killed), set(calls)


@pytest.mark.skipif(
    not has_strace(), reason="needs strace, and to be allowed to use it"
)
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_before_each_call(action, tmp_path):
    todo, killed, calls = staged(action, tmp_path)
    assert todo > 0
    assert killed > todo / 2
    if action == "create a file":
        # The file's own bytes, and the directory that has its name.
        assert {"fallocate", "linkat", "fsync"} <= calls
    if action == "write and flush":
        assert "msync" in calls


def test_killed_at_any_moment(tmp_path):
    """Without strace: by the clock, over and over."""
    code = """
import sys
from shmemext import MappedFile
turn = 0
print("go", flush=True)
while True:
    path = f"{sys.argv[1]}/{turn}"
    with MappedFile(path, create=True, size=3000) as file:
        file.buf[:] = b"x" * 3000
        file.grow(50_000)
        file.buf[3000:] = b"y" * 47_000
    turn += 1
"""
    for delay in range(1, 11):
        directory = tmp_path / str(delay)
        directory.mkdir()
        with subprocess.Popen(
            [sys.executable, "-c", code, directory], stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            with suppress(subprocess.TimeoutExpired):
                process.wait(delay / 100)
            process.kill()
        files = sorted(directory.iterdir(), key=lambda path: int(path.name))
        for path in files[:-1]:
            assert path.read_bytes() == b"x" * 3000 + b"y" * 47_000
        for path in files[-1:]:
            status = path.stat()
            assert status.st_size in (3000, 50_000)
            assert status.st_blocks * 512 >= status.st_size


if __name__ == "__main__":
    perform(*sys.argv[1:])
