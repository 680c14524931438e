# SPDX-License-Identifier: MIT
"""Kills random processes that use locks by the same few names.

    python tests/storm_named.py --seconds 100

Several programs, each a family of its own, open and close the locks, acquire
them, fork children that only inherit, start others that are given one, and
are killed at random, by SIGKILL, wherever they are. At the end those who are
left end normally. What must not happen:

  split    two processes are within one lock: its name was made twice while
           somebody had it, or it was taken from the living
  silent   what a dead holder left half done, and nobody was told
  refused  a lock is found that is none: half made
  stuck    a lock is not to be had for ten seconds
  left     a name is there when all are gone
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from storm_users import session

from shmemext import SharedMemory, _shmemext
from shmemext._named import PREFIX
from shmemext.synchronize import Lock, OwnerDied

DEV_SHM = Path("/dev/shm")
PROGRAMS = 4
NAMES = 2
PATIENCE = 60  # seconds, for reapers
COUNTED = (
    *("acquired", "told", "opened", "forks", "starts"),
    *("split", "silent", "refused", "stuck", "failed"),
)
BAD = ("split", "silent", "refused", "stuck", "failed")


class Within:
    """What is guarded: eight bytes for each name, of who is inside. A holder
    that was killed leaves its own there."""

    def __init__(self, prefix, number):
        self.arena = SharedMemory(f"{prefix}-arena")
        self.bytes = slice(8 * number, 8 * number + 8)

    def get(self):
        return int.from_bytes(self.arena.buf[self.bytes], "little")

    def set(self, value):
        self.arena.buf[self.bytes] = value.to_bytes(8, "little")


class User:
    def __init__(self, folder, prefix, seed):
        self.folder = folder
        self.prefix = prefix
        self.random = random.Random(seed)
        self.logs = {
            what: os.open(
                f"{folder}/{what}", os.O_WRONLY | os.O_APPEND | os.O_CREAT
            )
            for what in COUNTED
        }
        self.held = []
        self.children = []
        # With few the names come and go all the time.
        self.most = 1 if Path(folder, "few").exists() else 5

    def count(self, what, word="."):
        os.write(self.logs[what], word.encode())

    def open(self):
        number = self.random.randrange(NAMES)
        try:
            lock = Lock(f"{self.prefix}-{number}")
        except ValueError as error:
            self.count("refused", f"{error}\n")
            return
        self.count("opened")
        is_there = False
        file = DEV_SHM / f"{PREFIX}{lock.name}"
        inode = _shmemext._identity(lock.memory)[1]
        with contextlib.suppress(FileNotFoundError):
            is_there = file.stat().st_ino == inode
        if not is_there:
            self.count("split", f"{lock!r}: the name is another's\n")
        self.held.append((lock, number))

    def close(self):
        if self.held:
            self.held.pop(self.random.randrange(len(self.held)))

    def use(self):
        if self.held:
            use(self, *self.random.choice(self.held))

    def fork(self):
        """A child that inherits; it may let go, or use them."""
        if len(self.children) > 2:
            return
        how, ticks = self.random.random(), self.random.randrange(5)
        self.count("forks")
        pid = os.fork()
        if pid != 0:
            self.children.append(pid)
            return
        self.random.seed(os.getpid())
        for _ in range(ticks):
            self.use()
        if how < 0.3:
            self.held.clear()
        time.sleep(0.002)
        if how < 0.6:
            sys.exit(0)
        os._exit(0)

    def start(self):
        if not self.held:
            return
        lock, number = self.held.pop()
        method = self.random.choice(["fork", "spawn", "forkserver"])
        worker = multiprocessing.get_context(method).Process(
            target=be_given, args=(self.folder, self.prefix, lock, number)
        )
        # What multiprocessing itself has started may be dead.
        with contextlib.suppress(OSError, EOFError):
            worker.start()
            self.count("starts")

    def reap(self):
        for pid in list(self.children):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                self.children.remove(pid)
        multiprocessing.active_children()

    def storm(self):
        actions = [
            *[self.open] * 5,
            *[self.close] * 5,
            *[self.use] * 12,
            self.fork,
            self.reap,
        ]
        while not Path(f"{self.folder}/over").exists():
            self.random.choice(actions)()
            if self.random.random() < 0.01:
                self.start()
            while len(self.held) > self.most:
                self.close()
        for pid in self.children:
            os.waitpid(pid, 0)
        for child in multiprocessing.active_children():
            child.join()


def use(user, lock, number):
    within = Within(user.prefix, number)
    me = os.getpid() << 20 | user.random.randrange(1 << 20)
    try:
        if not lock.acquire(timeout=10):
            user.count("stuck", f"{lock!r}\n")
            return
    except OwnerDied:
        user.count("told")
        with lock.repair(timeout=10):
            within.set(0)
        return
    left = within.get()
    if left != 0:
        # Who was the last to have the name may have died with it: then
        # nobody is left who could have been told.
        living = os.path.exists(f"/proc/{left >> 20}")  # noqa: PTH110
        user.count("silent", f"{lock!r} {left >> 20} {living}\n")
    within.set(me)
    if user.random.random() < 0.3:
        time.sleep(user.random.random() * 0.001)
    found = within.get()
    if found != me:
        user.count("split", f"{lock!r} {found >> 20} in {me >> 20}\n")
    within.set(0)
    lock.release()
    user.count("acquired")


def be_given(folder, prefix, lock, number):
    user = User(folder, prefix, os.getpid())
    user.held.append((lock, number))
    for _ in range(user.random.randrange(5)):
        user.use()


def begin(folder, prefix, seed):
    user = User(folder, prefix, seed)
    try:
        user.storm()
    except Exception:
        user.count("failed", f"{traceback.format_exc()}\n\n")
        raise


# --- From outside


class Round:
    def __init__(self, number, seed):
        self.random = random.Random(f"{seed}-{number}")
        self.prefix = f"storm-named-{os.getpid()}-{number}"
        self.kills = 0
        self.leaders = []
        # One process has each of them all the time: so whoever dies within
        # one, there is somebody who is told.
        self.kept = [Lock(f"{self.prefix}-{i}") for i in range(NAMES)]

    def start(self, folder):
        words = [__file__, "--user", folder, self.prefix]
        self.leaders.append(
            subprocess.Popen(
                [
                    *[sys.executable, "-W", "ignore", *words],
                    str(self.random.random()),
                ],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def kill(self):
        pids = session([one.pid for one in self.leaders])
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(pids), signal.SIGKILL)
                self.kills += 1

    def there(self):
        return [
            name
            for name in os.listdir(DEV_SHM)  # noqa: PTH208 (hot)
            if name.startswith(f"{PREFIX}{self.prefix}")
        ]

    def run(self, seconds, keep, counts):
        size = 8 * NAMES
        arena = SharedMemory(f"{self.prefix}-arena", create=True, size=size)
        with tempfile.TemporaryDirectory(prefix="storm-named-") as folder:
            if not keep:
                self.kept.clear()
                Path(folder, "few").touch()
            for _ in range(PROGRAMS):
                self.start(folder)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self.kill()
                time.sleep(self.random.random() * 0.03)
                dead = [p for p in self.leaders if p.poll() is not None]
                if len(self.leaders) - len(dead) < PROGRAMS:
                    self.start(folder)
            Path(folder, "over").touch()
            for one in self.leaders:
                one.wait()
            while session({one.pid for one in self.leaders}):
                time.sleep(0.001)
            self.kept.clear()
            end = time.monotonic() + PATIENCE
            while self.there() and time.monotonic() < end:
                time.sleep(0.01)
            for name in self.there():
                counts["left"] += 1
                print("left", name, flush=True)
                (DEV_SHM / name).unlink()
            for what in COUNTED:
                file = Path(folder, what)
                text = file.read_text() if file.exists() else ""
                # Without anybody who stays, the last one may die within.
                if what in BAD and (keep or what != "silent"):
                    counts[what] += text.count(
                        "\n\n" if what == "failed" else "\n"
                    )
                    print(what * bool(text), text, end="", flush=True)
                else:
                    counts[what] += 0 if what in BAD else len(text)
        arena.close()
        arena.unlink()
        counts["kills"] += self.kills
        counts["rounds"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0, help="in all")
    parser.add_argument("--round", type=float, default=2, help="seconds")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--user", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.user:
        begin(*options.user)
        return
    counts = dict.fromkeys(["rounds", "kills", *COUNTED, "left"], 0)
    end = time.monotonic() + options.seconds
    while counts["rounds"] < 2 or time.monotonic() < end:
        number = counts["rounds"]
        keep = number % 2 == 0
        Round(number, options.seed).run(options.round, keep, counts)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    if any(counts[what] for what in (*BAD, "left")):
        sys.exit(1)


if __name__ == "__main__":
    main()
