# SPDX-License-Identifier: MIT
"""Kills random users of channels, and of broadcasts.

    python tests/storm_channels.py --seconds 100 [MODE...]

In each round some processes write, the others read: forked ones, spawned ones
and those of a fork server. One of them is killed every few milliseconds,
wherever it is; some are stopped before, or go on after a stop; some kill
themselves where it hurts. Whoever is killed is replaced. Then all are killed,
and what is left is taken and counted. What must not happen:

  wrong    other bytes than were sent, or a message that was dropped; another
           order than its writer's, but for what comes again; nothing for five
           seconds
  twice    what get() gave out before; of receive(), if it does not say so
  lost     what was put, and nobody had: but for what each reader that was
           killed had got and not yet counted
  failed   an exception
  left     a name is there when all are gone

`still` is for how many milliseconds nobody went on, at most, `longest` for how
many somebody waited, `drain` how many it took to come to the end: all of them
are to be under a second, and as many more as who only slept was late.
"""

import argparse
import contextlib
import functools
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import storm_broadcast_modes
import storm_channel_modes
from storm_channel_notes import POINTS, WORKERS, Notes
from storm_channel_users import User

from shmemext import SharedMemory, _shmemext

DEV_SHM = Path("/dev/shm")
PREFIX = f"storm-channels-{os.getpid()}-"
PATIENCE = 60  # seconds, for reapers
SECOND = 1000  # milliseconds
# By place: most are forked, which is quick.
METHODS = ("fork", "spawn", "fork", "fork", "forkserver", "fork")
SLOW = ("still", "longest", "drain")
BAD = ("wrong", "twice", "lost", "failed", "left")


MODES = storm_channel_modes.MODES + storm_broadcast_modes.MODES


def work(name, place, seed, memory, thing, told):
    """Of a process that is told nothing any more."""
    try:
        user = User(place, seed, memory, told)
        (mode,) = (mode for mode in MODES if mode.name == name)
        user.dies_in_a_handler()
        user.notes.set(place, "pid", os.getpid())
        mode.use(user, thing)
    except BaseException:
        user.tell("failed", traceback.format_exc())
    finally:
        os._exit(0)


class Worker:
    def __init__(self, arguments, method):
        self.began = time.monotonic()
        if method == "fork":
            self.process = None
            self.pid = os.fork()
            if self.pid == 0:
                work(*arguments)
        else:
            context = multiprocessing.get_context(method)
            self.process = context.Process(target=work, args=arguments)
            self.process.start()
            self.pid = self.process.pid

    def is_gone(self):
        if self.process is not None:
            return self.process.exitcode is not None
        return os.waitpid(self.pid, os.WNOHANG)[0] != 0

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.join()
            self.process.close()
        else:
            os.waitpid(self.pid, 0)


class Round:
    def __init__(self, mode, number, seed, folder):
        self.mode = mode
        self.random = random.Random(f"{seed}-{number}")
        self.told = Path(folder, "told")
        self.told.write_text("")
        name = f"{PREFIX}{number}"
        size = Notes.SIZE
        self.memory = SharedMemory(f"{name}-notes", create=True, size=size)
        self.notes = Notes(self.memory)
        lifetime = self.random.choice(["family", "users"])
        self.thing = mode.make(name, lifetime)
        self.workers = []
        self.kills = 0
        self.still = 0.0
        self.late = 0.0

    def start(self, place):
        arguments = (
            *(self.mode.name, place, self.random.random()),
            *(self.memory, self.thing, str(self.told)),
        )
        return Worker(arguments, METHODS[place])

    def replace(self, place):
        self.notes.add(place, "killed")
        self.kills += 1
        self.workers[place] = self.start(place)

    def strike(self):
        """One of those who have begun: it takes a while to be spawned."""
        begun = [
            place
            for place in range(WORKERS)
            if self.notes.get(place, "pid") == self.workers[place].pid
        ]
        if not begun:
            return
        place = self.random.choice(begun)
        worker, chance = self.workers[place], self.random.random()
        if chance < 0.1:
            worker.signal(signal.SIGSTOP)
            time.sleep(self.random.random() * 0.005)
        if chance < 0.05:
            worker.signal(signal.SIGCONT)
            return
        worker.kill()
        self.replace(place)

    def sleep(self, seconds):
        """On a crowded machine it takes longer."""
        begin = time.monotonic()
        time.sleep(seconds)
        late = time.monotonic() - begin - seconds
        self.late = max(self.late, late * SECOND)

    def look(self):
        """Those who have killed themselves, and whether anybody goes on."""
        for place, worker in enumerate(self.workers):
            if worker.is_gone():
                self.replace(place)

    def rage(self, seconds):
        start_fork_server()
        self.workers = [self.start(place) for place in range(WORKERS)]
        begin = since = time.monotonic()
        seen = 0
        while time.monotonic() < begin + seconds or seen == 0:
            self.sleep(self.random.random() * 0.004)
            self.strike()
            self.look()
            done, now = self.notes.total("operations"), time.monotonic()
            if done != seen:
                seen, since = done, now
            self.still = max(self.still, (now - since) * SECOND)
            if self.told.stat().st_size or now > begin + seconds + PATIENCE:
                break
        for place, worker in enumerate(self.workers):
            worker.kill()
            self.notes.add(place, "killed")

    def end(self, counts):
        begin = time.monotonic()
        user = User(WORKERS - 1, 0, self.memory, str(self.told))
        results = self.mode.finish(self.thing, user)
        user.notes.release()
        drain = (time.monotonic() - begin) * SECOND
        self.thing.unlink()
        self.thing.close()
        text = self.told.read_text()
        results["wrong"] = text.count("\nwrong ")
        results["failed"] = text.count("\nfailed ")
        if any(results.get(what) for what in BAD):
            print(self.mode.name, results, text, flush=True)
        for what, count in results.items():
            counts[what] += count
        counts["kills"] += self.kills
        counts["operations"] += self.notes.total("operations")
        counts["drain"] = max(counts["drain"], drain)
        counts["still"] = max(counts["still"], self.still)
        longest = max(
            self.notes.get(place, "longest") for place in range(WORKERS)
        )
        counts["longest"] = max(counts["longest"], longest)
        counts["late"] = max(counts["late"], self.late)
        print(
            f"{self.mode.name}: {self.kills} kills, "
            f"{self.notes.total('operations')} operations, "
            f"{self.still:.0f} ms still, {longest} ms longest, "
            f"{drain:.0f} ms drain, {self.late:.0f} ms late",
            flush=True,
        )
        for what in POINTS:
            counts["at points"] += self.notes.total(what)
        self.notes.release()
        self.memory.close()
        self.memory.unlink()


@functools.cache
def start_fork_server():
    """Before there are workers: while it starts nobody replaces who dies."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=os.getpid)
    process.start()
    process.join()


def there():
    return [
        name
        for name in os.listdir(DEV_SHM)  # noqa: PTH208 (hot)
        if name.startswith(PREFIX)
    ]


def look_for_names(counts):
    """Nothing is left, some moments after the last one was killed."""
    _shmemext._sweep(False)
    end = time.monotonic() + PATIENCE
    while there() and time.monotonic() < end:
        time.sleep(0.01)
    for name in there():
        counts["left"] += 1
        print("left", name, flush=True)
        (DEV_SHM / name).unlink()


def storm(options, counts):
    wanted = [
        mode
        for mode in MODES
        if not options.modes or mode.name in options.modes
    ]
    seconds = options.seconds or options.each * len(wanted)
    each = min(options.round, max(seconds / len(wanted), 0.5))
    end = time.monotonic() + seconds
    number = 0
    with tempfile.TemporaryDirectory(prefix="storm-channels-") as folder:
        while number < len(wanted) or time.monotonic() < end:
            mode = wanted[number % len(wanted)]
            one = Round(mode, number, options.seed, folder)
            try:
                one.rage(each)
                one.end(counts)
            except BaseException:
                for worker in one.workers:
                    worker.signal(signal.SIGKILL)
                raise
            number += 1
            counts["rounds"] += 1
            if any(counts[what] for what in BAD):
                break
    look_for_names(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0, help="in all")
    parser.add_argument("--each", type=float, default=1, help="seconds")
    parser.add_argument("--round", type=float, default=3, help="seconds")
    parser.add_argument("--seed", default=str(time.time_ns()))
    parser.add_argument("modes", nargs="*", metavar="MODE")
    options = parser.parse_args()
    what = ["rounds", "kills", "at points", "operations", "messages"]
    what += ["again", "permitted", *BAD]
    counts = dict.fromkeys([*what, *SLOW, "late"], 0)
    try:
        storm(options, counts)
    except BaseException:
        counts["failed"] += 1
        traceback.print_exc()
    most = SECOND + counts["late"]
    slow = any(counts[what] >= most for what in SLOW)
    counts.update({what: f"{counts[what]:.0f} ms" for what in (*SLOW, "late")})
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    if slow or any(counts[what] for what in BAD):
        print(f"seed {options.seed}")
        sys.exit(1)


if __name__ == "__main__":
    main()
