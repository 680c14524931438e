# SPDX-License-Identifier: MIT
"""Lifecycle: what it costs to create, to attach, and both.

Cycles that end where they began, timed in batches by the sides themselves.
Written pages are filled by who creates and read by who attaches; untouched
ones are only mapped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pickle import dumps, loads
from time import perf_counter
from typing import Any

import peers
from bench import Bench, asking, of_floor
from machine import places, room
from paired import Measure
from side import Sides
from table import FLOOR, OURS, STDLIB, Row

SMALL = 4096
LARGE = 64 << 20
RESERVED = "C floor, reserved"
SIDES = (
    OURS,
    "shmemext reserve=False",
    STDLIB,
    "stdlib untracked",
    "posix_ipc",
    "sysv_ipc",
    "SharedArray",
)

# After a batch: the stdlib's tracker reads what it was sent.
PAUSE = 0.002

# What is promised, by work, size and whether pages are written.
REACH = {
    ("create", SMALL, False): 0.6,
    ("attach", SMALL, False): 0.45,
    ("create", LARGE, True): 1.0,
}
WORDS = {
    "create": "create, close, unlink",
    "attach": "attach, close",
    "both": "create, attach, close both, unlink",
}


# --- in the sides -----------------------------------------------------------


def pinned(state: dict[str, Any]) -> None:
    """After the helpers were started, which may run anywhere."""
    if "pinned" not in state:
        state["pinned"] = True
        os.sched_setaffinity(0, places()[0])


def timed(cycle: Callable[[], object], count: int) -> float:
    """Microseconds of one cycle out of `count`."""
    for _ in repeat(None, count // 5):
        cycle()  # what slept is awake again
    start = perf_counter()
    for _ in repeat(None, count):
        cycle()
    elapsed = perf_counter() - start
    time.sleep(PAUSE)
    return elapsed / count * 1e6


def kept(peer: Any, state: dict[str, Any], size: int) -> tuple[str, Any]:
    """A segment that stays as long as the side, all of its pages written."""
    if size not in state:
        name = f"shmemext-bench-kept-{os.getpid()}-{size}"
        handle = peer.create(name, size)
        state[size] = name, handle

        def drop() -> None:
            peer.close(handle)
            peer.unlink(name, handle)

        state["close"].append(drop)
        peers.put_in_pages(peer.memory(handle), 1)
    found: tuple[str, Any] = state[size]
    return found


def data_of(state: dict[str, Any], size: int) -> bytes:
    if ("data", size) not in state:
        state["data", size] = b"\1" * size
    found: bytes = state["data", size]
    return found


def creating(
    peer: Any, state: dict[str, Any], size: int, written: bool
) -> Callable[[], object]:
    own = f"shmemext-bench-{os.getpid()}"
    name = None if peer.generates else own
    data = data_of(state, size) if written else b""

    def cycle() -> None:
        handle = peer.create(name, size)
        if written:
            peer.memory(handle)[:size] = data
        peer.close(handle)
        peer.unlink(name, handle)

    return cycle


def attaching(
    peer: Any, name: str, size: int, written: bool
) -> Callable[[], object]:
    read = first_byte if size <= SMALL else peers.sum_of_pages

    def cycle() -> None:
        handle = peer.attach(name)
        if written:
            read(peer.memory(handle))
        peer.close(handle)

    return cycle


def first_byte(memory: Any) -> int:
    """Of a page, enough to have it mapped."""
    byte: int = memory[0]
    return byte


def both_ways(
    peer: Any, state: dict[str, Any], size: int, written: bool
) -> Callable[[], object]:
    name = f"shmemext-bench-{os.getpid()}-{size}"
    data = data_of(state, size) if written else b""
    attach = attaching(peer, name, size, written)

    def cycle() -> None:
        handle = peer.create(name, size)
        if written:
            peer.memory(handle)[:size] = data
        attach()
        peer.close(handle)
        peer.unlink(name, handle)

    return cycle


def cycle_of(
    peer: Any,
    state: dict[str, Any],
    what: str,
    size: int,
    written: bool,
    count: int,
) -> float:
    """Microseconds of a cycle of "create", "attach" or "both"."""
    if what == "attach":
        name, _ = kept(peer, state, size)
        cycle = attaching(peer, name, size, written)
    else:
        make = creating if what == "create" else both_ways
        cycle = make(peer, state, size, written)
    cycle()
    pinned(state)
    return timed(cycle, count)


def pickled(peer: Any, state: dict[str, Any], count: int) -> float:
    _, shm = kept(peer, state, SMALL)
    pinned(state)
    return timed(lambda: loads(dumps(shm)).close(), count)


# --- in the measuring process -----------------------------------------------


def works(bench: Bench) -> Iterator[tuple[str, int, bool]]:
    """In the order of the table; a quick run leaves some out."""
    for size in (SMALL, LARGE):
        for work in WORDS:
            for written in (False, True):
                few = work == "both" or written == (size == SMALL)
                if not (bench.quick and few):
                    yield work, size, written


def floors(
    bench: Bench, work: str, count: int, size: int, written: bool
) -> dict[str, Measure]:
    floor = bench.floor
    if work != "attach":
        sides = {FLOOR: of_floor(floor, work, count, size, written)}
        if work == "create":
            sides[RESERVED] = of_floor(floor, "whole", count, size, written)
        return sides
    name = floor.new_name()
    if floor.process is not None:
        floor.cycle("keep", 1, size, True, name)
    return {FLOOR: lambda: floor.cycle(work, count, size, written, name)}


def title(work: str, size: int, written: bool) -> str:
    of_size = "4 KiB" if size == SMALL else "64 MiB"
    touched = "untouched"
    if written:
        touched = "every page read" if work == "attach" else "written"
    return f"{WORDS[work]} ({of_size}, {touched})"


def measure(bench: Bench) -> Iterator[list[Row]]:
    names = bench.of(list(SIDES))
    with Sides(names) as sides:
        for work, size, written in works(bench):
            if size == LARGE and room() < 12 * LARGE:
                continue
            # A few milliseconds: a batch that is longer than a slice of the
            # scheduler's is rarely left alone on a busy machine.
            large = size == LARGE and (written or work != "attach")
            count = 1 if large else 100
            measures = floors(bench, work, count, size, written)
            for name, side in sides.items():
                measures[name] = asking(
                    side,
                    "lifecycle",
                    "cycle_of",
                    what=work,
                    size=size,
                    written=written,
                    count=count,
                )
            reach = REACH.get((work, size, written))
            yield bench.paired(
                "lifecycle",
                title(work, size, written),
                "us",
                measures,
                reach={} if reach is None else {OURS: reach},
            )
        yield pickle_rows(bench, sides)


def pickle_rows(bench: Bench, sides: dict[str, Any]) -> list[Row]:
    measures = floors(bench, "attach", 100, SMALL, False)
    for name in (OURS, STDLIB):
        if name in sides:
            measures[name] = asking(
                sides[name], "lifecycle", "pickled", count=100
            )
    return bench.paired(
        "lifecycle",
        "pickle, unpickle, close (4 KiB, untouched)",
        "us",
        measures,
        reach={OURS: 0.6},
    )
