# SPDX-License-Identifier: MIT
"""Measures shmemext against the standard library and other peers, as ratios.

Each question is one table. Within each work of it, all sides take turns in
paired rounds. Printed are the median and the middle half (p25-p75) of the
rounds, the ratio to the standard library, which is the median of the rounds'
own ratios, the ratio to a C program that makes the system calls alone, and
the reach: the ratio that is promised, or the number. README.md, beside this
file, says what each question is.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import access
import channels
import core_locks
import crash_matrix
import crowded
import filling
import fresh
import handoff
import holdings
import lifecycle
import lists
import objects
import peers
import scale
import synchronize
from bench import Bench
from floor import Floor
from install import reasons
from machine import about, caption, check_sides
from results import Results
from table import HEADINGS, Row, show

SECONDS = 3.0  # for each work
LIMIT = 600  # seconds, for each question

Question = Callable[[Bench], Iterable[list[Row]]]

# Beside the tables of rows there are some of another kind, the crash matrices:
# by the question, what is asked.
MATRICES = {"matrix": "memory", "locks": "locks", "queues": "queues"}
QUESTIONS: dict[str, tuple[str, Question]] = {
    "lifecycle": ("create, attach, both", lifecycle.measure),
    "first": ("the first create and what it starts", fresh.measure_first),
    "crowded": ("the first create against what is there", crowded.measure),
    "import": ("import time", fresh.measure_import),
    "handoff": ("an array to a waiting worker", handoff.measure),
    "filling": ("filling fresh memory", filling.measure),
    "access": ("element access", access.measure),
    "lists": ("ShareableList", lists.measure),
    "holdings": ("what 1,000 segments hold", holdings.measure),
    "scale": ("many names, and taken ones", scale.measure),
    "synchronize": ("locks and the like", synchronize.measure),
    "core": ("locks without Python", core_locks.measure),
    "channels": ("messages between processes", channels.measure),
    "objects": ("objects between processes", objects.measure),
}

# A quick run leaves the others out, and locks without Python, which have to
# be waited for.
SLOW = ("core",)
QUICK = (
    "shmemext",
    "shmemext write()",
    "shmemext hand-off",
    "shmemext arrays",
    "shmemext Channel",
    "pickle",
    "stdlib",
    "posix_ipc",
    "mp.Pipe",
    "mp.Queue",
    "multiprocessing",
    "shmemext ShareableList",
    "stdlib ShareableList",
)


def usable() -> tuple[list[str], dict[str, str]]:
    """The peers that can be used here, and why the others cannot."""
    good, left_out = [], {}
    why = reasons()
    for name in peers.NAMES:
        missing = peers.missing(name)
        if missing:
            package = peers.distribution(name) or ""
            left_out[name] = why.get(package.lower()) or missing
        else:
            good.append(name)
    return good, left_out


def labels_of(names: Iterable[str]) -> dict[str, str]:
    return {name: f"{name} {peers.version_of(name)}".strip() for name in names}


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    names = ", ".join([*QUESTIONS, *MATRICES])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="A,B", help=f"these questions, of: {names}"
    )
    parser.add_argument(
        "--peers", metavar="A,B", help="these sides, by name; see --list"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="under a minute, fewer rounds and sides",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"for each work, instead of {SECONDS:.0f}",
    )
    parser.add_argument(
        "--sizes", metavar="N,N", help="of the hand-off, in bytes"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the numbers too, into what is there from before",
    )
    parser.add_argument(
        "--list", action="store_true", help="print the sides and end"
    )
    options = parser.parse_args(arguments)
    some = [
        name
        for name in [*QUESTIONS, *MATRICES]
        if not options.quick or name not in SLOW
    ]
    asked = (options.only or ",".join(some)).replace(" ", "")
    options.only = asked.split(",")
    sizes = (options.sizes or "").split(",")
    options.sizes = tuple(int(size) for size in sizes if size)
    unknown = set(options.only) - {*QUESTIONS, *MATRICES}
    if unknown:
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    return options


class TooLong(Exception):
    """It is not this question's turn any more."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """What has been measured by then is the answer."""

    def stop(*_: object) -> None:
        raise TooLong(f"not answered whole in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answer(name: str, bench: Bench, results: Results) -> None:
    """One table, printed block by block."""
    words, question = QUESTIONS[name]
    print(f"{name}: {words}\n{HEADINGS}")
    rows: list[Row] = []
    error = ""
    results.begin(name, bench.quick)
    try:
        with limited(LIMIT):
            for block in question(bench):
                rows += block
                show(block, bench.labels)
    except Exception as reason:  # the others have their answers
        error = str(reason) if isinstance(reason, TooLong) else repr(reason)
        print(f"{name}: {error}", file=sys.stderr)
    results.end(rows, error=error)


def run(options: argparse.Namespace, good: list[str], into: Results) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        Floor(Path(directory)) as floor,
    ):
        if floor.why:
            print(f"no floor: {floor.why}", file=sys.stderr)
        bench = Bench(
            floor=floor,
            seconds=options.seconds or (0.1 if options.quick else SECONDS),
            least=2 if options.quick else 5,
            quick=options.quick,
            peers=good,
            sizes=options.sizes,
            labels=labels_of(good),
        )
        for name in options.only:
            if name in QUESTIONS:
                answer(name, bench, into)
                continue
            into.begin(name, bench.quick)
            found = crash_matrix.measure(bench, MATRICES[name])
            crash_matrix.show(found, bench.labels, MATRICES[name])
            into.end(matrix=found)


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    # so that what was started is ended, and what was made is removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    check_sides()
    good, left_out = usable()
    if options.list:
        print(*labels_of(good).values(), sep="\n")
        return
    asked = options.peers.split(",") if options.peers else peers.NAMES
    if options.quick and not options.peers:
        asked = QUICK
    good = [name for name in good if name in asked]
    began = perf_counter()
    machine = about()
    print(caption(machine))
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    print()
    versions = {name: peers.version_of(name) for name in good}
    run(options, good, Results(options.json, machine, versions, left_out))
    print(f"{perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
