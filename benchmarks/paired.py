# SPDX-License-Identifier: MIT
"""Paired rounds: every side once a round, and a ratio for each round.

A busy machine slows a whole round and leaves its ratio nearly as it was, so
the median of the rounds' ratios is steadier than the ratio of two medians.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter

Samples = dict[str, list[float]]


def rounds(
    sides: Mapping[str, Callable[[], float]], seconds: float, at_least: int
) -> Samples:
    """Samples of each side, as many as fit into the time. The side that
    begins changes from round to round."""
    samples: Samples = {name: [] for name in sides}
    names = list(sides)
    deadline = perf_counter() + seconds
    while len(samples[names[0]]) < at_least or perf_counter() < deadline:
        for name in names:
            samples[name].append(sides[name]())
        names.append(names.pop(0))
    return samples


@dataclass(frozen=True)
class Ratio:
    median: float
    p25: float
    p75: float
    rounds: int


def ratio(above: list[float], below: list[float]) -> Ratio:
    """Of paired samples: the median of the rounds' ratios, and the middle
    half of them."""
    each = [a / b for a, b in zip(above, below, strict=True) if b > 0]
    if len(each) < 2:
        raise ValueError("too few rounds for a ratio")
    p25, _, p75 = quantiles(each, n=4)
    return Ratio(median(each), p25, p75, len(each))


@dataclass(frozen=True)
class Row:
    """One work of the table. Absolute numbers are medians."""

    work: str
    stdlib: float | None
    ours: float | None
    ratio: Ratio | None
    floor: float | None = None
    over_floor: Ratio | None = None
    reach: float | None = None
    hoped: float | None = None

    @property
    def met(self) -> bool | None:
        if self.reach is None or self.ratio is None:
            return None
        return self.ratio.median <= self.reach


def row(
    work: str,
    samples: Samples,
    reach: float | None = None,
    hoped: float | None = None,
) -> Row:
    """A row of the sides `stdlib`, `ours` and, if measured, `floor`."""
    stdlib, ours = samples["stdlib"], samples["ours"]
    floor = samples.get("floor")
    return Row(
        work,
        median(stdlib),
        median(ours),
        ratio(ours, stdlib),
        None if floor is None else median(floor),
        None if floor is None else ratio(ours, floor),
        reach,
        hoped,
    )
