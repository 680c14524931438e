# SPDX-License-Identifier: MIT
"""Locks and the like, against multiprocessing's of the same name.

at once       nobody else wants it: nanoseconds of a loop's turn
round trips   two processes, each on a core of its own, wake each other
the first     one in a memory, or a process, of its own, is taken
the dead      its holder is killed: until one who sleeps has it
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread
from time import perf_counter, sleep
from timeit import Timer
from typing import Any

from bench import Bench, asking
from lifecycle import pinned
from machine import places
from side import Sides
from table import OURS, STDLIB, Row

SIDES = (OURS, STDLIB)
START_METHOD = "spawn"
LOOP = 2000
TRIPS = 50
ASLEEP = 0.1  # seconds, after which who waits sleeps
PATIENCE = 1.0  # for a lock whose holder is dead

# What is timed, of which object, and the ratio that is promised.
AT_ONCE: dict[str, tuple[str, str, float | None]] = {
    "Lock: acquire, release": ("Lock", "of.acquire(); of.release()", 0.8),
    "Lock: with": ("Lock", "with of: pass", 0.5),
    "Lock: acquire(True, 1.0)": (
        "Lock",
        "of.acquire(True, 1.0); of.release()",
        0.8,
    ),
    "RLock: acquire, release": ("RLock", "of.acquire(); of.release()", None),
    "RLock: with": ("RLock", "with of: pass", 0.5),
    "Semaphore: acquire, release": (
        "Semaphore",
        "of.acquire(); of.release()",
        0.8,
    ),
    "BoundedSemaphore: acquire, release": (
        "BoundedSemaphore",
        "of.acquire(); of.release()",
        None,
    ),
    "Event: wait, when it is set": ("Event", "of.wait()", 0.15),
    "a number, and 1": ("number", "of.add(1)", 0.06),
}
ROUND_TRIPS = {"Event": 0.7, "Barrier": 0.9, "Condition": 1.2}


# --- in the sides -----------------------------------------------------------


def types_of(peer: Any) -> Any:
    """The module, or the context, that has the types."""
    if peer.name == OURS:
        from shmemext import synchronize

        return synchronize
    return multiprocessing.get_context(START_METHOD)


def at_once(
    peer: Any, state: dict[str, Any], kind: str, statement: str
) -> float:
    """Nanoseconds of one turn."""
    pinned(state)
    types = types_of(peer)
    if kind == "number" and peer.name == OURS:
        of = types.Atomic()
    elif kind == "number":
        of = types.Value("q")
        statement = "with of.get_lock(): of.value += 1"
    else:
        of = getattr(types, kind)()
    if kind == "Event":
        of.set()
    timer: Timer = state.setdefault(statement + kind, None) or Timer(
        statement, globals={"of": of}
    )
    state[statement + kind] = timer
    return timer.timeit(LOOP) / LOOP * 1e9


def first(peer: Any, state: dict[str, Any]) -> float:
    """Microseconds: made, and taken, in a memory that has none yet."""
    pinned(state)
    lock_type = types_of(peer).Lock
    if peer.name == OURS:
        from shmemext import AnonymousMemory

        with AnonymousMemory(4096) as memory:
            start = perf_counter()
            lock = lock_type(memory)
            lock.acquire()
            took = perf_counter() - start
    else:
        start = perf_counter()
        lock = lock_type()
        lock.acquire()
        took = perf_counter() - start
    lock.release()
    return took * 1e6


def parts_of(peer: Any, kind: str) -> tuple[Any, ...]:
    """What both ends have."""
    types = types_of(peer)
    if kind == "Event":
        return types.Event(), types.Event()
    if kind == "Barrier":
        return (types.Barrier(2),)
    context = multiprocessing.get_context(START_METHOD)
    return types.Condition(), context.RawValue("i")


def trip(kind: str, parts: tuple[Any, ...], here: int) -> None:
    """One, from the end that begins, 0, or the one that answers, 1."""
    if kind == "Barrier":
        parts[0].wait()
    elif kind == "Event":
        mine, other = parts[here], parts[1 - here]
        if here == 0:
            other.set()
        mine.wait()
        mine.clear()
        if here == 1:
            other.set()
    else:
        condition, turn = parts
        with condition:
            if here == 0:
                turn.value = 1
                condition.notify()
            while turn.value != here:
                condition.wait()
            if here == 1:
                turn.value = 0
                condition.notify()


def answer(kind: str, parts: tuple[Any, ...], cpus: set[int]) -> None:
    os.sched_setaffinity(0, cpus)
    while True:
        trip(kind, parts, 1)


def round_trip(peer: Any, state: dict[str, Any], kind: str) -> float:
    """Microseconds of one."""
    if kind not in state:
        parts = parts_of(peer, kind)
        worker = multiprocessing.get_context(START_METHOD).Process(
            target=answer, args=(kind, parts, places()[1]), daemon=True
        )
        worker.start()
        state[kind] = parts
        state["close"].append(worker.kill)
        os.sched_setaffinity(0, places()[0])
        trip(kind, parts, 0)
    parts = state[kind]
    start = perf_counter()
    for _ in range(TRIPS):
        trip(kind, parts, 0)
    return (perf_counter() - start) / TRIPS * 1e6


def hold(lock: Any, connection: Any) -> None:
    lock.acquire()
    connection.send("held")
    sleep(600)


def inherit(peer: Any, state: dict[str, Any], kind: str) -> float:
    """Milliseconds from a holder's death until a sleeper has what it had."""
    context = multiprocessing.get_context("fork")
    of = getattr(types_of(peer), kind)()
    ours, theirs = context.Pipe()
    holder = context.Process(target=hold, args=(of, theirs), daemon=True)
    holder.start()
    ours.recv()
    got: list[float] = []

    def wait() -> None:
        # OwnerDied, which says so: it is to be had from then on
        with suppress(OSError):
            if not of.acquire(True, ASLEEP + PATIENCE):
                return
        got.append(perf_counter())

    waiter = Thread(target=wait)
    waiter.start()
    sleep(ASLEEP)
    start = perf_counter()
    holder.kill()
    waiter.join()
    holder.join()
    if not got:
        raise TimeoutError("nobody has it any more")
    return (got[0] - start) * 1e3


# --- in the measuring process -----------------------------------------------


def measure(bench: Bench) -> Iterator[list[Row]]:
    with Sides(bench.of(list(SIDES))) as sides:

        def rows(
            work: str,
            unit: str,
            function: str,
            reach: float | None = None,
            **more: str,
        ) -> list[Row]:
            return bench.paired(
                "synchronize",
                work,
                unit,
                {
                    name: asking(side, "synchronize", function, **more)
                    for name, side in sides.items()
                },
                reach={OURS: reach} if reach is not None else None,
            )

        for work, (kind, statement, reach) in AT_ONCE.items():
            yield rows(
                work, "ns", "at_once", reach, kind=kind, statement=statement
            )
        for kind, reach in ROUND_TRIPS.items():
            yield rows(
                f"{kind}: a round trip", "us", "round_trip", reach, kind=kind
            )
        yield rows("the first Lock: made, taken", "us", "first")
        for kind in ("Lock", "BoundedSemaphore"):
            yield rows(
                f"{kind}: its holder is killed", "ms", "inherit", kind=kind
            )
