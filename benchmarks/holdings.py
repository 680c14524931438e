# SPDX-License-Identifier: MIT
"""What 1,000 segments of 4 KiB hold in the process that made them:
descriptors, mappings, resident memory. Counted, not timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench import PATIENCE, Bench, counted_rows
from paired import Failed
from side import Side, Sides
from table import OURS, STDLIB, Row

COUNT = 1000
SIZE = 4096
SIDES = (
    OURS,
    STDLIB,
    "stdlib untracked",
    "posix_ipc",
    "sysv_ipc",
    "SharedArray",
)
UNITS = ("descriptors", "mappings", "KiB of its own memory")
SELF = Path("/proc/self")


# --- in the sides -----------------------------------------------------------


def holding() -> list[float]:
    descriptors = len(os.listdir(SELF / "fd"))  # noqa: PTH208
    maps = (SELF / "maps").read_text().count("\n")
    anonymous = 0
    for line in (SELF / "status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            anonymous = int(line.split()[1])
    return [descriptors, maps, anonymous]


def hold(peer: Any, state: dict[str, Any]) -> list[float]:
    name = f"shmemext-bench-{os.getpid()}-{{}}"
    first = name.format("first")  # what a first one starts is not counted
    handle = peer.create(first, SIZE)
    peer.close(handle)
    peer.unlink(first, handle)
    del handle
    before = holding()
    handles: list[Any] = []
    try:
        for index in range(COUNT):
            handles.append(peer.create(name.format(index), SIZE))
        after = holding()
    finally:
        for index, handle in enumerate(handles):
            peer.close(handle)
            peer.unlink(name.format(index), handle)
    return [b - a for a, b in zip(before, after, strict=True)]


# --- in the measuring process -----------------------------------------------


def measure(bench: Bench) -> Iterator[list[Row]]:
    with Sides(bench.of(list(SIDES))) as sides:
        found = {name: answer(side) for name, side in sides.items()}
    for at, unit in enumerate(UNITS):
        measures: dict[str, Callable[[], float]] = {
            name: partial(part, values, at) for name, values in found.items()
        }
        yield counted_rows(
            "holdings", f"{COUNT:,} segments of 4 KiB hold", unit, measures
        )


def answer(side: Side) -> list[float] | Failed:
    try:
        values: list[float] = side.ask("holdings", "hold", PATIENCE)
    except Failed as why:
        return why
    return values


def part(values: list[float] | Failed, at: int) -> float:
    if isinstance(values, Failed):
        raise values
    return values[at]
