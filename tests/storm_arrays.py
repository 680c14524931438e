# SPDX-License-Identifier: MIT
"""Kills random users of arrays that travel by reference.

    python tests/storm_arrays.py --seconds 100

Some send arrays by pipes and by queues of multiprocessing, with hand-off, and
by a queue of ours: moved ones, shared ones, parts of them, ones that are kept
for as many as come. Others receive them, look at each byte, hold them, write
where they may, fork with them, and send them on. One of all these is killed
every few milliseconds, wherever it is, some after a stop; some kill themselves
between two steps. Whoever is killed is replaced: of a pipe, and of a queue of
multiprocessing, both ends are. Then all are killed, and what is left in our
queue is taken. What must not happen:

  wrong    other bytes than were sent, when they are received, or while they
           are held, by a child, too
  failed   an exception; or who should have ended did not
  left     a name is there when all are gone

`still` is for how many milliseconds nobody got anything from our queue, at
most: it is to be under a second, and as much more as who only slept was late.
`pools` is how many there were at most, `lost` how many at the end, when
nobody was alive: of each something is in flight that nobody will receive.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import storm_arrays_users as users
from arrays import np

from shmemext import Queue, SharedMemory, _pools, handoff

DEV_SHM = Path("/dev/shm")
PREFIX = f"storm-arrays-{os.getpid()}-"
PATIENCE = 60  # seconds, for reapers, and for who is to end
SECOND = 1000  # milliseconds
BAD = ("wrong", "failed", "left")


class Worker:
    def __init__(self, context, arguments):
        self.process = context.Process(target=users.work, args=arguments)
        self.process.start()
        self.pid = self.process.pid

    def is_gone(self):
        return self.process.exitcode is not None

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self):
        self.signal(signal.SIGKILL)
        self.process.join()
        self.process.close()


class Lane:
    """Processes that go on or end together, and what is between them."""

    def __init__(self, storm, first, method, ways, uses, ends=True):
        self.storm = storm
        self.first = first
        self.context = multiprocessing.get_context(method)
        self.ways = ways
        self.uses = uses
        self.ends = ends
        self.since = None
        self.workers = []
        self.begin()

    def start(self, number, way):
        place, storm = self.first + number, self.storm
        use, seed = self.uses[number], storm.random.random()
        arguments = (
            *(use, place, seed, storm.memory, storm.told),
            *(way, storm.queue),
        )
        return Worker(self.context, arguments)

    def begin(self):
        way = self.ways(self.context)
        numbers = range(len(self.uses))
        self.workers = [self.start(number, way) for number in numbers]
        self.since = None
        if isinstance(way, tuple):  # only they have it: so its end is seen
            for end in way:
                end.close()

    def begun(self):
        return [
            worker
            for number, worker in enumerate(self.workers)
            if self.storm.notes[self.first + number, 0] == worker.pid
        ]

    def look(self):
        """Replaces the dead. Who has lost its other end is to end, too, but
        for who may sleep on a lock that a dead one has."""
        gone = [worker.is_gone() for worker in self.workers]
        self.storm.kills += sum(gone)
        if not self.ends:
            for number, is_gone in enumerate(gone):
                if is_gone:
                    self.workers[number].end()
                    self.workers[number] = self.start(number, None)
        elif all(gone) or (any(gone) and self.uses[0] is users.send_by_queue):
            self.kill()
            self.begin()
        elif any(gone):
            now = time.monotonic()
            self.since = self.since or now
            if now > self.since + PATIENCE:
                self.storm.tell("failed", "the other end does not end")

    def kill(self):
        for worker in self.workers:
            worker.end()


def make_pipe(context):
    return context.Pipe(duplex=False)


def make_queue(context):
    return context.Queue(4)


def make_nothing(context):
    return None


class Storm:
    def __init__(self, options, folder):
        self.random = random.Random(options.seed)
        self.told = str(Path(folder, "told"))
        Path(self.told).write_text("")
        size = users.PLACES * len(users.WORDS) * 8
        self.memory = SharedMemory(f"{PREFIX}notes", create=True, size=size)
        self.notes = users.notes_of(self.memory)
        self.queue = Queue(32)
        self.kills = self.pools = 0
        self.still = self.late = 0.0
        pipe = (users.send_by_pipe, users.receive_by_pipe)
        queue = (users.send_by_queue, users.receive_by_queue)
        onward = (users.send_onward, users.receive_onward)
        lanes = {
            "pipe": (0, "fork", make_pipe, pipe),
            "spawn": (2, "spawn", make_pipe, pipe),
            "queue": (4, "fork", make_queue, queue),
            "ours": (6, "fork", make_nothing, onward * 2, False),
        }
        self.lanes = [
            Lane(self, *lanes[name]) for name in {*options.lanes, "ours"}
        ]

    def tell(self, what, text):
        with Path(self.told).open("a") as file:
            file.write(f"\n{what} {text}\n")

    def strike(self):
        lane = self.random.choice(self.lanes)
        begun = lane.begun()
        if begun:
            victim = self.random.choice(begun)
            if self.random.random() < 0.1:
                victim.signal(signal.SIGSTOP)
                time.sleep(self.random.random() * 0.005)
            victim.signal(signal.SIGKILL)

    def sleep(self, seconds):
        """On a crowded machine it takes longer."""
        begin = time.monotonic()
        time.sleep(seconds)
        late = time.monotonic() - begin - seconds
        self.late = max(self.late, late * SECOND)

    def got(self):
        """By those of our queue: receivers are the second of each two."""
        return int(self.notes[7:10:2, 1].sum())

    def rage(self, seconds):
        begin = since = time.monotonic()
        seen = 0
        while time.monotonic() < begin + seconds or seen == 0:
            self.sleep(self.random.random() * 0.02)
            self.strike()
            for lane in self.lanes:
                lane.look()
            got, now = self.got(), time.monotonic()
            if got != seen:
                seen, since = got, now
            if seen:
                self.still = max(self.still, (now - since) * SECOND)
            self.pools = max(self.pools, len(pools()))
            if Path(self.told).stat().st_size or now > begin + seconds + 60:
                break

    def end(self, counts):
        for lane in self.lanes:
            lane.kill()
        user = users.User(15, 0, self.memory, self.told)
        while not self.queue.empty():
            message = user.load(self.queue.get(timeout=PATIENCE))
            if message is not None:
                user.use(message)
                user.held.clear()
                counts["drained"] += 1
        self.queue.close()
        _pools.leave()
        counts["lost"] = len(pools())
        counts["kills"] = self.kills
        for word in users.WORDS[1:]:
            column = users.WORDS.index(word)
            counts[word] = int(self.notes[:, column].sum())
        counts["pools"] = self.pools
        text = Path(self.told).read_text()
        counts["wrong"] += text.count("\nwrong ")
        counts["failed"] += text.count("\nfailed ")
        if text:
            print(text, flush=True)


def pools():
    """Of all who use /dev/shm."""
    return [name for name in there() if name.endswith(".data")]


def there():
    return {
        name
        for name in os.listdir(DEV_SHM)  # noqa: PTH208 (hot)
        if name.startswith((PREFIX, "shmemext-pool.", "shmemext-queue."))
    }


def rage(options):
    """In a program of its own: its family's names go with it."""
    what = ["kills", *users.WORDS[1:], "drained", "pools", "lost"]
    counts = dict.fromkeys([*what, "still", "late", *BAD], 0)
    handoff.enable()
    with tempfile.TemporaryDirectory(prefix="storm-arrays-") as folder:
        storm = Storm(options, folder)
        try:
            storm.rage(options.seconds)
            storm.end(counts)
        finally:
            for lane in storm.lanes:
                for worker in lane.workers:
                    with contextlib.suppress(ValueError):
                        worker.signal(signal.SIGKILL)
            del storm.notes
            storm.memory.close()
            storm.memory.unlink()
    counts["still"] = round(storm.still)
    counts["late"] = round(storm.late)
    return counts


def look_for_names(before):
    """What is there, and was not before, is gone some moments later."""
    left = there() - before
    end = time.monotonic() + PATIENCE
    while left and time.monotonic() < end:
        time.sleep(0.01)
        left &= there()
    for name in left:
        print("left", name, flush=True)
    return len(left)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", default=str(time.time_ns()))
    parser.add_argument("lanes", nargs="*", default=["pipe", "spawn", "queue"])
    parser.add_argument("--inside", action="store_true", help="see rage()")
    options = parser.parse_args()
    if not np:
        sys.exit("there is no numpy")
    if options.inside:
        print(json.dumps(rage(options)))
        return
    before = there()
    done = subprocess.run(
        [
            *(sys.executable, *sys.orig_argv[1:]),
            *("--inside", "--seed", options.seed),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    *said, line = done.stdout.splitlines() or [""]
    print("\n".join(said))
    counts = json.loads(line) if done.returncode == 0 else {"failed": 1}
    counts["left"] = look_for_names(before)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    slow = counts.get("still", 0) >= SECOND + counts.get("late", 0)
    if slow or any(counts.get(what) for what in BAD):
        print(f"seed {options.seed}")
        sys.exit(1)


if __name__ == "__main__":
    main()
