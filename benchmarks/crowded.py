# SPDX-License-Identifier: MIT
"""The first create of a process, against what lies in /dev/shm.

Each side has a /dev/shm of its own, filled once, and all of them take turns:
so the ratio of one to the one that holds least is paired, as others are.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from bench import Bench, asking
from fresh import MODULES, adopting_orphans, bury, clean, descendants
from lifecycle import SMALL, pinned
from machine import DEV_SHM, private
from paired import Measure, Samples, rounds
from side import Side, Sides
from table import OURS, STDLIB, Row, rows_of

SIDES = (OURS, STDLIB)
REACH = 1.2
ANOTHER_USER = 1002

FIRST_CREATE = """
from time import perf_counter
from {module} import SharedMemory
start = perf_counter()
shm = SharedMemory(create=True, size=4096)
elapsed = perf_counter() - start
shm.close()
shm.unlink()
print(elapsed)
"""


@dataclass(frozen=True)
class Filling:
    """Empty files, and directories of another user that are called as those
    of our families are."""

    names: int = 0
    directories: int = 0

    def __str__(self) -> str:
        if self.directories:
            return f"{self.directories:,} of another user"
        return f"{self.names:,} names"


LEAST = Filling(names=10)
FULL = (
    LEAST,
    Filling(names=10_000),
    Filling(names=50_000),
    Filling(directories=10_000),
)
QUICK = (LEAST, Filling(names=1000), Filling(directories=1000))


# --- in the sides -----------------------------------------------------------


def fill(state: dict[str, Any], outside: int, filling: Filling) -> None:
    """Once. Goes with the mount, whoever ends how."""
    if "filled" in state:
        return
    if DEV_SHM.stat().st_dev == outside:
        raise RuntimeError("this would fill everybody's /dev/shm")
    for i in range(filling.names):
        Path(DEV_SHM, f"shmemext-bench-{i}").touch()
    for i in range(filling.directories):
        path = Path(DEV_SHM, f".shmemext-2-{i:032x}")
        path.mkdir(mode=0o700)
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
    state["filled"] = True


def first(
    _: Any,
    state: dict[str, Any],
    outside: int,
    filling: dict[str, int],
    command: list[str],
    environment: dict[str, str],
) -> float:
    """Microseconds, as a fresh process says them. It is not pinned: what it
    starts would be too."""
    fill(state, outside, Filling(**filling))
    output = subprocess.check_output(command, env=environment, text=True)
    return float(output) * 1e6


def forked(
    peer: Any, state: dict[str, Any], outside: int, filling: dict[str, int]
) -> float:
    """Microseconds of a child of a process that has created before."""
    fill(state, outside, Filling(**filling))
    if "created" not in state:
        state["created"] = handle = peer.create(None, SMALL)
        state["close"].append(lambda: peer.unlink(None, handle))
    pinned(state)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            start = perf_counter()
            handle = peer.create(None, SMALL)
            elapsed = perf_counter() - start
            os.write(writes, str(elapsed).encode())
            peer.close(handle)
            peer.unlink(None, handle)
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as answer:
        os.waitpid(child, 0)
        return float(answer.read()) * 1e6


# --- in the measuring process -----------------------------------------------


def key(peer: str, filling: Filling) -> str:
    return f"{peer}: {filling}"


def rows_by_peer(
    work: str,
    peers: list[str],
    fillings: tuple[Filling, ...],
    samples: Samples,
    failed: dict[str, str],
) -> Iterator[list[Row]]:
    """A block for each peer, whose sides are what lies there."""
    for peer in peers:
        keys = {str(filling): key(peer, filling) for filling in fillings}
        yield rows_of(
            "crowded",
            f"{work}, {peer}",
            "us",
            {name: samples[of] for name, of in keys.items() if of in samples},
            failed={n: failed[of] for n, of in keys.items() if of in failed},
            base=str(LEAST),
            reach=dict.fromkeys(keys, REACH) if peer == OURS else {},
        )


def asked(
    bench: Bench, stack: ExitStack, fillings: tuple[Filling, ...]
) -> tuple[dict[str, Side], dict[str, Filling], dict[str, str]]:
    """The sides, what each has to hold, and who takes no part."""
    sides: dict[str, Side] = {}
    holds: dict[str, Filling] = {}
    failed: dict[str, str] = {}
    peers = bench.of([*SIDES])
    for filling in fillings:
        why = ""
        if not private():
            why = "private mounts are not permitted"
        elif filling.directories and os.geteuid() != 0:
            why = "only root can make them"
        if why:
            failed |= {key(peer, filling): why for peer in peers}
            continue
        own = stack.enter_context(Sides(peers, private()))
        for peer, side in own.items():
            sides[key(peer, filling)] = side
            holds[key(peer, filling)] = filling
    return sides, holds, failed


def alone(measure: Measure) -> Measure:
    """What one has started does not run beside the next one."""

    def then_bury() -> float:
        known = set(descendants())
        elapsed = measure()
        bury(known)
        return elapsed

    return then_bury


def measure(bench: Bench) -> Iterator[list[Row]]:
    fillings = QUICK if bench.quick else FULL
    outside = DEV_SHM.stat().st_dev
    with clean() as fresh, adopting_orphans(), ExitStack() as stack:
        sides, holds, left_out = asked(bench, stack, fillings)

        firsts, forks = {}, {}
        for name, side in sides.items():
            place: dict[str, Any] = {
                "outside": outside,
                "filling": asdict(holds[name]),
            }
            code = FIRST_CREATE.format(module=MODULES[side.name])
            program: dict[str, Any] = {
                "command": fresh.command(code),
                "environment": fresh.environment,
            }
            firsts[name] = alone(
                asking(side, "crowded", "first", **program, **place)
            )
            forks[name] = asking(side, "crowded", "forked", **place)
        for work, measures, seconds in (
            ("first create of a process", firsts, 5 * bench.seconds),
            ("first create of a forked child", forks, 2 * bench.seconds),
        ):
            samples, failed = rounds(measures, seconds, 2 * bench.least)
            failed |= left_out
            peers = bench.of([*SIDES])
            yield from rows_by_peer(work, peers, fillings, samples, failed)
