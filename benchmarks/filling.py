# SPDX-License-Identifier: MIT
"""Filling fresh memory: a segment of 256 MiB gets its bytes. The create is
not timed, the page faults of the first touch are. Used: once more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import peers
from bench import Bench, asking, of_floor
from lifecycle import pinned
from machine import room
from paired import Measure
from side import Sides
from table import FLOOR, OURS, STDLIB, Row

SIZE = 256 << 20
QUICK_SIZE = 32 << 20
WRITE = "shmemext write()"
SIDES = (
    OURS,
    WRITE,
    "shmemext populate()",
    STDLIB,
    "stdlib untracked",
    "posix_ipc",
    "sysv_ipc",
    "SharedArray",
)
POPULATED = "C floor, populated"
REACH = {"fill": 0.65, "refill": 1.1}


# --- in the sides -----------------------------------------------------------


def fill(peer: Any, state: dict[str, Any], size: int, used: bool) -> float:
    """Microseconds. `memory` may be what fills, not only where: it is in."""
    name = f"shmemext-bench-{os.getpid()}"
    array = state.setdefault("array", None)
    if array is None:
        array = state["array"] = memoryview(peers.payload(size))
    handle = peer.create(name, size)
    pinned(state)
    try:
        if used:
            peer.memory(handle)[:size] = array
        start = perf_counter()
        peer.memory(handle)[:size] = array
        return (perf_counter() - start) * 1e6
    finally:
        peer.close(handle)
        peer.unlink(name, handle)


def read(peer: Any, state: dict[str, Any], size: int, how: str) -> float:
    """Microseconds of copying out of a used segment."""
    name = f"shmemext-bench-{os.getpid()}"
    array = state.setdefault("array", None)
    if array is None:
        array = state["array"] = memoryview(peers.payload(size))
    handle = peer.create(name, size)
    try:
        handle.buf[:size] = array
        start = perf_counter()
        if how == "readinto":
            handle.readinto(array)
        else:
            array[:] = handle.buf[:size]
        return (perf_counter() - start) * 1e6
    finally:
        peer.close(handle)
        peer.unlink(name, handle)


# --- in the measuring process -----------------------------------------------


def measure(bench: Bench) -> Iterator[list[Row]]:
    size = QUICK_SIZE if bench.quick else SIZE
    if room() < 3 * size:
        return
    mib = f"{size >> 20} MiB"
    with Sides(bench.of(list(SIDES))) as sides:
        for used in (False, True):
            work = "refill" if used else "fill"
            measures: dict[str, Measure] = {
                FLOOR: of_floor(bench.floor, work, 1, size, scale=1e3)
            }
            if not used:
                measures[POPULATED] = of_floor(
                    bench.floor, "populate", 1, size, scale=1e3
                )
            for name, side in sides.items():
                measures[name] = asking(
                    side, "filling", "fill", 1e3, size=size, used=used
                )
            state = "a used" if used else "a fresh"
            rows = bench.paired(
                "filling", f"fill {state} {mib}: buf[:] = data", "ms", measures
            )
            yield rows
            if WRITE in sides:
                yield promised(bench, work, state, mib, measures)
        if WRITE in sides:
            yield reading(bench, sides, size, mib)


def promised(
    bench: Bench,
    work: str,
    state: str,
    mib: str,
    measures: dict[str, Measure],
) -> list[Row]:
    """write() against what it is there to replace."""
    return bench.paired(
        "filling",
        f"fill {state} {mib}: write(data) against buf[:] = data",
        "ms",
        {name: measures[name] for name in (OURS, WRITE)},
        base=OURS,
        reach={WRITE: REACH[work]},
    )


def reading(
    bench: Bench, sides: dict[str, Any], size: int, mib: str
) -> list[Row]:
    ours = sides[OURS]
    measures = {
        how: asking(ours, "filling", "read", 1e3, size=size, how=how)
        for how in ("data[:] = buf", "readinto")
    }
    return bench.paired(
        "filling",
        f"read {mib} out of a used segment",
        "ms",
        measures,
        base="data[:] = buf",
    )
