# SPDX-License-Identifier: MIT
"""A SIGKILL before each system call of what opens and closes a channel: who
comes next finds a whole one, or none and makes it; what was in hand comes to
somebody, and the name goes with the last. What lies between the calls is
tests/core/crash_ring.c's.

strace(1) delivers it. This file is a program as well:
`test_channel_crash.py ACTION` is the stage for one action.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from channel_children import PATIENCE
from family_children import create, environment, path, sweep, wait_until
from tracing import calls_of, has_strace, inject, points

from shmemext.channels import Channel, ShutDown

NAME = f"shmemext-test-crash-{os.getpid()}"
MARK = "getsid"  # a call that nobody else makes

kept = []


def opened():
    return Channel(
        NAME, create=True, exist_ok=True, size=4096, lifetime="users"
    )


def open_it():
    kept.append(opened())


def take_a_message():
    open_it()
    kept[0].put(b"job")
    kept.append(kept[0].receive())
    kept[1].__enter__()


def close():
    kept.pop().close()


def give():
    """With the object that it is of."""
    kept.pop()
    kept.pop()


def fork():
    """The parent makes the child's token."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def end():
    raise SystemExit(0)


# What the child does before, what it is killed in, and whether somebody else
# has it all the time.
ACTIONS = {
    "create": (lambda: None, open_it, False),
    "open": (lambda: None, open_it, True),
    "close": (open_it, close, True),
    "close as the last": (open_it, close, False),
    "give": (take_a_message, give, True),
    "fork": (take_a_message, fork, True),
    "end with a message in hand": (take_a_message, end, True),
}


def act(action, ready, go):
    """In the child."""
    prepare, do, _ = ACTIONS[action]
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


def all_of(channel):
    """To the end, which comes."""
    got = []
    while True:
        try:
            with channel.receive(timeout=PATIENCE) as message:
                got.append((bytes(message), message.deliveries))
        except ShutDown:
            return got


def check(inode):
    """Of whoever comes next. `inode`: what there was all the time."""
    with opened() as late:
        if inode is not None:
            assert path(NAME).stat().st_ino == inode
        late.put(b"after")
        late.shutdown()
        got = all_of(late)
        assert sorted(got) in ([(b"after", 1)], [(b"after", 1), (b"job", 2)])


def stage(action):
    _, _, is_kept = ACTIONS[action]
    create(f"{NAME}-of-a-family-that-lives-on").unlink()
    # A child that ends leaves what we are within.
    trace = Path(tempfile.mkdtemp(), "trace")
    mine = opened() if is_kept else None
    assert under_strace(action, "-o", trace) == 0
    calls = calls_of(trace.read_text())
    shutil.rmtree(trace.parent)
    del mine
    assert wait_until(lambda: not path(NAME).exists())
    first = calls.index(MARK)
    if action.startswith("end"):
        todo = list(points(calls, len(calls) - 60, len(calls)))
    else:
        todo = list(points(calls, first, calls.index(MARK, first + 1)))
    killed = set()
    # Twice: on a busy machine, or without a GIL, a run may end before it calls
    # that as often as the one that was looked at.
    for point in [*todo, *todo]:
        if point in killed:
            continue
        mine = opened() if is_kept else None
        inode = path(NAME).stat().st_ino if is_kept else None
        status = under_strace(action, "-o", os.devnull, *inject(*point))
        assert status in (0, signal.SIGKILL), (point, status)
        if status == signal.SIGKILL:
            killed.add(point)
        check(inode)
        del mine
        # Who was killed may still have had it open when we let go.
        assert wait_until(lambda: not path(NAME).exists()), point
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
    assert killed > todo / 3


if __name__ == "__main__":
    stage(sys.argv[1])
