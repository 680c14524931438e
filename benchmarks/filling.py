# SPDX-License-Identifier: MIT
"""Filling fresh memory: a segment of 256 MiB gets its bytes. The create is
not timed, the page faults of the first touch are. Used: a slice has filled it
before."""

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
from side import Side, Sides
from table import FLOOR, OURS, STDLIB, Row

SIZE = 256 << 20
QUICK_SIZE = 32 << 20
WRITE = "shmemext write()"
POPULATE = "shmemext populate()"
SIDES = (
    OURS,
    WRITE,
    POPULATE,
    STDLIB,
    "stdlib untracked",
    "posix_ipc",
    "sysv_ipc",
    "SharedArray",
)
POPULATED = "C floor, populated"
# How many times as long as write() slices are to take, at least, by what was
# there before.
REACH = {"": 1 / 0.65, "plain": 1 / 1.1}
# Its create writes every page.
NEVER_FRESH = "sysv_ipc"


# --- in the sides -----------------------------------------------------------


def fill(
    peer: Any, state: dict[str, Any], size: int, before: str = ""
) -> float:
    """Microseconds. `memory` may be what fills, not only where: it is in.
    Before: "plain", it was filled by a slice; "same", by what is measured."""
    name = f"shmemext-bench-{os.getpid()}"
    array = state.setdefault("array", None)
    if array is None:
        array = state["array"] = memoryview(peers.payload(size))
    handle = peer.create(name, size)
    pinned(state)
    plain = getattr(peer, "plain", peer.memory)
    try:
        if before:
            how = plain if before == "plain" else peer.memory
            how(handle)[:size] = array
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
        for work, before, words in (
            ("fill", "", f"fill a fresh {mib}"),
            ("refill", "plain", f"fill a used {mib}"),
        ):
            measures = {FLOOR: floor_of(bench, work, size)}
            if work == "fill":
                measures[POPULATED] = floor_of(bench, "populate", size)
            leave_out = NEVER_FRESH if work == "fill" else POPULATE
            for name, side in sides.items():
                if name != leave_out:
                    measures[name] = filled(side, size, before)
            yield bench.paired(
                "filling", f"{words}: buf[:] = data", "ms", measures
            )
            if WRITE in sides:
                yield against_slices(
                    bench, sides, f"{words}: write(data)", size, before
                )
        if WRITE in sides:
            words = f"fill {mib} twice, the second time"
            yield against_slices(bench, sides, words, size, "same")
            yield reading(bench, sides, size, mib)


def floor_of(bench: Bench, work: str, size: int) -> Measure:
    return of_floor(bench.floor, work, 1, size, scale=1e3)


def filled(side: Side, size: int, before: str) -> Measure:
    return asking(side, "filling", "fill", 1e3, size=size, before=before)


def against_slices(
    bench: Bench, sides: dict[str, Side], work: str, size: int, before: str
) -> list[Row]:
    """write() against what it is there to replace."""
    reach = REACH.get(before)
    return bench.paired(
        "filling",
        f"{work}, against buf[:] = data",
        "ms",
        {name: filled(sides[name], size, before) for name in (OURS, WRITE)},
        base=WRITE,
        reach={} if reach is None else {OURS: reach},
    )


def reading(
    bench: Bench, sides: dict[str, Side], size: int, mib: str
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
