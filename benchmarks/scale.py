# SPDX-License-Identifier: MIT
"""Scale: what many names, and names that are taken, cost.

The worst create is the longest of those that make some thousand names: what
grows with their number shows there, and not in a mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any

from bench import Bench, asking
from lifecycle import creating, pinned, timed
from side import Sides
from table import OURS, STDLIB, Row

SMALL = 4096
LARGE = 1 << 20
MANY = 10_000
SIDES = (OURS, STDLIB, "stdlib untracked")


# --- in the sides -----------------------------------------------------------


def make(peer: Any, name: str, size: int) -> None:
    peer.close(peer.create(name, size))


def remove(peer: Any, name: str) -> None:
    handle = peer.attach(name)
    peer.close(handle)
    peer.unlink(name, handle)


def names(count: int) -> list[str]:
    return [f"shmemext-bench-{os.getpid()}-{i}" for i in range(count)]


def worst(peer: Any, state: dict[str, Any], count: int) -> float:
    """Milliseconds of the longest create."""
    pinned(state)
    longest = 0.0
    try:
        for name in names(count):
            start = perf_counter()
            make(peer, name, 1)
            longest = max(longest, perf_counter() - start)
    finally:
        for name in names(count):
            with suppress(FileNotFoundError):
                remove(peer, name)
    return longest * 1e3


def among(peer: Any, state: dict[str, Any], held: int, count: int) -> float:
    """Microseconds of a cycle while so many others are there."""
    if "among" not in state:
        state["among"] = names(held)
        for name in state["among"]:
            make(peer, name, 1)

        def drop() -> None:
            for name in state["among"]:
                remove(peer, name)

        state["close"].append(drop)
    pinned(state)
    return timed(creating(peer, state, SMALL, False), count)


def taken(peer: Any, state: dict[str, Any], size: int, count: int) -> float:
    """Microseconds of a create that is told so."""
    name = f"shmemext-bench-{os.getpid()}-taken"
    make(peer, name, SMALL)
    pinned(state)

    def cycle() -> None:
        with suppress(FileExistsError):
            peer.create(name, size)

    try:
        return timed(cycle, count)
    finally:
        remove(peer, name)


def of_others(peer: Any, state: dict[str, Any], count: int) -> float:
    """Microseconds of removing a name that this object has not made."""
    some = names(count)
    for name in some:
        make(peer, name, 1)
    pinned(state)
    start = perf_counter()
    for name in some:
        remove(peer, name)
    return (perf_counter() - start) / count * 1e6


# --- in the measuring process -----------------------------------------------


def measure(bench: Bench) -> Iterator[list[Row]]:
    with Sides(bench.of(list(SIDES))) as sides:

        def rows(title: str, unit: str, work: str, **more: Any) -> list[Row]:
            measures: dict[str, Callable[[], float]] = {
                name: asking(side, "scale", work, **more)
                for name, side in sides.items()
            }
            return bench.paired("scale", title, unit, measures)

        yield rows(
            "create a taken name (4 KiB)", "us", "taken", size=SMALL, count=100
        )
        yield rows(
            "create a taken name (1 MiB)",
            "us",
            "taken",
            size=LARGE,
            count=10 if bench.quick else 100,
        )
        yield rows(
            "attach, close, unlink another's", "us", "of_others", count=200
        )
        many = 500 if bench.quick else MANY
        yield rows(
            f"the longest of {many:,} creates", "ms", "worst", count=many
        )
        yield rows(
            f"create, close, unlink among {many:,}",
            "us",
            "among",
            held=many,
            count=100,
        )
