# SPDX-License-Identifier: MIT
"""Hand-off: an array goes to a process that waits for it, which reads a byte
of every page and replies. The reply stops the clock.

    fresh       each array goes into memory of its own
    reused      into memory that both ends have already
    in place    it was made there: only the message and the reading are timed

Each peer has a process that sends and one that receives, started by the same
method and warmed by hand-offs that are not counted.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any

import peers
from bench import PATIENCE, Bench, asking, of_floor
from machine import places, spare
from paired import Measure
from side import Lost, Sides
from table import FLOOR, HANDOFF, STDLIB, Row

START_METHOD = "spawn"
ARRAY = 100_000_000
QUICK_ARRAY = 10_000_000
# For the picture; the array of the table is one of them.
SIZES = (4096, 65_536, 1 << 20, 16 << 20, ARRAY, 1 << 30)
# A peer that took longer than this for one hand-off is not asked for a larger
# one.
SLOW = 0.5  # seconds
# Where there is no memory for all at once, or no time.
FEW = (
    *("shmemext", "shmemext write()", "shmemext hand-off", "shmemext arrays"),
    *("stdlib", "joblib memmap", "mp.Pipe"),
)
# How many times as long as ours the others are to take, at least.
REACHES = {
    1 << 20: {"mp.Pipe": 1 / 0.10},
    ARRAY: {
        "mp.Pipe": 1 / 0.06,
        "joblib memmap": 1 / 0.35,
        "shmemext write()": 1 / 0.40,
        "torch": 1 / 0.2,
    },
}
FLOOR_WORK = {"fresh": "fresh", "reused": "reused", "in place": "place"}


# --- in the receiving process -----------------------------------------------


def receive_all(
    name: str, mode: str, shared: Any, connection: Any, cpus: set[int]
) -> None:
    os.sched_setaffinity(0, cpus)
    receiver = peers.load(name).receiver(mode, shared)
    for (message,) in iter(connection.recv, None):
        try:
            buffer = receiver.receive(message)
            answer: Any = peers.sum_of_pages(buffer)
        except Exception as error:
            answer = repr(error)
        connection.send(answer)
        buffer = None
        receiver.done()
        connection.send("done")
    receiver.close()


# --- in the sides -----------------------------------------------------------


class Pair:
    """Both ends, for one size and mode."""

    def __init__(self, peer: Any, mode: str, size: int) -> None:
        self.mode = mode
        self.array = peers.payload(size)
        context = multiprocessing.get_context(START_METHOD)
        self.sender = peer.sender(mode, size, context)
        self.ours, theirs = context.Pipe()
        self.worker = context.Process(
            target=receive_all,
            args=(peer.name, mode, self.sender.shared, theirs, places()[1]),
            daemon=True,
        )
        self.worker.start()
        theirs.close()
        self.serial = 0

    def answer(self) -> Any:
        if not self.ours.poll(PATIENCE):
            raise TimeoutError("the worker does not answer")
        return self.ours.recv()

    def hand_over(self) -> float:
        """Seconds. Each array differs from the one before."""
        self.serial = self.serial % 250 + 1
        expected = peers.put_in_pages(self.array, self.serial)
        array, sender = self.array, self.sender
        if self.mode == "in place":
            sender.made(array)
        start = perf_counter()
        if sender.first:
            self.ours.send((None,))
            sender.send(array)
        else:
            self.ours.send((sender.send(array),))
        seen = self.answer()
        elapsed = perf_counter() - start
        self.answer()  # it has let go
        sender.done()
        if isinstance(seen, str):
            raise RuntimeError(seen)
        if seen != expected:
            raise Lost(f"the worker saw {seen}, not {expected}")
        return elapsed

    def close(self) -> None:
        with suppress(OSError):
            self.ours.send(None)
            self.worker.join(PATIENCE)
        self.sender.close()


def hand_over(
    peer: Any, state: dict[str, Any], mode: str, size: int, count: int
) -> float:
    """Microseconds of one hand-off."""
    if state.get("for") != (mode, size):
        shut(peer, state)
        pair = Pair(peer, mode, size)
        state["for"], state["pair"] = (mode, size), pair
        state["close"].append(pair.close)
        pair.hand_over()
        os.sched_setaffinity(0, places()[0])
    pair = state["pair"]
    return sum(pair.hand_over() for _ in range(count)) / count * 1e6


def shut(peer: Any, state: dict[str, Any]) -> None:
    """The memory of one size and mode goes before that of the next comes."""
    if state.pop("pair", None) is not None:
        state.pop("for")
        state["close"].pop()()


# --- in the measuring process -----------------------------------------------


def candidates(bench: Bench, mode: str) -> list[str]:
    able = bench.of(peers.able("sender"))
    return [name for name in able if mode in peers.kind(name).modes]


def fits(names: list[str], size: int) -> bool:
    """Each side keeps an array and a segment, and so does the floor."""
    return (len(names) + 1) * (2 * size + size // 4) < spare()


def words(size: int) -> str:
    if size == ARRAY:
        return "100 MB"
    if size == QUICK_ARRAY:
        return "10 MB"
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >> shift:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"


def measure(bench: Bench) -> Iterator[list[Row]]:
    sizes = bench.sizes or ((QUICK_ARRAY,) if bench.quick else (ARRAY, *SIZES))
    for mode in peers.MODES:
        slow: dict[str, int] = {}  # from that size on
        for size in dict.fromkeys(sizes):
            names = [
                name
                for name in candidates(bench, mode)
                if size <= slow.get(name, size)
            ]
            if bench.quick or not fits(names, size):
                names = [name for name in names if name in FEW]
            if not fits(names, size):
                continue
            with Sides(names) as sides:
                rows = at_size(bench, mode, size, sides)
            yield rows
            if size >= ARRAY:
                slow |= {
                    row.side: size
                    for row in rows
                    if row.time is None or row.time.median > SLOW * 1e3
                }


def at_size(
    bench: Bench, mode: str, size: int, sides: dict[str, Any]
) -> list[Row]:
    count = max(1, min(100, (4 << 20) // size))
    measures: dict[str, Measure] = {
        FLOOR: of_floor(bench.floor, FLOOR_WORK[mode], count, size, scale=1e3)
    }
    for name, side in sides.items():
        measures[name] = asking(
            side,
            "handoff",
            "hand_over",
            1e3,
            mode=mode,
            size=size,
            count=count,
        )
    is_fresh = mode == "fresh" and HANDOFF in sides
    return bench.paired(
        "handoff",
        f"hand-off of {words(size)}, {mode}",
        "ms",
        measures,
        base=HANDOFF if is_fresh else STDLIB,
        reach=REACHES.get(size) if is_fresh else None,
    )
