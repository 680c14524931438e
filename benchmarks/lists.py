# SPDX-License-Identifier: MIT
"""Measures shmemext.ShareableList against the standard library's, as ratios.

The table is that of run.py, without a floor: both sides take turns within
each round, the ratio is the median of the rounds' own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from itertools import repeat
from multiprocessing import shared_memory as stdlib
from pathlib import Path
from time import perf_counter
from typing import Any

from paired import Row, rounds, row
from run import HEADINGS, check_sides, line, machine

import shmemext

SIDES: dict[str, Any] = {
    "stdlib": stdlib.ShareableList,
    "ours": shmemext.ShareableList,
}
MANY = 10_000
MOST = 100_000
TEXT = "a text of some words"

Use = Callable[[Any], object]
Measure = Callable[[], float]


def get(sl: Any, count: int) -> None:
    for _ in repeat(None, count):
        sl[5]


def put(sl: Any, item: object, count: int) -> None:
    for _ in repeat(None, count):
        sl[5] = item


def timed(use: Callable[[], object]) -> Measure:
    """Microseconds of one use."""

    def measure() -> float:
        start = perf_counter()
        use()
        return (perf_counter() - start) * 1e6

    return measure


def on_lists(stack: ExitStack, sequence: Any, use: Use) -> dict[str, Measure]:
    """A measurement of each side, on a list of its own."""
    sides = {}
    for side, of in SIDES.items():
        sl = of(sequence)
        stack.callback(sl.shm.unlink)
        stack.callback(sl.shm.close)
        sides[side] = timed(lambda sl=sl: use(sl))  # type: ignore[misc]
    return sides


def building(of: Any, sequence: Any) -> Measure:
    """Microseconds of the constructor alone."""

    def measure() -> float:
        start = perf_counter()
        sl = of(sequence)
        elapsed = perf_counter() - start
        sl.shm.close()
        sl.shm.unlink()
        return elapsed * 1e6

    return measure


def works(stack: ExitStack) -> list[tuple[str, float, dict[str, Measure]]]:
    ints = range(100)
    texts = [TEXT] * 100
    batch = 1000
    last = MANY - 1
    numbers = list(range(MOST))
    return [
        (
            "get an int, 1,000 times, us",
            0.08,
            on_lists(stack, ints, lambda sl: get(sl, batch)),
        ),
        (
            "set an int, 1,000 times, us",
            0.08,
            on_lists(stack, ints, lambda sl: put(sl, 7, batch)),
        ),
        (
            "get a str, 1,000 times, us",
            0.12,
            on_lists(stack, texts, lambda sl: get(sl, batch)),
        ),
        (
            "set a str, 1,000 times, us",
            0.12,
            on_lists(stack, texts, lambda sl: put(sl, TEXT, batch)),
        ),
        (
            "list(sl) of 10,000 ints, us",
            0.05,
            on_lists(stack, range(MANY), list),
        ),
        (
            "build 100,000 ints, us",
            0.06,
            {side: building(of, numbers) for side, of in SIDES.items()},
        ),
        (
            "index of the last of 10,000, us",
            0.05,
            on_lists(stack, range(MANY), lambda sl: sl.index(last)),
        ),
        (
            "format of 100,000, us",
            0.05,
            on_lists(stack, numbers, lambda sl: sl.format),
        ),
    ]


def measure(seconds: float) -> list[Row]:
    print(HEADINGS)
    rows = []
    with ExitStack() as stack:
        for work, reach, sides in works(stack):
            of = row(work, rounds(sides, seconds, at_least=8), reach)
            rows.append(of)
            print(line(of), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="ten seconds, not forty"
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the numbers too"
    )
    options = parser.parse_args()

    check_sides()
    if stdlib.ShareableList is shmemext.ShareableList:
        sys.exit("multiprocessing.shared_memory has been replaced")
    about = machine()
    print(
        "Python {python}, shmemext {shmemext}, {system}, {cpus} CPUs, "
        "load {load:.2f}".format(**about)
    )
    rows = measure(1.0 if options.quick else 5.0)
    if options.json is not None:
        result = {
            **about,
            "rows": [{**asdict(of), "met": of.met} for of in rows],
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
