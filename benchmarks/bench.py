# SPDX-License-Identifier: MIT
"""What all questions use: which sides there are, how long to measure, and one
work measured in paired rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from floor import Floor
from paired import Failed, Measure, Ratio, rounds
from side import Side
from table import STDLIB, Row, rows_of

# Seconds without an answer: the machine may be busy, or the peer stuck.
PATIENCE = 120.0


@dataclass
class Bench:
    """`seconds` are spent on each work, or what `least` rounds need."""

    floor: Floor
    seconds: float
    least: int
    quick: bool
    peers: list[str]  # those that can be used here
    sizes: tuple[int, ...] = ()  # of the hand-off, asked for
    labels: dict[str, str] = field(default_factory=dict)

    def of(self, names: list[str]) -> list[str]:
        return [name for name in names if name in self.peers]

    def paired(
        self,
        question: str,
        work: str,
        unit: str,
        sides: Mapping[str, Measure],
        **more: Any,
    ) -> list[Row]:
        """The rows of one work."""
        samples, failed = rounds(sides, self.seconds, self.least)
        return rows_of(question, work, unit, samples, failed=failed, **more)


def asking(
    side: Side, module: str, work: str, scale: float = 1.0, **more: Any
) -> Measure:
    """A measurement that a side makes."""

    def measure() -> float:
        value: float = side.ask(module, work, PATIENCE, **more)
        return value / scale

    return measure


def of_floor(
    floor: Floor,
    work: str,
    count: int,
    size: int,
    written: bool = False,
    scale: float = 1.0,
) -> Measure:
    """One that the floor makes, under a name of its own."""
    name = floor.new_name()
    cycle = partial(floor.cycle, work, count, size, written, name)
    return lambda: cycle() / scale


def counted(value: float) -> Ratio:
    """What is counted once, and has no spread."""
    return Ratio(value, value, value, 1)


def counted_rows(
    question: str,
    work: str,
    unit: str,
    sides: Mapping[str, Callable[[], float]],
) -> list[Row]:
    """Rows of what comes out the same each time: asked once."""
    values: dict[str, float] = {}
    rows = []
    for side, measure in sides.items():
        try:
            values[side] = measure()
        except Failed as why:
            rows.append(Row(question, work, unit, side, note=str(why)))
    below = values.get(STDLIB)
    found = [
        Row(
            question,
            work,
            unit,
            side,
            counted(value),
            ratio=counted(value / below) if below and side != STDLIB else None,
        )
        for side, value in values.items()
    ]
    return found + rows
