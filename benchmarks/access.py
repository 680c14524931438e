# SPDX-License-Identifier: MIT
"""Element access: one integer of 64 bits, got and set.

pyperf measures, where it is installed: an interpreter of its own for each side
and round, loops calibrated, warmed up. Otherwise the sides time a fixed loop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import repeat
from time import perf_counter
from typing import Any

import peers
from bench import PATIENCE, Bench, asking, of_floor
from lifecycle import pinned
from machine import places
from paired import Failed, Measure
from side import Lost, Sides
from table import FLOOR, Row, rows_of

BASE = {False: "stdlib", True: "Manager().dict()"}
TITLE = {False: "by index", True: "by key"}
FLOOR_LOOP = 10_000_000
LOOP = 200


def get(loops: int, of: Any, key: Any) -> float:
    """Seconds. pyperf chooses how many loops."""
    start = perf_counter()
    for _ in repeat(None, loops):
        of[key]
    return perf_counter() - start


def put(loops: int, of: Any, key: Any) -> float:
    start = perf_counter()
    for _ in repeat(None, loops):
        of[key] = 7
    return perf_counter() - start


def checked(of: Any, key: Any) -> None:
    of[key] = 1234567
    if of[key] != 1234567:
        raise Lost(f"it returns {of[key]}, not 1234567")


# --- under pyperf -----------------------------------------------------------


def calibrated(use: Any, of: Any, key: Any) -> int:
    """As many loops as take 20 ms."""
    loops = 1
    while use(loops, of, key) < 0.02:
        loops *= 2
    return loops


def under_pyperf(name: str) -> None:
    """Both works of a side, as one of pyperf's workers; prints nanoseconds."""
    import pyperf

    sys.argv[1:] = ["--worker", "--quiet", "--loops", "1"]
    sys.argv += ["--values", "3", "--warmups", "1"]
    runner = pyperf.Runner()
    runner.parse_args()
    of, key, close = peers.load(name).element()
    found = {}
    try:
        checked(of, key)
        os.sched_setaffinity(0, places()[0])
        for what, use in (("get", get), ("set", put)):
            runner.args.loops = calibrated(use, of, key)
            bench = runner.bench_time_func(what, use, of, key)
            found[what] = bench.mean() * 1e9
    finally:
        close()
    print(json.dumps(found))


def by_pyperf_once(name: str) -> dict[str, float]:
    """Nanoseconds of both works."""
    done = subprocess.run(
        [sys.executable, __file__, name],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it failed"]
        raise Failed(lines[-1].replace("side.Lost", "LOSES DATA")[:120])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- in the sides, without pyperf -------------------------------------------


def use(peer: Any, state: dict[str, Any], what: str) -> float:
    """Nanoseconds of one use."""
    if "element" not in state:
        of, key, close = peer.element()
        state["element"] = of, key
        state["close"].append(close)
        checked(of, key)
        pinned(state)
    of, key = state["element"]
    return (get if what == "get" else put)(LOOP, of, key) / LOOP * 1e9


# --- in the measuring process -----------------------------------------------


def measure(bench: Bench) -> Iterator[list[Row]]:
    able = bench.of(peers.able("element"))
    for by_key in (False, True):
        names = [
            name
            for name in able
            if getattr(peers.kind(name), "by_key", False) == by_key
        ]
        if bench.quick or find_spec("pyperf") is None:
            yield from by_sides(bench, by_key, names)
        else:
            yield from by_pyperf(bench, by_key, names)


def with_floor(
    bench: Bench, what: str, by_key: bool, sides: dict[str, Measure]
) -> dict[str, Measure]:
    if what == "set" or by_key:
        return sides
    return {FLOOR: of_floor(bench.floor, "get", FLOOR_LOOP, 4096), **sides}


def title(what: str, by_key: bool) -> str:
    return f"{what} an integer {TITLE[by_key]}"


def by_sides(
    bench: Bench, by_key: bool, names: list[str]
) -> Iterator[list[Row]]:
    with Sides(names) as sides:
        for what in ("get", "set"):
            measures = {
                name: asking(side, "access", "use", what=what)
                for name, side in sides.items()
            }
            yield bench.paired(
                "access",
                title(what, by_key),
                "ns",
                with_floor(bench, what, by_key, measures),
                base=BASE[by_key],
            )


def by_pyperf(
    bench: Bench, by_key: bool, names: list[str]
) -> Iterator[list[Row]]:
    put_: dict[str, list[float]] = {name: [] for name in names}

    def measure_of(name: str) -> Measure:
        def both() -> float:
            found = by_pyperf_once(name)
            put_[name].append(found["set"])
            return found["get"]

        return both

    yield bench.paired(
        "access",
        title("get", by_key),
        "ns",
        with_floor(
            bench, "get", by_key, {name: measure_of(name) for name in names}
        ),
        base=BASE[by_key],
    )
    yield set_rows(by_key, put_)


def set_rows(by_key: bool, values: dict[str, list[float]]) -> list[Row]:
    """Measured in the rounds of the other work; the first warmed up."""
    most = max(map(len, values.values()), default=0)
    samples = {name: of[1:] for name, of in values.items() if len(of) == most}
    return rows_of(
        "access", title("set", by_key), "ns", samples, base=BASE[by_key]
    )


if __name__ == "__main__":
    under_pyperf(sys.argv[1])
