# SPDX-License-Identifier: MIT
"""A program that PyInstaller froze: `make release-test`, of what is in dist/.

Its reaper is in the one file that it is, and has to be one that can be run.
"""

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest
from release import ROOT, built, environment, run

PATIENCE = 60  # seconds: reapers are quick, machines may not be

# Like examples/application_a.py, but that it says who it is, and may have a
# child, which is the same frozen program. What the child is to outlive takes
# the unpacked files along: it has imported all that it needs.
PROGRAM = """
import multiprocessing
import os
import sys
import time

from shmemext import SharedMemory


def child(name, end):
    parent = os.getppid()
    end.send(os.getpid())
    while os.getppid() == parent:
        time.sleep(0.01)
    time.sleep(0.5)  # the time of a reaper that took it for a stranger
    shm = SharedMemory(name)
    print("attached", bytes(shm.buf[:5]), flush=True)
    time.sleep(600)


def start(name):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(name, theirs))
    process.start()
    theirs.close()
    return ours.recv()


if __name__ == "__main__":
    multiprocessing.freeze_support()
    shm = SharedMemory(create=True, size=1024)
    shm.buf[:5] = b"Hello"
    pid = start(shm.name) if sys.argv[1:] == ["child"] else 0
    print(shm.name, os.getpid(), pid, flush=True)
    input()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    where = tmp_path_factory.mktemp("frozen")
    python = environment(where / "venv")
    pip = [python, "-m", "pip", "install", "--quiet"]
    run(*pip, "--upgrade", "pip")  # has --group
    run(*pip, "--prefer-binary", "--group", f"{ROOT}/pyproject.toml:frozen")
    run(*pip, "--no-index", built())
    (where / "program.py").write_text(PROGRAM)
    freeze = [python, "-m", "PyInstaller", "--onefile", "--log-level=WARN"]
    run(*freeze, "program.py", cwd=where)
    return where / "dist" / "program"


@contextmanager
def running(*command):
    """In a session of its own. Its name, its pid, and that of its child."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            name, *pids = process.stdout.readline().split()
            yield process, name, *map(int, pids)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def is_there(name):
    return os.path.lexists(f"/dev/shm/{name}")


def wait_until_gone(name):
    end = time.monotonic() + PATIENCE
    while is_there(name):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_frozen_program_ends(program):
    with running(program) as (process, name, _, _):
        assert is_there(name)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 0
        wait_until_gone(name)


def test_frozen_program_is_killed(program):
    """It is the child of the one that unpacked it."""
    with running(program) as (process, name, pid, _):
        assert pid != process.pid
        assert is_there(name)
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(name)


def test_all_of_a_frozen_program_is_killed(program):
    with running(program) as (process, name, _, _):
        assert is_there(name)
        os.killpg(process.pid, signal.SIGKILL)
        wait_until_gone(name)


def test_frozen_child_keeps_what_its_killed_parent_made(program):
    with running(program, "child") as (process, name, pid, child):
        os.kill(pid, signal.SIGKILL)
        assert process.stdout.readline() == "attached b'Hello'\n"
        assert is_there(name)
        os.kill(child, signal.SIGKILL)
        wait_until_gone(name)
