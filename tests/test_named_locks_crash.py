# SPDX-License-Identifier: MIT
"""A SIGKILL before each system call of what opens and closes a named lock:
whoever comes next finds a whole one, or none and makes it, and the name goes
with the last.

strace(1) delivers it. This file is a program as well:
`test_named_locks_crash.py ACTION` is the stage for one action.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from family_children import create, environment, sweep, wait_until
from sync_children import acquired, file_of, there
from tracing import calls_of, has_strace, inject, points

from shmemext.synchronize import Lock

NAME = f"test-crash-{os.getpid()}"
MARK = "getsid"  # a call that nobody else makes

kept = []


def open_it():
    kept.append(Lock(NAME))


def open_and_hold():
    open_it()
    kept[-1].acquire()


def fork():
    """The parent makes the child's token."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def end():
    raise SystemExit(0)


# What the child does before, what it is killed in; whether somebody else has
# it all the time, and what he may be told.
ACTIONS = {
    "create": (lambda: None, open_it, False, {True}),
    "open": (lambda: None, open_it, True, {True}),
    "let go": (open_it, kept.clear, True, {True}),
    "let go as the last": (open_it, kept.clear, False, {True}),
    "acquire": (open_it, lambda: kept[0].acquire(), True, {True, "OwnerDied"}),
    "release": (
        open_and_hold,
        lambda: kept[0].release(),
        True,
        {True, "OwnerDied"},
    ),
    "fork": (open_it, fork, True, {True}),
    "end with it held": (open_and_hold, end, True, {True, "OwnerDied"}),
}


def act(action, ready, go):
    """In the child."""
    prepare, do, _, _ = ACTIONS[action]
    kept.clear()
    prepare()
    os.write(ready, b"1")
    os.read(go, 1)
    os.getsid(0)
    do()
    os.getsid(0)
    os._exit(0)


def under_strace(action, *options):
    """Returns how it ended."""
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


def stage(action):
    _, _, is_kept, answers = ACTIONS[action]
    create(f"{NAME}-of-a-family-that-lives-on").unlink()
    # A child that ends leaves what we are within.
    trace = Path(tempfile.mkdtemp(), "trace")
    mine = Lock(NAME) if is_kept else None
    assert under_strace(action, "-o", trace) == 0
    calls = calls_of(trace.read_text())
    shutil.rmtree(trace.parent)
    del mine
    assert wait_until(lambda: not there(NAME))
    first = calls.index(MARK)
    if action.startswith("end"):
        todo = list(points(calls, len(calls) - 60, len(calls)))
    else:
        todo = list(points(calls, first, calls.index(MARK, first + 1)))
    killed = set()
    # Twice: on a busy machine, or without a GIL, a run may end before it calls
    # that as often as the one that was looked at.
    for name, when in [*todo, *todo]:
        if (name, when) in killed:
            continue
        mine = Lock(NAME) if is_kept else None
        inode = file_of(NAME).stat().st_ino if is_kept else 0
        status = under_strace(action, "-o", "/dev/null", *inject(name, when))
        if status == signal.SIGKILL:
            killed.add((name, when))
        assert status in (0, signal.SIGKILL), (name, when, status)
        late = Lock(NAME)
        if is_kept:
            assert file_of(NAME).stat().st_ino == inode, (name, when)
        answer = acquired(late, 10)
        assert answer in answers, (name, when, answer)
        if answer == "OwnerDied":
            with late.repair():
                pass
        else:
            late.release()
        del mine, late
        # Who was killed may still have had it open when we let go.
        assert wait_until(lambda: not there(NAME)), (name, when)
    sweep()
    print(len(todo), len(killed))


@pytest.mark.skipif(
    not has_strace(), reason="needs strace, and to be allowed to use it"
)
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_before_each_call(action):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, action],
        env={**environment(), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    todo, killed = map(int, done.stdout.split())
    # An uncontended lock is no call at all.
    assert killed > todo / 3 or action in ("acquire", "release")


if __name__ == "__main__":
    stage(sys.argv[1])
