# SPDX-License-Identifier: MIT
"""The table of `python -m shmemext ls`."""

import os
import shutil
import sys
from collections.abc import Iterator

from ._processes import Deleted
from ._text import (
    NO_REAPER,
    age,
    human,
    of_other_versions,
    open_in,
    printable,
    some,
)
from .lifetime import Segment, Survey

_COLOURS = {"alive": 32, "own": 32, "dead": 31, "deleted": 31, "unknown": 2}
_HEADER = ("NAME", "SIZE", "HELD", "MODE", "OWNER", "AGE", "FAMILY", "OPEN IN")
_STATE = _HEADER.index("FAMILY")
_TO_THE_RIGHT = {"SIZE", "HELD", "AGE"}


def print_table(found: Survey) -> None:
    rows = [_row(one, found) for one in found.segments]
    rows += [_row_of_deleted(one, found) for one in found.deleted]
    _print_rows(rows)
    if found.hidden and sys.stdout.isatty():
        print(
            f"+ and perhaps more: at least {found.hidden} processes "
            "may not be looked into"
        )
    for line in (*_of_families(found), *of_other_versions(found)):
        print(f"+ {line}")


def _of_families(found: Survey) -> Iterator[str]:
    """This user's that nobody will clear up after."""
    families = {one.family for one in found.segments if one.family is not None}
    ids = sorted(
        family.id[:8]
        for family in families
        if family.alive and not family.reaper and family.uid == os.geteuid()
    )
    if ids:
        yield f"no reaper for {some(ids)}: {NO_REAPER}"


def _row(segment: Segment, found: Survey) -> tuple[str, ...]:
    return (
        printable(segment.name),
        human(segment.size),
        human(segment.held),
        f"{segment.mode:04o}",
        segment.owner,
        age(segment.age),
        _family(segment),
        open_in(segment.processes, found),
    )


def _row_of_deleted(memory: Deleted, found: Survey) -> tuple[str, ...]:
    return (
        printable(memory.name),
        human(memory.size),
        *("-",) * 4,
        "deleted",
        open_in(memory.processes, found),
    )


def _family(segment: Segment) -> str:
    family = segment.family
    if family is None:
        return segment.kind
    state = "own" if family.own else "alive" if family.alive else "dead"
    users = ", users" if segment.kind == "users" else ""
    return f"{state} {family.id[:8]}{users}"


def _print_rows(rows: list[tuple[str, ...]]) -> None:
    widths = [
        max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)
    ]
    limit = sys.maxsize
    if sys.stdout.isatty():
        limit = shutil.get_terminal_size().columns
    at = sum(widths[:_STATE]) + 2 * _STATE
    colour = _has_colour()
    for row in (_HEADER, *rows):
        cells = [
            cell.rjust(width) if title in _TO_THE_RIGHT else cell.ljust(width)
            for cell, width, title in zip(row, widths, _HEADER, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        if len(line) > limit:
            line = line[: limit - 3] + "..."
        if colour and row is _HEADER:
            line = _coloured(line, 1)
        elif colour:
            state = line[at : at + widths[_STATE]]
            code = _COLOURS.get(row[_STATE].split()[0])
            line = line[:at] + _coloured(state, code) + line[at + len(state) :]
        print(line)


def _coloured(text: str, code: int | None) -> str:
    return text if code is None else f"\x1b[{code}m{text}\x1b[0m"


def _has_colour() -> bool:
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )
