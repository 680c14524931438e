# SPDX-License-Identifier: MIT
"""Objects between processes, by what multiprocessing has for them, against
its pickles.

over a Pipe     an array to a process that waits for it, reads a byte of every
                page and replies
Pool.map        of two workers and eight arrays: in, and back
small messages  what nothing large is in, and no hand-off can help
Queue           small tuples, as fast as they can be put and got

Times are of one array, call or message; the ratio is to what pickles."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from time import perf_counter
from typing import Any

import channels
import peers
from bench import Bench, asking
from handoff import ARRAY, QUICK_ARRAY, words
from machine import places
from side import Lost, Sides
from table import HANDOFF, Row

CONTEXT = multiprocessing.get_context("spawn")
PICKLE, MADE = "pickle", "shmemext arrays"
WORKERS, ARRAYS, LARGE = 2, 8, 8 << 20
WARM = 5  # times; once is enough for a quick run
SMALL = ("task", 17, 0.5, {"name": "tile", "at": (3, 4)})
CALLS, MESSAGES, QUICKLY = 20_000, 40_000, 20


# --- in the workers ---------------------------------------------------------


def begin(name: str) -> None:
    peers.load(name).enable()


def seen(array: Any) -> int:
    return peers.sum_of_pages(array)


def read_all(connection: Any, cpus: set[int]) -> None:
    os.sched_setaffinity(0, cpus)
    with suppress(EOFError):
        while True:
            array = connection.recv()
            connection.send(peers.sum_of_pages(array))
            del array


@cache
def make(number: int) -> Any:
    """An array that differs from the others. To make it is not timed."""
    array = peers.payload(LARGE)
    peers.put_in_pages(array, number + 1)
    return array


def put_tuples(queue: Any, size: int, count: int) -> None:
    put = queue.put
    for _ in range(count):
        put(SMALL)


def get_tuples(queue: Any, size: int, count: int) -> None:
    get = queue.get
    for _ in range(count):
        if get() != SMALL:
            raise Lost("another message")


# --- in the sides -----------------------------------------------------------


def pool_of(peer: Any, state: dict[str, Any], warm: int) -> Any:
    if "pool" not in state:
        peer.enable()
        state["pool"] = CONTEXT.Pool(WORKERS, begin, (peer.name,))
        state["close"].append(state["pool"].terminate)
        state["arrays"] = [peer.like(make(at)) for at in range(ARRAYS)]
        for _ in range(warm):  # each worker may get any of them
            state["pool"].map(seen, state["arrays"], chunksize=1)
            state["pool"].map(make, range(ARRAYS), chunksize=1)
    return state["pool"]


def pool_map(peer: Any, state: dict[str, Any], back: bool, warm: int) -> float:
    """Milliseconds of one call."""
    pool = pool_of(peer, state, warm)
    expected = [seen(array) for array in state["arrays"]]
    start = perf_counter()
    if back:
        arrays = pool.map(make, range(ARRAYS), chunksize=1)
        elapsed = perf_counter() - start
        sums = [seen(array) for array in arrays]
    else:
        sums = pool.map(seen, state["arrays"], chunksize=1)
        elapsed = perf_counter() - start
    if sums != expected:
        raise Lost(f"{sums}, not {expected}")
    return elapsed * 1e3


def dumps(peer: Any, state: dict[str, Any], count: int) -> float:
    """Microseconds of a small pickle, as Queue makes it."""
    peer.enable()
    pickled = peer.dumps()
    start = perf_counter()
    for _ in range(count):
        pickled(SMALL)
    return (perf_counter() - start) / count * 1e6


def send(peer: Any, state: dict[str, Any], count: int) -> float:
    """Microseconds of a small message through a pipe, both ends here."""
    peer.enable()
    if "ends" not in state:
        state["ends"] = CONTEXT.Pipe(duplex=False)
    reader, writer = state["ends"]
    start = perf_counter()
    for _ in range(count):
        writer.send(SMALL)
        got = reader.recv()
    elapsed = perf_counter() - start
    if got != SMALL:
        raise Lost(f"{got}")
    return elapsed / count * 1e6


def flow(peer: Any, state: dict[str, Any], count: int) -> float:
    """Microseconds of a tuple, from one process to another."""

    def make_group(group: channels.Group) -> None:
        queue = peer.objects()
        group.closed.append(queue.close)
        group.add(put_tuples, queue, 0)
        group.add(get_tuples, queue, 0)

    writer, reader = channels.group_of(state, "objects", make_group).workers
    reader.order(count)
    writer.order(count)
    begun, ended = writer.answer()[0], reader.answer()[1]
    return (ended - begun) / count * 1e6


def over_pipe(
    peer: Any, state: dict[str, Any], size: int, count: int
) -> float:
    """Milliseconds of one array, until it is read and that is said."""
    if state.get("size") != size:
        open_pipe(peer, state, size)
    ours, array = state["ours"], state["array"]
    elapsed = 0.0
    for _ in range(count):
        state["serial"] = state["serial"] % 250 + 1
        expected = peers.put_in_pages(array, state["serial"])
        start = perf_counter()
        ours.send(array)
        answer = ours.recv()
        elapsed += perf_counter() - start
        if answer != expected:
            raise Lost(f"the worker saw {answer}, not {expected}")
    return elapsed / count * 1e3


def open_pipe(peer: Any, state: dict[str, Any], size: int) -> None:
    """To a process of its own; the one before ends."""
    if "size" in state:
        state["close"].pop()()
    peer.enable()
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(
        target=read_all, args=(theirs, places()[1]), daemon=True
    )
    process.start()
    theirs.close()
    os.sched_setaffinity(0, places()[0])
    array = peer.like(peers.payload(size))
    state |= {"size": size, "ours": ours, "array": array, "serial": 0}
    state["close"].append(process.kill)


# --- in the measuring process -----------------------------------------------


def measure(bench: Bench) -> Iterator[list[Row]]:
    share = QUICKLY if bench.quick else 1
    if len(bench.of([PICKLE, HANDOFF, MADE])) == 3:
        yield from pipes(bench)
        yield from pools(bench, share)
    names = [
        name
        for name in bench.of(peers.able("objects"))
        if not bench.quick or name in channels.QUICK
    ]
    with Sides(names) as sides:
        yield bench.paired(
            "objects",
            "a small tuple through a queue",
            "us",
            {
                name: asking(side, "objects", "flow", count=MESSAGES // share)
                for name, side in sides.items()
            },
            base="mp.Queue",
            reach={"shmemext": 0.65},
        )


def pipes(bench: Bench) -> Iterator[list[Row]]:
    """What is copied on its way against pickles, and against what was made
    where it stays."""
    large = QUICK_ARRAY if bench.quick else ARRAY
    with Sides([PICKLE, HANDOFF, MADE]) as sides:
        for size, names, base, reach in (
            (1 << 20, [PICKLE, HANDOFF], PICKLE, {HANDOFF: 0.10}),
            (large, [PICKLE, HANDOFF], PICKLE, {HANDOFF: 0.06}),
            (large, [HANDOFF, MADE], MADE, {HANDOFF: 10}),
        ):
            count = max(1, min(50, (50 << 20) // size))
            yield bench.paired(
                "objects",
                f"{words(size)} over a Pipe, against {base}",
                "ms",
                {
                    name: asking(
                        sides[name],
                        "objects",
                        "over_pipe",
                        size=size,
                        count=count,
                    )
                    for name in names
                },
                base=base,
                reach=reach,
            )


def pools(bench: Bench, share: int) -> Iterator[list[Row]]:
    wanted = [PICKLE, HANDOFF] if bench.quick else [PICKLE, HANDOFF, MADE]
    with Sides(bench.of(wanted)) as sides:

        def rows(
            work: str, unit: str, function: str, reach: float, **more: Any
        ) -> list[Row]:
            measures = {
                name: asking(side, "objects", function, **more)
                for name, side in sides.items()
                if more.get("back") is False or name in (PICKLE, HANDOFF)
            }
            return bench.paired(
                "objects",
                work,
                unit,
                measures,
                base=PICKLE,
                reach={HANDOFF: reach},
            )

        of = f"Pool({WORKERS}).map(), {ARRAYS} arrays of 8 MiB"
        warm = 1 if bench.quick else WARM
        for words_, back in (("in", False), ("back", True)):
            yield rows(
                *(f"{of}, {words_}", "ms", "pool_map", 0.08),
                back=back,
                warm=warm,
            )
        calls = CALLS // share
        yield rows("a small pickle", "us", "dumps", 1.15, count=calls)
        yield rows("a small message", "us", "send", 1.15, count=calls)
