# SPDX-License-Identifier: MIT
"""ShareableList: single items, and the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from time import perf_counter
from typing import Any

from bench import Bench, asking
from lifecycle import pinned
from side import Sides
from table import Row

MANY = 10_000
MOST = 100_000
BATCH = 1000
TEXT = "a text of some words"
SIDES = {
    "shmemext": "shmemext ShareableList",
    "stdlib": "stdlib ShareableList",
}

Use = Callable[[Any], object]


# --- in the sides -----------------------------------------------------------


def get(sl: Any) -> None:
    for _ in repeat(None, BATCH):
        sl[5]


def put(item: object, sl: Any) -> None:
    for _ in repeat(None, BATCH):
        sl[5] = item


def index_of_last(sl: Any) -> int:
    found: int = sl.index(MANY - 1)
    return found


def format_of(sl: Any) -> str:
    found: str = sl.format
    return found


# what a list is made of, what is done with it, and how often in it
USES: dict[str, tuple[Any, Use, int]] = {
    "get an int": (range(100), get, BATCH),
    "set an int": (range(100), partial(put, 7), BATCH),
    "get a str": ([TEXT] * 100, get, BATCH),
    "set a str": ([TEXT] * 100, partial(put, TEXT), BATCH),
    "list(sl) of 10,000": (range(MANY), list, 1),
    "index of the last of 10,000": (range(MANY), index_of_last, 1),
    "format of 100,000": (range(MOST), format_of, 1),
}


def use(peer: Any, state: dict[str, Any], what: str) -> float:
    """Microseconds of one use."""
    items, does, times = USES[what]
    if what not in state:
        sl = peer.shareable_list(items)
        state[what] = sl
        state["close"] += [sl.shm.unlink, sl.shm.close]
        pinned(state)
    sl = state[what]
    start = perf_counter()
    does(sl)
    return (perf_counter() - start) * 1e6 / times


def build(peer: Any, state: dict[str, Any]) -> float:
    """Microseconds of the constructor alone."""
    numbers = state.setdefault("numbers", list(range(MOST)))
    start = perf_counter()
    sl = peer.shareable_list(numbers)
    elapsed = perf_counter() - start
    sl.shm.close()
    sl.shm.unlink()
    return elapsed * 1e6


# --- in the measuring process -----------------------------------------------

REACH = {
    "get an int": 0.08,
    "set an int": 0.08,
    "get a str": 0.12,
    "set a str": 0.12,
    "list(sl) of 10,000": 0.05,
    "index of the last of 10,000": 0.05,
    "format of 100,000": 0.05,
    "build 100,000": 0.06,
}


def measure(bench: Bench) -> Iterator[list[Row]]:
    labels = [label for label, name in SIDES.items() if name in bench.peers]
    with Sides([SIDES[label] for label in labels]) as sides:
        for work, reach in REACH.items():
            order = (
                {"work": "use", "what": work}
                if work in USES
                else {"work": "build"}
            )
            measures = {
                label: asking(sides[SIDES[label]], "lists", **order)
                for label in labels
            }
            yield bench.paired(
                "lists", work, "us", measures, reach={"shmemext": reach}
            )
