# SPDX-License-Identifier: MIT
"""The locks of csrc/core, with no Python near them, and what they promise.

at once    nobody else wants it, against pthread's robust mutex
contended  two processes want it all the time, against the same
the dead   their holder, or all their readers, are killed at once
asleep     what those cost who wait
the first  one of a process, and the descriptors that it takes
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import Bench, asking, counted
from machine import places
from paired import Failed, Measure, Samples, rounds
from side import Sides
from table import FLOOR, OURS, STDLIB, Row, rows_of

ROOT = Path(__file__).parent.parent
CORE = ROOT / "csrc" / "core"
# what locks need of it
PARTS = ("error.c", "os/*.c", "life/party*.c", "sync/*.c")
STANDARD = ("-std=c11", "-D_FILE_OFFSET_BITS=64", "-O2")
INCLUDES = (f"-I{CORE.parent}", f"-I{ROOT / 'tests' / 'core'}")
# as Python binds the modules that it loads
NOW = ("-pthread", "-Wl,-z,now")

QUESTION = "core"
ROBUST = "pthread robust"
WORDS = {OURS: "core", ROBUST: "robust", FLOOR: "bare"}
PAIRS = 20000
SHARE = 0.25  # of a work's time, since there are many of them
# Steps of a loop with the lock, and without.
CONTENDED = ((20, 20), (400, 400), (3000, 3000), (20, 3000))
READERS = 48
# Those who sleep, of whom there are fewer in a hurry, and the limit.
SLEEPERS = ((1, 1, 0.1), (800, 100, 3.0))


class Program:
    """core_locks.c, compiled: answers one order after another."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "core_locks"
        self.why = ""
        self.process: subprocess.Popen[str] | None = None
        try:
            self.compile(directory)
        except (OSError, subprocess.CalledProcessError) as error:
            self.why = str(error)[:120]

    def compile(self, directory: Path) -> None:
        compiler = os.environ.get("CC", "cc").split()
        sources = [path for part in PARTS for path in CORE.glob(part)]
        sources.append(Path(__file__).with_suffix(".c"))

        def compiled(source: Path) -> Path:
            made = directory / f"{source.stem}.o"
            words = [*compiler, *STANDARD, *INCLUDES]
            subprocess.run([*words, "-c", source, "-o", made], check=True)
            return made

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compiled, sources))
        subprocess.run(
            [*compiler, *objects, *NOW, "-o", self.path], check=True
        )

    def start(self) -> None:
        ours, theirs = places()
        pinned = [str(min(of)) for of in (ours, theirs) if len(of) == 1]
        self.process = subprocess.Popen(
            [self.path, *(pinned if ours != theirs else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def end(self) -> str:
        """What it complained of."""
        process, self.process = self.process, None
        return "" if process is None else process.communicate()[1]

    def ask(self, work: str, side: str, one: int, two: int) -> float:
        if self.why:
            raise Failed(f"no program: {self.why}")
        if self.process is None:
            self.start()
        process = self.process
        assert process is not None
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{work} {WORDS[side]} {one} {two}\n")
        answer = process.stdout.readline()
        if not answer:
            raise Failed(f"it ended at {work!r}: {self.end()[-80:].strip()}")
        return float(answer)

    def asking(self, work: str, side: str, one: int, two: int = 0) -> Measure:
        return lambda: self.ask(work, side, one, two)

    def first(self) -> float:
        """In a process that has done nothing yet."""
        self.end()
        took = self.ask("first", OURS, 0, 0)
        self.end()
        return took


# --- in the side ------------------------------------------------------------


def descriptors(peer: Any, state: dict[str, Any], locks: int) -> int:
    """How many a memory keeps open that has so many locks."""
    from shmemext import SharedMemory, synchronize

    def held() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    if "first" not in state:  # what a first one starts is not counted
        state["first"] = SharedMemory(create=True, size=4096)
        state["close"] += [state["first"].unlink, state["first"].close]
    before = held()
    with SharedMemory(create=True, size=4096) as memory:
        made = [synchronize.Lock(memory, 64 * at) for at in range(locks)]
        for lock in made:
            with lock:
                pass
        kept = held() - before
        memory.unlink()
    return kept


# --- in the measuring process -----------------------------------------------


def at_once(bench: Bench, program: Program) -> list[Row]:
    return bench.paired(
        QUESTION,
        "lock, unlock",
        "ns",
        {side: program.asking("pair", side, PAIRS) for side in WORDS},
        base=ROBUST,
        reach={OURS: 0.6},
    )


def contended(
    bench: Bench, program: Program, within: int, between: int
) -> list[Row]:
    return bench.paired(
        QUESTION,
        f"two want it, {within:,} steps with, {between:,} without",
        "ns",
        {
            side: program.asking("contended", side, within, between)
            for side in (OURS, ROBUST)
        },
        base=ROBUST,
        reach={OURS: 1.0},
    )


def longest(work: str, samples: Samples, limit: float) -> Row:
    values = samples.get(OURS)
    return Row(
        QUESTION,
        f"{work}: the longest",
        "ms",
        OURS,
        counted(max(values)) if values else None,
        limit=limit,
        note="" if values else "it failed",
    )


def of_deaths(
    work: str,
    sides: dict[str, Measure],
    least: int,
    limits: tuple[float, float],
) -> list[Row]:
    """Limits are of the median, and of the longest."""
    samples, failed = rounds(sides, 0.0, least)
    rows = rows_of(
        QUESTION,
        work,
        "ms",
        samples,
        failed=failed,
        base=ROBUST if ROBUST in sides else STDLIB,
        limit={OURS: limits[0]},
    )
    return [*rows, longest(work, samples, limits[1])]


def slept() -> Iterator[int]:
    """How many milliseconds, each time: slices get longer with them."""
    return (37 * number % 190 for number in count(1))


def deaths(bench: Bench, program: Program) -> Iterator[list[Row]]:
    def holder(side: str) -> Measure:
        times = slept()
        return lambda: program.ask("death", side, next(times), 0)

    def readers() -> float:
        return program.ask("readers", OURS, READERS, next(times))

    times = slept()
    yield of_deaths(
        "its holder is killed, a sleeper has it",
        {OURS: holder(OURS), ROBUST: holder(ROBUST)},
        4 if bench.quick else 20,
        (40.0, 150.0),
    )
    yield of_deaths(
        f"{READERS} readers are killed, a writer has it",
        {OURS: readers},
        2 if bench.quick else 10,
        (150.0, 150.0),
    )


def counted_row(work: str, unit: str, limit: float, measure: Measure) -> Row:
    row = Row(QUESTION, work, unit, OURS, limit=limit)
    try:
        return replace(row, time=counted(measure()))
    except Failed as why:
        return replace(row, note=str(why))


def asleep(bench: Bench, program: Program) -> Iterator[list[Row]]:
    milliseconds = 500 if bench.quick else 2000
    for many, few, limit in SLEEPERS:
        number = few if bench.quick else many
        measure = program.asking("sleepers", OURS, number, milliseconds)
        words = "one who sleeps" if number == 1 else f"{number} who sleep"
        yield [counted_row(words, "% of a core", limit, measure)]


def first(bench: Bench, program: Program) -> Iterator[list[Row]]:
    yield bench.paired(
        QUESTION,
        "the first lock of a process",
        "us",
        {OURS: program.first},
        limit={OURS: 25.0},
    )
    with Sides(bench.of([OURS])) as sides:
        for locks, limit in ((0, 0.0), (3, 1.0)):
            yield [
                counted_row(
                    f"a memory with {locks or 'no'} locks keeps",
                    "descriptors",
                    limit,
                    asking(
                        sides[OURS], "core_locks", "descriptors", locks=locks
                    ),
                )
            ]


def measure(bench: Bench) -> Iterator[list[Row]]:
    if OURS not in bench.peers:
        return
    bench = replace(bench, seconds=bench.seconds * SHARE)
    with TemporaryDirectory() as directory:
        program = Program(Path(directory))
        try:
            yield at_once(bench, program)
            for steps in CONTENDED:
                yield contended(bench, program, *steps)
            yield from deaths(bench, program)
            yield from asleep(bench, program)
            yield from first(bench, program)
        finally:
            program.end()
