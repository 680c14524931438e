# SPDX-License-Identifier: MIT
"""Kills random members of process families, round after round.

    python tests/storm.py --rounds 1000

Each round is a family: a tree of processes, started by fork, spawn and
forkserver, from threads too, that create, attach and unlink, under names of
their own and under shared ones. Some import nothing, or late, some only have
what they inherited, some run another program in the end, some drop their user.
Beside it is a neighbour, a family that does the same and dies more often.
Members are killed at random, then all that are left at once. Two
things must not happen:

  lost     a name whose family lives, and that nobody has unlinked, is gone
  leaked   a name, a directory or a reaper is there after all are dead

What a member has done it writes to the round's log, one write(2) for each
line: a create when it has happened, an unlink when it is about to happen. So
a name that the log has as created before one looks, and not as unlinked
after, was there in between, or it is lost.

Only processes of the rounds are killed, by number; their session tells.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import storm_bystanders
from family_children import (
    DEV_SHM,
    METHODS,
    directory,
    has_private_shm,
    processes,
    reapers,
    sweep,
    wait_until,
    with_private_shm,
)

KEEPER = storm_bystanders.KEEPER
NO_REAPERS = "SHMEMEXT_STORM_NO_REAPERS"  # root sweeps what is root's only
NOBODY = 65534
PATIENCE = 60  # seconds that reapers get
WORKERS = 5
MADE = {"created", "kept", "shared"}  # what the log calls creates
END = " ."
COUNTED = (
    *("rounds", "kills", "creates", "looks", "seen", "reapers", "swept"),
    *("slowest", "failed", "lost", "leaked"),
)
HELD = 8  # segments that a member keeps before it lets go of the oldest


# --- A member of a family


class Member:
    def __init__(self, log, prefix, seed, depth):
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self.arguments = (log, prefix)
        self.log_path = log
        self.keeper = Path("/proc", os.environ[KEEPER])
        self.prefix = prefix
        self.random = random.Random(seed)
        self.depth = depth
        self.count = 0
        self.held = []

    def tell(self, kind, word=""):
        """Killed in between, it writes half a line: that has no end, and
        does not spoil what comes after it."""
        os.write(self.log, f"\n{kind} {word}{END}\n".encode())

    def storm(self):
        """Until it is killed, or comes to an end of its own."""
        self.tell("family", directory())
        self.tell("member", os.getpid())
        actions = [
            *[self.create] * 6,
            *[self.contend] * 6,
            *[self.attach] * 4,
            *[self.unlink] * 2,
            self.take_away,
        ]
        while True:
            self.random.choice(actions)()
            if self.depth > 0 and self.random.random() < 0.004:
                self.fork()
            if self.random.random() < 0.01:
                self.ask()
            if self.random.random() < 0.001 and self.may_leave():
                if self.random.random() < 0.3:
                    os.execvp("true", ["true"])
                return

    def ask(self):
        """No storm outlives who watches it."""
        if not self.keeper.exists():
            os._exit(1)

    def may_leave(self):
        self.tell("leaving", os.getpid())
        return not Path(f"{self.log_path}-{os.getpid()}").exists()

    def create(self):
        from shmemext import SharedMemory

        self.count += 1
        track = self.random.random() > 0.01
        kind = "tracked" if track else "untracked"
        name = f"{self.prefix}-{os.getpid()}-{self.count}-{kind}"
        options = {} if track else {"track": False}
        size = self.random.choice([1, 100, 5000])
        segment = SharedMemory(name, create=True, size=size, **options)
        self.tell("created" if track else "kept", name)
        segment.buf[0] = 7
        self.held.append(segment)
        if len(self.held) > HELD and self.random.random() < 0.1:
            self.held.pop(0).close()  # the name stays
        elif len(self.held) > HELD:
            self.unlink()

    def contend(self):
        """For a few names that all members want."""
        from shmemext import SharedMemory

        name = f"{self.prefix}-shared{self.random.randrange(3)}"
        try:
            segment = SharedMemory(name, create=True, size=10)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                SharedMemory(name).unlink()
        else:
            self.tell("shared")
            if self.random.random() < 0.5:
                with contextlib.suppress(FileNotFoundError):
                    segment.unlink()
            segment.close()

    def others(self):
        names = [
            name
            for name in os.listdir(DEV_SHM)  # noqa: PTH208 (hot)
            if name.startswith(self.prefix) and "shared" not in name
        ]
        return self.random.sample(names, min(3, len(names)))

    def attach(self):
        from shmemext import SharedMemory

        for name in self.others():
            with contextlib.suppress(FileNotFoundError):
                segment = SharedMemory(name)
                assert len(segment.buf) > 0
                segment.close()

    def unlink(self):
        if self.held:
            segment = self.held.pop(self.random.randrange(len(self.held)))
            self.tell("unlinking", segment.name)
            with contextlib.suppress(FileNotFoundError):
                segment.unlink()
            segment.close()

    def take_away(self):
        """What somebody else has created."""
        from shmemext import SharedMemory

        for name in self.others()[:1]:
            self.tell("unlinking", name)
            with contextlib.suppress(FileNotFoundError):
                SharedMemory(name).unlink()

    def fork(self):
        what = self.random.choice(["storm", "storm", "hold", "drop"])
        if os.fork() == 0:
            with contextlib.suppress(BaseException):
                getattr(self, f"{what}_in_child")()
            os._exit(0)

    def storm_in_child(self):
        begin(*self.arguments, os.getpid(), self.depth - 1)

    def hold_in_child(self):
        """Touches nothing of what it inherited."""
        self.tell("member", os.getpid())
        while True:
            time.sleep(0.1)
            self.ask()

    def drop_in_child(self):
        """What it creates is another family's from then on, and its parent's
        stays as long as it is there."""
        if os.geteuid() != 0 or NO_REAPERS in os.environ:
            return
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        from shmemext import SharedMemory

        for i in range(20):
            name = f"{self.prefix}-{os.getpid()}-{i}-dropped"
            SharedMemory(name, create=True, size=1).close()
            self.tell("family", directory())
            time.sleep(0.005)

    def grow(self, methods):
        """The root: it has workers, and replaces those that died."""
        import multiprocessing

        workers = []
        while True:
            for worker in [w for w in workers if not has_started(w)]:
                workers.remove(worker)
            while len(workers) < WORKERS:
                method = self.random.choice(methods)
                context = multiprocessing.get_context(method)
                worker = context.Process(**self.some_target())
                self.start_beside_creates(worker)
                workers.append(worker)
            self.ask()
            time.sleep(0.002)
            for _ in range(10):
                self.create()
                self.contend()

    def some_target(self):
        seed = self.random.random()
        if self.random.random() < 0.4:
            seconds = self.random.choice([None, 0, 0.05, 0.2])
            args = (*self.arguments, seed, seconds)
            return {"target": storm_bystanders.stand_by, "args": args}
        return {"target": begin, "args": (*self.arguments, seed, 1)}

    def start_beside_creates(self, worker):
        """What multiprocessing itself started may be dead as well."""

        def start():
            with contextlib.suppress(OSError, EOFError):
                worker.start()

        thread = threading.Thread(target=start)
        thread.start()
        while thread.is_alive():
            self.create()
        thread.join()


def has_started(worker):
    """And lives: where its start failed there is nobody to ask for."""
    with contextlib.suppress(AssertionError):
        return worker.is_alive()
    return False


def begin(log, prefix, seed, depth):
    member = Member(log, prefix, seed, depth)
    try:
        member.storm()
    except Exception as error:
        member.tell("failed", repr(error))
        raise


def root(log, prefix, seed, methods):
    member = Member(log, prefix, seed, 0)
    member.tell("family", directory())
    member.tell("root", os.getpid())
    try:
        member.grow(methods)
    except Exception as error:
        member.tell("failed", repr(error))
        raise


# --- The round, from outside


class Round:
    def __init__(self, options, number, counts):
        self.options = options
        self.counts = counts
        self.random = random.Random(f"{options.seed}-{number}")
        self.folder = tempfile.TemporaryDirectory(prefix="shmemext-storm-")
        self.prefix = f"storm{os.getpid()}-{number}"
        self.killed = set()
        self.families = {}

    def start(self, label, methods):
        log = Path(self.folder.name, label)
        log.touch()
        with Path(self.folder.name, f"{label}-stderr").open("wb") as stderr:
            process = subprocess.Popen(
                [
                    *[sys.executable, "-W", "ignore", __file__, "--root"],
                    *[log, f"{self.prefix}{label}", str(self.random.random())],
                    *methods,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={
                    **os.environ,
                    KEEPER: str(os.getpid()),
                    **({NO_REAPERS: "1"} if self.options.kill_reapers else {}),
                },
                start_new_session=True,
            )
        self.families[process] = log
        return process

    def lines(self, log):
        for line in log.read_text().splitlines():
            if line.endswith(END):
                kind, _, word = line.removesuffix(END).partition(" ")
                yield kind, word

    def members(self, process):
        """Its session, helpers of multiprocessing included. Not waited for,
        the process keeps its number even when it is dead."""
        return [p for p, _, sid in processes() if sid == process.pid]

    def kill(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed.add(pid)
            self.counts["kills"] += 1

    def look(self, log):
        """Is all there that has been created and not unlinked?"""
        before = list(self.lines(log))
        here = set(os.listdir(DEV_SHM))  # noqa: PTH208
        after = list(self.lines(log))
        made = {word for kind, word in before if kind in ("created", "kept")}
        taken = {word for kind, word in after if kind == "unlinking"}
        lost = made - taken - here
        self.counts["looks"] += 1
        self.counts["seen"] += len(made - taken)
        self.counts["lost"] += len(lost)
        for name in sorted(lost)[:5]:
            print(f"LOST {name}", flush=True)

    def survivor(self, process, log):
        """Somebody whom the random kills spare, so that the family lives:
        the root, or a worker, the root being killed."""
        roots = [int(w) for kind, w in self.lines(log) if kind == "root"]
        joined = {int(w) for kind, w in self.lines(log) if kind == "member"}
        living = sorted(joined.intersection(self.members(process)))
        if living and self.random.random() < 0.5:
            chosen = self.random.choice(living)
            Path(f"{log}-{chosen}").touch()
            if ("leaving", str(chosen)) not in self.lines(log):
                return chosen
        return roots[0]

    def run(self):
        method = self.options.methods
        chosen = self.random.choice([[one] for one in method] + [method])
        main = self.start("a", chosen)
        log = self.families[main]

        def has_begun():
            kinds = [kind for kind, _ in self.lines(log)]
            return kinds.count("member") >= 2 or not self.members(main)

        assert wait_until(has_begun, 300), self.said(main)
        spared = self.survivor(main, log)
        for i in range(self.random.randrange(2, 5)):
            neighbour = self.start(f"b{i}", ["fork"])
            self.batter(main, spared, self.random.uniform(0.02, 0.15))
            self.look(log)
            if self.options.kill_reapers:
                self.kill_reapers()
            self.end(neighbour)
            self.look(log)
        if self.options.kill_reapers:
            self.kill_reapers()
        self.end(main)
        self.check()
        self.folder.cleanup()

    def batter(self, process, spared, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            living = self.members(process)
            for pid in self.random.sample(living, min(2, len(living))):
                if pid != spared:
                    self.kill(pid)
            time.sleep(self.random.uniform(0, 0.02))
        assert spared in self.members(process), self.said(process)

    def said(self, process):
        log = self.families[process]
        failed = [word for kind, word in self.lines(log) if kind == "failed"]
        return f"{failed}\n" + Path(f"{log}-stderr").read_text()

    def end(self, process):
        """The whole group at once; again, for whom it was forking."""
        self.counts["kills"] += len(self.members(process))
        os.killpg(process.pid, signal.SIGKILL)
        while self.members(process):
            os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.001)
        process.wait()

    def end_all(self):
        """Of a round that went wrong, or was interrupted."""
        for process in self.families:
            if process.returncode is None:
                self.end(process)

    def directories(self):
        return {
            word
            for log in set(self.families.values())
            for kind, word in self.lines(log)
            if kind == "family"
        }

    def kill_reapers(self):
        for pid in reapers(*self.directories()):
            self.kill(pid)
            self.counts["reapers"] += 1

    def unborn(self):
        """Directories of families that were killed before their first
        create: nobody owed them a reaper, the next sweep removes them."""
        found = set()
        for log in set(self.families.values()):
            said = list(self.lines(log))
            if not {kind for kind, _ in said}.intersection(MADE):
                found |= {Path(w) for kind, w in said if kind == "family"}
        return {path.name for path in found if not list(path.glob("l*"))}

    def lines_of(self, name):
        """The log of the family whose directory has that name."""
        for log in set(self.families.values()):
            if name in log.read_text():
                yield from list(self.lines(log))[-40:]

    def left(self, kept):
        names = set(os.listdir(DEV_SHM))  # noqa: PTH208
        found = {n for n in names if n.startswith(self.prefix)}
        found |= {Path(d).name for d in self.directories()} & names
        return sorted(found - kept) + reapers(*self.directories())

    def check(self):
        logs = set(self.families.values())
        said = [line for log in logs for line in self.lines(log)]
        taken = {word for kind, word in said if kind == "unlinking"}
        told = {word for kind, word in said if kind == "kept"}
        self.counts["creates"] += sum(kind in MADE for kind, _ in said)
        for kind, word in said:
            if kind == "failed":
                self.counts["failed"] += 1
                print("FAILED", word, flush=True)
        here = {p.name for p in DEV_SHM.glob(f"{self.prefix}*")}
        kept = {name for name in here if name.endswith("-untracked")}
        for name in told - taken - here:
            self.counts["lost"] += 1
            print(f"LOST {name}, although it is untracked", flush=True)
        start = time.monotonic()
        if self.options.kill_reapers:
            self.counts["swept"] += len(self.left(kept))
            sweep()
        unborn = self.unborn()
        if not wait_until(lambda: not self.left(kept | unborn), PATIENCE):
            left = self.left(kept | unborn)
            self.counts["leaked"] += len(left)
            print("LEAKED", *left[:5], len(left), flush=True)
            for name in left[:5]:
                files = sorted(path.name for path in DEV_SHM.glob(f"{name}/*"))
                print(f"  {name}: {files}", *self.lines_of(name), flush=True)
        sweep()
        if self.left(kept):
            self.counts["leaked"] += 1
            print("LEAKED, and not swept", *self.left(kept)[:5], flush=True)
        taken_time = time.monotonic() - start
        self.counts["slowest"] = max(self.counts["slowest"], taken_time)
        for name in kept:
            DEV_SHM.joinpath(name).unlink()


def weather(options):
    counts = dict.fromkeys(COUNTED, 0)
    start = told = time.monotonic()
    number, parent = 0, os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        while os.getppid() == parent:
            now = time.monotonic()
            if number >= options.rounds or now - start > options.seconds:
                break
            one = Round(options, number, counts)
            try:
                one.run()
            finally:
                one.end_all()
            number += 1
            counts["rounds"] = number
            if now - told > 60:
                told = now
                print(summary(counts), flush=True)
    finally:
        print(summary(counts), f"in {time.monotonic() - start:.0f} s")
        print(f"seed {options.seed}", flush=True)
    return int(any(counts[word] for word in ("failed", "lost", "leaked")))


def summary(counts):
    return ", ".join(
        f"{value:.3f} s {key}"
        if isinstance(value, float)
        else f"{value} {key}"
        for key, value in counts.items()
    )


def parse(words):
    parser = argparse.ArgumentParser(
        prog="storm.py",
        description="Kill random members of process families; count names "
        "that are lost or leaked.",
    )
    parser.add_argument("--rounds", type=int, default=1 << 60)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=METHODS
    )
    parser.add_argument("--seed", default=random.randrange(1 << 32))
    parser.add_argument(
        "--kill-reapers",
        action="store_true",
        help="the reapers too: the sweep then has to remove all",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="in the machine's /dev/shm, even if it can have its own",
    )
    return parser.parse_args(words)


def main(words):
    if words[:1] == ["--root"]:
        log, prefix, seed, *methods = words[1:]
        return root(log, prefix, seed, methods)
    options = parse(words)
    if not options.shared and has_private_shm():
        # Nobody else's families there, and nothing to clean up.
        command = [sys.executable, __file__, "--shared", *words]
        return subprocess.call(with_private_shm(command))
    return weather(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
