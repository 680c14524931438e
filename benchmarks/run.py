# SPDX-License-Identifier: MIT
"""Measures shmemext against multiprocessing.shared_memory, as ratios.

Each work runs in paired rounds: the standard library, shmemext and a C
program that makes the same system calls take turns within each round. Prints
the median of the rounds' ratios, its middle half (p25-p75), the medians
themselves, and the reach: the ratio that is promised. README.md, beside this
file, says what each work is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing import shared_memory as stdlib
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import fresh
from cycles import LARGE, Cycles, Floor
from fresh import Fresh
from paired import Ratio, Row, Samples, ratio, row

import shmemext

HEADINGS = (
    f"{'work':<34}{'stdlib':>10}{'ours':>10}  {'ratio (p25-p75)':<19}"
    f"{'floor':>9}{'ours/floor':>12}{'reach':>7}  met"
)


def check_sides() -> None:
    """Neither side may be the other in disguise."""
    home = Path(sysconfig.get_path("stdlib")).resolve()
    if home not in Path(stdlib.__file__).resolve().parents:
        sys.exit(f"not the standard library's: {stdlib.__file__}")
    if stdlib.SharedMemory is shmemext.SharedMemory:
        sys.exit("multiprocessing.shared_memory has been replaced")


def room() -> int:
    fs = os.statvfs("/dev/shm")
    return fs.f_bavail * fs.f_frsize if fs.f_blocks else LARGE * 2


def create_rows(cycles: Cycles) -> list[Row]:
    samples = cycles.create()
    of_create = row("create, close, unlink (4 KiB), us", samples, 0.6, 0.5)
    if "bare" not in samples:
        return [of_create]
    bare = Row(
        "  the same, by the floor's bare calls",
        None,
        None,
        None,
        median(samples["bare"]),
        ratio(samples["ours"], samples["bare"]),
    )
    return [of_create, bare]


def fill_rows(cycles: Cycles) -> list[Row]:
    if room() <= LARGE * 1.1:
        print("/dev/shm has no room for 64 MiB: left out", file=sys.stderr)
        return []
    return [row("create, fill, unlink (64 MiB), us", cycles.fill(), 1.0)]


def first_rows(clean: Fresh, seconds: float) -> list[Row]:
    samples = fresh.first_create(clean, seconds)
    return [
        row("first create of a process, us", samples["time"], 1.0),
        row("  CPU of what it starts, us", samples["cpu"], 1.0),
        row("  memory of what runs on, KiB", samples["memory"], 1.0),
    ]


def works(
    cycles: Cycles, clean: Fresh, seconds: float
) -> list[Callable[[], list[Row]]]:
    def one(
        work: str, reach: float | None, measure: Callable[[], Samples]
    ) -> Callable[[], list[Row]]:
        return lambda: [row(work, measure(), reach)]

    return [
        lambda: create_rows(cycles),
        one("attach, close, us", 0.45, cycles.attach),
        one(
            "attach, read a byte, close, us",
            None,
            lambda: cycles.attach(read=True),
        ),
        one("pickle, unpickle, close, us", 0.6, cycles.pickle),
        lambda: fill_rows(cycles),
        one(
            "import, over a bare start, CPU us",
            0.95,
            lambda: fresh.imports(clean, seconds),
        ),
        lambda: first_rows(clean, seconds),
    ]


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def spread(value: Ratio | None) -> str:
    if value is None:
        return "-"
    return f"{value.median:.2f} ({value.p25:.2f}-{value.p75:.2f})"


def line(of: Row) -> str:
    over = "-" if of.over_floor is None else f"{of.over_floor.median:.2f}"
    reach = "-" if of.reach is None else f"{of.reach:.2f}"
    met = "-" if of.met is None else "yes" if of.met else "NO"
    return (
        f"{of.work:<34}{number(of.stdlib):>10}{number(of.ours):>10}"
        f"  {spread(of.ratio):<19}{number(of.floor):>9}{over:>12}"
        f"{reach:>7}  {met}"
    )


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "shmemext": shmemext.__version__,
        "system": f"{platform.system()} {platform.release()}",
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
    }


def measure(seconds: float) -> list[Row]:
    print(HEADINGS)
    rows: list[Row] = []
    with ExitStack() as stack:
        floor = None
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clean = Fresh(Path(shmemext.__file__).parent, directory / "venv")
        try:
            floor = stack.enter_context(Floor(directory))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no floor: {error}", file=sys.stderr)
        cycles = Cycles(
            stdlib.SharedMemory, shmemext.SharedMemory, floor, seconds
        )
        for work in works(cycles, clean, seconds):
            for of in work():
                rows.append(of)
                print(line(of), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="half a minute, not two"
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the numbers too"
    )
    options = parser.parse_args()

    check_sides()
    began = perf_counter()
    about = machine()
    print(
        "Python {python}, shmemext {shmemext}, {system}, {cpus} CPUs, "
        "load {load:.2f}".format(**about)
    )
    rows = measure(2.5 if options.quick else 13.0)
    print(f"{perf_counter() - began:.0f} s")
    if options.json is not None:
        result = {
            **about,
            "rows": [{**asdict(of), "met": of.met} for of in rows],
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
