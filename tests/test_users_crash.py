# SPDX-License-Identifier: MIT
"""A SIGKILL before each system call of what users of a segment do.

strace(1) delivers it. Whatever the process had done by then: who uses the
segment has its name, and when nobody does it is gone after its family has
looked at it.

This file is a program as well: `test_users_crash.py ACTION` is the stage on
which the crashes of one action happen, with `--act` it is the process that is
killed, which is of another family.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tracing import calls_of, has_strace, inject, points
from users_children import attach, create, kept, there, wait_until

from shmemext import SharedMemory, _shmemext

HERE = Path(__file__).parent
MARK = "getsid"  # a call that nobody else makes
# Calls that Python makes at its exit, now more of them, now fewer.
PYTHONS_OWN = {"munmap", "madvise", "brk", "futex", "rt_sigaction"}
NAME = f"shmemext-test-users-crash-{os.getpid()}"


# --- The process that is killed


def grow_one():
    kept[0].buf[0] = 7
    kept[0].grow(1 << 20)


def leave():
    raise SystemExit(0)


# What the process does before, what it is killed in, and whether the stage is
# a user all the time, until then, or never.
ACTIONS = {
    "create": (lambda name: create(), lambda: create(OWN), "never"),
    "attach": (lambda name: None, lambda: attach(sys.argv[3]), "always"),
    "close": (attach, lambda: kept.pop().close(), "always"),
    "close as the last one": (attach, lambda: kept.pop().close(), "first"),
    "create and close": (
        lambda name: create(),
        lambda: SharedMemory(
            OWN, create=True, size=10, lifetime="users"
        ).close(),
        "never",
    ),
    "grow": (attach, grow_one, "always"),
    "end": (attach, leave, "always"),
    "end as the last one": (attach, leave, "first"),
}
OWN = f"{sys.argv[3]}-own" if len(sys.argv) > 3 else ""


def act(action, name):
    prepare, do, _ = ACTIONS[action]
    prepare(name)
    os.write(1, b"1")
    os.read(0, 1)
    os.getsid(0)
    do()
    os.getsid(0)
    os._exit(0)


# --- The stage


def under_strace(action, *options):
    """Runs the action, under strace from a known moment on. Returns how it
    ended, and the user that it left."""
    when = ACTIONS[action][2]
    segment = None if when == "never" else create(NAME)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, "--act", action, NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.read(1) == b"1"
    if when == "first":
        segment.close()
        assert there(NAME)
    strace = subprocess.Popen(
        ["strace", "-p", str(process.pid), *options], stderr=subprocess.PIPE
    )
    assert b"attached" in strace.stderr.readline()
    process.stdin.write(b"1")
    process.stdin.close()
    process.wait()
    strace.communicate()
    process.stdout.close()
    return process.returncode, segment


def look(action, segment):
    """Is all as it should be?"""
    when = ACTIONS[action][2]
    if when == "always":
        assert there(NAME)
        segment.close()
    elif when == "first":  # one or two are looked at with each create
        others = [create() for _ in range(3)]
        for one in others:
            one.close()
    _shmemext._sweep(False)
    kept.clear()
    assert not there(NAME)
    assert wait_until(lambda: not there(f"{NAME}-own"))


def crash(action):
    trace = Path(tempfile.mkdtemp(), "trace")
    status, segment = under_strace(action, "-o", trace)
    assert status == 0, status
    look(action, segment)
    calls = calls_of(trace.read_text())
    shutil.rmtree(trace.parent)
    if action.startswith("end"):  # of all that Python does, the end
        span = len(calls) - 40, len(calls)
    else:
        first = calls.index(MARK)
        span = first, calls.index(MARK, first + 1)
    todo = [
        (name, when)
        for name, when in points(calls, *span)
        if not (action.startswith("end") and name in PYTHONS_OWN)
    ]
    killed = 0
    for name, when in todo:
        options = "-o", "/dev/null", *inject(name, when)
        status, segment = under_strace(action, *options)
        assert status in (0, -signal.SIGKILL), (name, when, status)
        killed += status == -signal.SIGKILL
        try:
            look(action, segment)
        except AssertionError as error:
            error.add_note(f"killed before {name} {when}")
            raise
    print(len(todo), killed)


@pytest.mark.skipif(
    not has_strace(), reason="needs strace, and to be allowed to use it"
)
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_before_each_call(action):
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, action],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONHASHSEED": "0",
        },
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    todo, killed = map(int, done.stdout.split())
    assert todo > 0
    # Some calls of an exit are others than they were when they were counted.
    assert killed > (todo / 6 if action.startswith("end") else todo / 2)


if __name__ == "__main__":
    if sys.argv[1] == "--act":
        act(*sys.argv[2:])
    else:
        crash(sys.argv[1])
