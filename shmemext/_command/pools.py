# SPDX-License-Identifier: MIT
"""shmemext pools."""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._holdings import SUFFIX, Holdings, is_control, look
from .._ledgers import DIRECTORY, open_to_read
from .._segment import POOL, Segment
from .._survey import survey
from .json import processes, text_of
from .names import bare, put_names
from .output import Output
from .status import FAILED, OK
from .table import plain
from .text import count, human, printable

_HEADER = (
    *("POOL", "OWNER", "LIMIT", "USED", "IDLE"),
    *("BLOCKS", "IN FLIGHT", "HOLDERS", "PINNED"),
)
_OWNERS = {"owned": "alive", "left": "dead", "abandoned": "dead, abandoned"}


@dataclass(slots=True)
class Row:
    segment: Segment
    found: Holdings

    @property
    def pair(self) -> str:
        return self.segment.name.removeprefix(POOL)

    @property
    def names(self) -> list[str]:
        """Both of its segments."""
        return [self.segment.name, self.segment.name + SUFFIX]


def run(options: argparse.Namespace, output: Output) -> int:
    asked = {_control(given): given for given in options.names}
    notes: dict[str, str] = {}
    rows: list[Row] = []
    for segment in survey([*asked] or None).segments:
        if is_control(segment.name):
            rows += _in_segment(segment, notes if asked else {})
    status = OK
    there = {one.segment.name for one in rows} | {*notes}
    for name, given in asked.items():
        if name not in there:
            output.complain(f"{printable(given)}: no such pool")
            status = FAILED
    if options.quiet:
        names = [name for one in rows for name in one.names]
        return put_names(names, options, output) or status
    if options.json:
        output.put(text_of({"pools": [*map(_fields, rows)]}))
    else:
        lines = [*plain(_HEADER, [*map(_row, rows)], output)]
        output.put("\n".join([*lines, *notes.values(), _sum(rows)]))
    return status


def _control(given: str) -> str:
    """The name of its first segment, by either of both, or by its digits."""
    name = bare(given).removesuffix(SUFFIX)
    return name if name.startswith(POOL) else POOL + name


def _state_of(name: str) -> os.stat_result:
    return os.lstat(f"{DIRECTORY}/{name}")


def _in_segment(segment: Segment, notes: dict[str, str]) -> Iterator[Row]:
    """Nothing, where it is no pool, or has just gone; `notes` takes why one
    cannot be read."""
    try:
        file = open_to_read(f"{DIRECTORY}/{segment.name}")
    except FileNotFoundError:
        return
    except OSError as error:
        shown = printable(segment.name)
        notes[segment.name] = f"+ {shown} cannot be read: {error.strerror}"
        return
    try:
        pair = segment.name.removeprefix(POOL)
        found = look(file, pair, _state_of)
    finally:
        os.close(file)
    if found is not None:
        yield Row(segment, found)


# How it is shown


def _row(row: Row) -> list[str]:
    found = row.found
    return [
        printable(row.pair),
        _OWNERS.get(found.state, found.state),
        _size(found.limit),
        _size(found.used),
        _size(found.idle),
        _number(found.blocks),
        _number(found.in_flight),
        _holders(found),
        _number(found.pinned),
    ]


def _size(size: int | None) -> str:
    return "-" if size is None else human(size)


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _holders(found: Holdings) -> str:
    text = _number(found.holders)
    dead = found.dead_holders
    return f"{text}, {dead} dead" if dead else text


def _sum(rows: list[Row]) -> str:
    used = sum(one.found.used or 0 for one in rows)
    idle = sum(one.found.idle or 0 for one in rows)
    number = count(len(rows), "pool")
    return f"{number}, {human(used)} used, {human(idle)} idle"


def _fields(row: Row) -> dict[str, Any]:
    found = row.found
    return {
        "pair": row.pair,
        "names": row.names,
        "version": found.version,
        "state": found.state,
        "limit": found.limit,
        "used": found.used,
        "idle": found.idle,
        "blocks": found.blocks,
        "in_flight": found.in_flight,
        "holders": found.holders,
        "dead_holders": found.dead_holders,
        "pinned": found.pinned,
        "processes": processes(row.segment.processes),
    }
