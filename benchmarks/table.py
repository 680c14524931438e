# SPDX-License-Identifier: MIT
"""Rows, and how they are printed: one table for each question, one block for
each work in it, one line for each side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from paired import Ratio, Samples, ratio, spread

FLOOR = "C floor"
STDLIB = "stdlib"
OURS = "shmemext"
HANDOFF = "shmemext hand-off"

HEADINGS = (
    f"  {'':<32}{'median':>9}  {'(p25-p75)':<18}"
    f"{'ratio (p25-p75)':<22}{'x floor':>8}{'reach':>7}  met"
)


@dataclass(frozen=True)
class Row:
    """One side of one work. The ratio is to the side `base`. What is promised
    is a ratio, the reach, or a limit, in the unit. It is the most; but where
    `base` is ours, the others' ratio is to be as large at least."""

    question: str
    work: str
    unit: str
    side: str
    time: Ratio | None = None
    base: str = STDLIB
    ratio: Ratio | None = None
    over_floor: Ratio | None = None
    reach: float | None = None
    note: str = ""
    limit: float | None = None

    @property
    def promised(self) -> float | None:
        return self.reach if self.limit is None else self.limit

    @property
    def met(self) -> bool | None:
        value = self.ratio if self.limit is None else self.time
        if self.promised is None or value is None:
            return None
        if self.base.startswith(OURS) and self.limit is None:
            return value.median >= self.promised
        return value.median <= self.promised

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def rows_of(
    question: str,
    work: str,
    unit: str,
    samples: Samples,
    *,
    failed: Mapping[str, str] | None = None,
    base: str = STDLIB,
    reach: Mapping[str, float] | None = None,
    notes: Mapping[str, str] | None = None,
    limit: Mapping[str, float] | None = None,
) -> list[Row]:
    """The rows of a work: of what was measured, then of what failed."""
    below, floor = samples.get(base), samples.get(FLOOR)
    rows = []
    for side, values in samples.items():
        if len(values) < 2:
            continue
        rows.append(
            Row(
                question,
                work,
                unit,
                side,
                spread(values),
                base,
                ratio(values, below) if below and side != base else None,
                ratio(values, floor) if floor and side != FLOOR else None,
                (reach or {}).get(side),
                (notes or {}).get(side, ""),
                (limit or {}).get(side),
            )
        )
    for side, why in (failed or {}).items():
        rows.append(Row(question, work, unit, side, base=base, note=why))
    return rows


def number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


def times(of: Ratio | None) -> tuple[str, str]:
    if of is None:
        return "-", ""
    if of.rounds == 1:
        return number(of.median), ""
    return number(of.median), f"({number(of.p25)}-{number(of.p75)})"


def of_base(row: Row) -> str:
    if row.time is not None and row.side == row.base:
        return "1"
    if row.ratio is None:
        return "-"
    return "{} ({}-{})".format(
        *map(number, (row.ratio.median, row.ratio.p25, row.ratio.p75))
    )


def line(row: Row, label: str) -> str:
    median, middle = times(row.time)
    over = "-" if row.over_floor is None else number(row.over_floor.median)
    reach = "-" if row.promised is None else f"{row.promised:.2f}"
    met = "-" if row.met is None else "yes" if row.met else "NO"
    if row.time is None:
        return f"  {label:<32}{row.note}"
    return (
        f"  {label:<32}{median:>9}  {middle:<18}{of_base(row):<22}"
        f"{over:>8}{reach:>7}  {met:<4}{row.note}"
    ).rstrip()


def blocks(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Rows by question, work and unit, in their order."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.question, row.work, row.unit), []).append(row)
    return found


def show(rows: Iterable[Row], labels: Mapping[str, str]) -> None:
    """Prints blocks. Labels are the sides' names with their versions."""
    for (_, work, unit), block in blocks(rows).items():
        base = block[0].base
        against = "" if base == STDLIB else f"; ratio to {base}"
        print(f"{work}, {unit}{against}")
        for row in block:
            print(line(row, labels.get(row.side, row.side)))
    print(flush=True)
