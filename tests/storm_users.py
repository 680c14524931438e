# SPDX-License-Identifier: MIT
"""Kills random users of segments that are to go with their last user.

    python tests/storm_users.py --rounds 100

A round is several families that use the same few names, and segments that
only they know of: they create and attach, by name and by pickle, for reading
too, and grow; they fork children that only inherit, and others that run
another program; and they are killed at random. Then nobody is killed any
more: those who are left take all of the names, and end normally. What must
not happen:

  lost   the name is not that of the segment which somebody has mapped
  left   a name is there when all are gone; what was created by a family that
         was killed, when that has been swept

`slowest` is the longest time, in milliseconds, between the end of the last
user, who was not killed, and that of the name.
"""

import argparse
import contextlib
import ctypes
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

from shmemext import SharedMemory, _shmemext

DEV_SHM = Path("/dev/shm")
FAMILIES = 3
NAMES = 3
PATIENCE = 60  # seconds, for reapers
COUNTED = ("attaches", "forks", "execs", "starts", "looks", "failed", "lost")


def inode_of(segment):
    """Of what is mapped, not of what the name stands for; and without a
    descriptor, which would keep the name."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(segment._mmap))
    start = f"{address:08x}-"
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.startswith(start):
            return int(line.split()[4])
    raise LookupError(f"nothing is mapped at {start}")


class User:
    def __init__(self, folder, prefix, seed, parent=None):
        self.folder = folder
        self.prefix = prefix
        self.random = random.Random(seed)
        self.logs = {
            what: os.open(
                f"{folder}/{what}", os.O_WRONLY | os.O_APPEND | os.O_CREAT
            )
            for what in COUNTED
        }
        self.held = {}
        self.children = []
        self.parent = parent

    def count(self, what, word="."):
        os.write(self.logs[what], word.encode())

    def look(self):
        for segment, inode in self.held.items():
            self.count("looks")
            try:
                is_there = (DEV_SHM / segment.name).lstat().st_ino == inode
            except FileNotFoundError:
                is_there = False
            if not is_there:
                self.count("lost", f"{segment.name} {inode} {os.getpid()}\n")

    def shared_name(self):
        return f"{self.prefix}-{self.random.randrange(NAMES)}"

    def hold(self, segment):
        self.count("attaches")
        self.held[segment] = inode_of(segment)
        self.look()

    def take(self, name):
        self.hold(
            SharedMemory(
                name, create=True, size=100, lifetime="users", exist_ok=True
            )
        )

    def contend(self):
        self.take(self.shared_name())

    def create(self):
        name = f"{self.prefix}-own-{os.getpid()}-{self.random.random()}"
        self.take(name)

    def attach(self):
        with contextlib.suppress(FileNotFoundError):
            segment = SharedMemory(self.shared_name())
            self.hold(segment)

    def read(self):
        with contextlib.suppress(FileNotFoundError):
            SharedMemory(self.shared_name(), readonly=True).close()

    def grow(self):
        for segment in list(self.held)[:1]:
            segment.grow(segment.size + 5000)
            self.held[segment] = inode_of(segment)

    def leave(self):
        if self.held:
            self.held.popitem()[0].close()

    def fork(self):
        """A child that inherits, and looks; what it ends like varies."""
        if len(self.children) > 2:
            return
        how, ticks = self.random.random(), self.random.randrange(8)
        self.count("forks")
        pid = os.fork()
        if pid != 0:
            self.children.append(pid)
            return
        for _ in range(ticks):
            self.look()
            time.sleep(0.001)
        if how < 0.3:
            self.count("execs")
            os.execv("/bin/sleep", ["sleep", "0.01"])
        if how < 0.6:
            for segment in self.held:
                segment.close()
        if how < 0.8:
            sys.exit(0)
        os._exit(0)

    def start(self, method):
        """A worker that is given a segment, which we leave at once."""
        if not self.held or self.parent is not None:
            return
        segment, inode = self.held.popitem()
        context = multiprocessing.get_context(method)
        worker = context.Process(
            target=be_given, args=(self.folder, self.prefix, segment, inode)
        )
        # What multiprocessing itself has started may be dead.
        with contextlib.suppress(OSError, EOFError):
            worker.start()
            self.count("starts")
        segment.close()
        del worker

    def reap(self):
        for pid in list(self.children):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                self.children.remove(pid)
        multiprocessing.active_children()

    def is_over(self):
        return Path(f"{self.folder}/over").exists()

    def storm(self):
        actions = [
            *[self.contend] * 6,
            *[self.attach] * 4,
            *[self.leave] * 9,
            *[self.create] * 2,
            *[self.read, self.grow, self.look, self.reap],
            *[self.fork] * 2,
        ]
        while not self.is_over():
            self.random.choice(actions)()
            if self.random.random() < 0.02:
                self.start(self.random.choice(["spawn", "fork", "forkserver"]))
            if len(self.held) > 6:
                self.leave()
            if self.random.random() < 0.3:
                time.sleep(0.0005)
        for number in range(NAMES):
            self.take(f"{self.prefix}-{number}")
        for pid in self.children:
            os.waitpid(pid, 0)
        for child in multiprocessing.active_children():
            child.join()


def be_given(folder, prefix, segment, inode):
    user = User(folder, prefix, os.getpid(), parent=os.getppid())
    user.held[segment] = inode
    user.look()
    for _ in range(user.random.randrange(10)):
        time.sleep(0.001)
        user.look()


def begin(folder, prefix, seed):
    user = User(folder, prefix, seed)
    try:
        user.storm()
    except Exception:
        user.count("failed", f"{traceback.format_exc()}\n\n")
        raise


# --- From outside


def session(leaders):
    """The processes of those sessions that are not dead."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            text = (entry / "stat").read_text()
            fields = text[text.rindex(")") + 2 :].split()
            if fields[0] not in "ZX" and int(fields[3]) in leaders:
                found.append(pid)
    return found


class Round:
    def __init__(self, number, seed):
        self.random = random.Random(f"{seed}-{number}")
        self.prefix = f"storm-users-{os.getpid()}-{number}"
        self.kills = 0
        self.leaders = []

    def start(self, folder):
        words = [__file__, "--user", folder, self.prefix]
        self.leaders.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "ignore",
                    *words,
                    str(self.random.random()),
                ],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def kill(self):
        living = session([one.pid for one in self.leaders])
        if living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(living), signal.SIGKILL)
                self.kills += 1

    def there(self, kind=""):
        return [
            name
            for name in os.listdir(DEV_SHM)  # noqa: PTH208 (hot)
            if name.startswith(self.prefix + kind)
        ]

    def shared(self):
        return [name for name in self.there() if "-own-" not in name]

    def end(self, folder):
        """Those who are left end normally; one at least there is."""
        self.start(folder)
        time.sleep(0.2)
        Path(folder, "over").touch()
        while True:
            pids = {one.pid for one in self.leaders}
            if all(one.poll() is not None for one in self.leaders):
                break
            time.sleep(0.0002)
        # Children that were orphaned end by themselves; fork servers do not.
        last = time.monotonic()
        while session(pids):
            last = time.monotonic()
            time.sleep(0.0002)
        while self.shared() and time.monotonic() < last + 1:
            time.sleep(0.0002)
        return 1000 * (time.monotonic() - last), len(self.shared())

    def run(self, seconds, counts):
        with tempfile.TemporaryDirectory(prefix="storm-users-") as folder:
            for _ in range(FAMILIES):
                self.start(folder)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self.kill()
                time.sleep(self.random.random() * 0.06)
                dead = [p for p in self.leaders if p.poll() is not None]
                if len(self.leaders) - len(dead) < FAMILIES:
                    self.start(folder)
            slowest, left = self.end(folder)
            counts["slowest"] = max(counts["slowest"], slowest)
            counts["left"] += left
            self.sweep(counts)
            for what in COUNTED:
                file = Path(folder, what)
                text = file.read_text() if file.exists() else ""
                lines = text.count("\n\n" if what == "failed" else "\n")
                counts[what] += (
                    lines if what in ("failed", "lost") else len(text)
                )
                if lines:
                    print(what, text, flush=True)
        counts["kills"] += self.kills
        counts["rounds"] += 1

    def sweep(self, counts):
        """What killed families have left: their reapers are at work."""
        _shmemext._sweep(False)
        end = time.monotonic() + PATIENCE
        while self.there() and time.monotonic() < end:
            time.sleep(0.01)
        for name in self.there():
            counts["left"] += 1
            print("left", name, flush=True)
            (DEV_SHM / name).unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0, help="in all")
    parser.add_argument("--round", type=float, default=2, help="seconds")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--user", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.user:
        begin(*options.user)
        return
    counts = dict.fromkeys(["rounds", "kills", *COUNTED, "left", "slowest"], 0)
    end = time.monotonic() + options.seconds
    while counts["rounds"] < max(options.rounds, 1) or (
        time.monotonic() < end and not options.rounds
    ):
        Round(counts["rounds"], options.seed).run(options.round, counts)
    counts["slowest"] = f"{counts['slowest']:.1f} ms"
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    if counts["lost"] or counts["left"] or counts["failed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
