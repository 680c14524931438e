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

Measure = Callable[[], float]
Samples = dict[str, list[float]]


class Failed(Exception):
    """A side has no answer. The text stands in its row instead of times."""


@dataclass(frozen=True)
class Ratio:
    median: float
    p25: float
    p75: float
    rounds: int


def rounds(
    sides: Mapping[str, Measure], seconds: float, at_least: int
) -> tuple[Samples, dict[str, str]]:
    """Samples of each side, as many as fit into the time, and the reasons of
    those that failed, which are out from then on. The side that begins
    changes from round to round. The first round warms up and is not kept."""
    failed: dict[str, str] = {}
    names = list(sides)

    def once(name: str) -> float | None:
        try:
            return sides[name]()
        except Failed as why:
            failed[name] = str(why)
            return None

    def all_once() -> dict[str, float | None]:
        return {name: once(name) for name in names if name not in failed}

    all_once()
    kept: list[dict[str, float | None]] = []
    deadline = perf_counter() + seconds
    while len(failed) < len(names) and (
        len(kept) < at_least or perf_counter() < deadline
    ):
        names.append(names.pop(0))
        kept.append(all_once())
    good = [name for name in sides if name not in failed]
    return {name: [r[name] or 0.0 for r in kept] for name in good}, failed


def spread(values: list[float]) -> Ratio:
    """The median and the middle half."""
    if len(values) < 2:
        raise ValueError("too few rounds for a spread")
    p25, _, p75 = quantiles(values, n=4, method="inclusive")
    return Ratio(median(values), p25, p75, len(values))


def ratio(above: list[float], below: list[float]) -> Ratio | None:
    """Of paired samples: the median of the rounds' ratios, and the middle
    half of them. None where there is nothing to divide by."""
    each = [a / b for a, b in zip(above, below, strict=True) if b > 0]
    return spread(each) if len(each) > 1 else None
