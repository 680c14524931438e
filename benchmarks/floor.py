# SPDX-License-Identifier: MIT
"""floor.c, compiled and running: the side that has no Python in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from machine import DEV_SHM, places
from paired import Failed


class Floor:
    """Answers like the other sides. `why` says why there is none."""

    def __init__(self, directory: Path) -> None:
        self.name = f"shmemext-bench-floor-{os.getpid()}"
        self.used: set[str] = set()
        self.process: subprocess.Popen[str] | None = None
        self.why = ""
        self.serial = 0
        source = Path(__file__).with_name("floor.c")
        program = directory / "floor"
        compiler = os.environ.get("CC", "cc").split()
        command = [*compiler, "-O2", "-o", str(program), str(source), "-lrt"]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.why = str(error)
            return
        ours, theirs = places()
        child = [str(min(theirs))] if len(theirs) == 1 else []
        self.process = subprocess.Popen(
            [program, *child],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        os.sched_setaffinity(self.process.pid, ours)

    def __enter__(self) -> Floor:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.process is not None:
            if kind is not None:
                self.process.kill()
            self.process.communicate()
        for name in self.used:
            (DEV_SHM / name).unlink(missing_ok=True)

    def new_name(self) -> str:
        self.serial += 1
        return f"{self.name}-{self.serial}"

    def cycle(
        self, work: str, count: int, size: int, written: bool, name: str
    ) -> float:
        """Microseconds of one cycle of the work."""
        process = self.process
        if process is None:
            raise Failed(f"no floor: {self.why}")
        assert process.stdin is not None and process.stdout is not None
        self.used.add(name)
        process.stdin.write(f"{work} {count} {size} {written:d} {name}\n")
        answer = process.stdout.readline()
        if not answer:
            self.process, self.why = None, f"it failed at {work!r}"
            raise Failed(self.why)
        return float(answer)
