# SPDX-License-Identifier: MIT
"""The works that are measured inside one process: cycles that end where they
began, timed in batches. The floor is floor.c, which takes its turns too."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from pickle import dumps, loads
from time import perf_counter
from types import TracebackType
from typing import Any

from paired import Samples, rounds

SMALL = 4096
LARGE = 64 << 20
DEV_SHM = Path("/dev/shm")

# After a batch: the stdlib's tracker reads what it was sent.
PAUSE = 0.002

# Cycles; one, where they are large. A few milliseconds: a batch that is longer
# than a slice of the scheduler's is rarely left alone on a busy machine.
BATCH = 100


class Floor:
    """floor.c, compiled and running."""

    def __init__(self, directory: Path) -> None:
        source = Path(__file__).with_name("floor.c")
        program = directory / "floor"
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run(
            [*compiler, "-O2", "-o", program, source, "-lrt"], check=True
        )
        self.name = f"shmemext-bench-floor-{os.getpid()}"
        self.process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Floor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.process.kill()
        self.process.communicate()
        (DEV_SHM / self.name).unlink(missing_ok=True)

    def cycle(self, work: str, count: int, name: str | None = None) -> float:
        """Microseconds of one cycle of the work."""
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{work} {count} {name or self.name}\n")
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the floor program failed at {work!r}")
        return float(answer)


def timed(cycle: Callable[[], object], count: int) -> Callable[[], float]:
    """A measurement: microseconds of one cycle out of `count`."""

    def measure() -> float:
        for _ in repeat(None, count // 5):
            cycle()  # what slept is awake again
        start = perf_counter()
        for _ in repeat(None, count):
            cycle()
        elapsed = perf_counter() - start
        time.sleep(PAUSE)
        return elapsed / count * 1e6

    return measure


def create(shared_memory: Any) -> Callable[[], object]:
    def cycle() -> None:
        shm = shared_memory(create=True, size=SMALL)
        try:
            shm.close()
        finally:
            shm.unlink()

    return cycle


def fill(shared_memory: Any, data: bytes) -> Callable[[], object]:
    def cycle() -> None:
        shm = shared_memory(create=True, size=LARGE)
        try:
            shm.buf[:] = data
            shm.close()
        finally:
            shm.unlink()

    return cycle


def attach(shared_memory: Any, name: str) -> Callable[[], object]:
    def cycle() -> None:
        shared_memory(name).close()

    return cycle


def attach_and_read(shared_memory: Any, name: str) -> Callable[[], object]:
    def cycle() -> None:
        shm = shared_memory(name)
        shm.buf[0]
        shm.close()

    return cycle


def through_pickle(shm: Any) -> Callable[[], object]:
    def cycle() -> None:
        loads(dumps(shm)).close()

    return cycle


class Cycles:
    """The in-process measurements, of the stdlib's class and of ours."""

    def __init__(
        self, stdlib: Any, ours: Any, floor: Floor | None, seconds: float
    ) -> None:
        self.classes = {"stdlib": stdlib, "ours": ours}
        self.floor = floor
        self.seconds = seconds

    def _measure(
        self,
        cycles: dict[str, Callable[[], object]],
        count: int,
        floors: dict[str, str],
        name: str | None = None,
    ) -> Samples:
        sides = {side: timed(cycle, count) for side, cycle in cycles.items()}
        if self.floor is not None:
            for side, work in floors.items():
                sides[side] = self._floor(work, count, name)
        return rounds(sides, self.seconds, at_least=8)

    def _floor(
        self, work: str, count: int, name: str | None
    ) -> Callable[[], float]:
        floor = self.floor
        assert floor is not None
        return lambda: floor.cycle(work, count, name)

    def create(self) -> Samples:
        cycles = {side: create(of) for side, of in self.classes.items()}
        return self._measure(cycles, BATCH, {"floor": "whole", "bare": "bare"})

    def fill(self) -> Samples:
        data = b"\1" * LARGE
        cycles = {side: fill(of, data) for side, of in self.classes.items()}
        return self._measure(cycles, 1, {"floor": "large"})

    def attach(self, read: bool = False) -> Samples:
        """All sides attach to the same segment."""
        make = attach_and_read if read else attach
        existing = self.classes["stdlib"](create=True, size=SMALL)
        try:
            name = existing.name
            return self._measure(
                {side: make(of, name) for side, of in self.classes.items()},
                BATCH,
                {} if read else {"floor": "attach"},
                name,
            )
        finally:
            existing.close()
            existing.unlink()

    def pickle(self) -> Samples:
        existing: dict[str, Any] = {}
        try:
            for side, of in self.classes.items():
                existing[side] = of(create=True, size=SMALL)
            cycles = {
                side: through_pickle(shm) for side, shm in existing.items()
            }
            name = existing["stdlib"].name
            return self._measure(cycles, BATCH, {"floor": "attach"}, name)
        finally:
            for shm in existing.values():
                shm.close()
                with suppress(FileNotFoundError):
                    shm.unlink()
