# SPDX-License-Identifier: MIT
"""shmemext locks."""

import argparse
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from .._ledgers import DIRECTORY, open_to_read
from .._named import PREFIX
from .._processes import Process
from .._segment import Segment
from .._survey import Survey, survey
from .._synchronizers import MOST, Holder, Look, Synchronizer
from .json import text_of
from .names import bare, put_names
from .output import Output
from .status import FAILED, OK
from .table import plain
from .text import count, printable

# Where a word says too little to people.
_WORDS = {
    "torn": "its holder died",
    "repair": "under repair",
    "elsewhere": "its lock is elsewhere",
}
_HEADER = ("NAME", "OFFSET", "TYPE", "STATE", "HOLDER", "WAITERS")


@dataclass(slots=True)
class Row:
    """A synchronizer, and the memory that it is in."""

    memory: str
    """A name in /dev/shm, or a path."""
    name: str | None
    """Its own, if it has one."""
    found: Synchronizer
    processes: tuple[Process, ...]
    """Who has the memory open."""

    def command(self, holder: Holder) -> str | None:
        """Its pid is what its own pid namespace has: it counts if who is
        called so here has the memory."""
        for process in self.processes:
            if process.pid == holder.pid and holder.alive:
                return process.command
        return None


def run(options: argparse.Namespace, output: Output) -> int:
    asked: list[str] = options.names
    rows: list[Row] = []
    notes: list[str] = []
    status = OK
    for given in asked:
        found = [*_of_name(given, notes)]
        rows += chain.from_iterable(found)
        if not found:
            what = "no such synchronizer, segment or file"
            output.complain(f"{printable(given)}: {what}")
            status = FAILED
    if not asked:
        rows += chain.from_iterable(_all(notes))
    if options.quiet:
        names = dict.fromkeys(_name(one) for one in rows)
        return put_names([*names], options, output) or status
    if options.json:
        output.put(text_of({"synchronizers": [*map(_fields, rows)]}))
    else:
        lines = [*plain(_HEADER, [_row(one, output) for one in rows], output)]
        output.put("\n".join([*lines, *notes, _sum(rows)]))
    return status


# Which memory


def _all(notes: list[str]) -> Iterator[list[Row]]:
    """What has a name of its own, and whatever memory any process has a
    synchronizer in."""
    for segment in survey().segments:
        with suppress(FileNotFoundError):
            is_named = segment.name.startswith(PREFIX)
            yield _in_segment(segment, notes, wants_parties=not is_named)


def _of_name(given: str, notes: list[str]) -> Iterator[list[Row]]:
    """Of a synchronizer, of a segment, or of both; or of a file, by path."""
    name = bare(given)
    found: Survey = survey([PREFIX + name, name])
    for segment in found.segments:
        with suppress(FileNotFoundError):
            yield _in_segment(segment, notes, wants_parties=False)
    if not found.segments and "/" in name and os.path.isfile(given):  # noqa: PTH113
        yield _in_file(given, given, None, (), notes, wants_parties=False)


def _in_segment(
    segment: Segment, notes: list[str], *, wants_parties: bool
) -> list[Row]:
    own = None
    if segment.name.startswith(PREFIX):
        own = segment.name.removeprefix(PREFIX)
    return _in_file(
        f"{DIRECTORY}/{segment.name}",
        segment.name,
        own,
        segment.processes,
        notes,
        wants_parties=wants_parties,
    )


def _in_file(
    path: str,
    memory: str,
    own: str | None,
    processes: tuple[Process, ...],
    notes: list[str],
    *,
    wants_parties: bool,
) -> list[Row]:
    """`own`: of one that has a name of its own, and so is at the beginning."""
    try:
        file = open_to_read(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        if not wants_parties:
            shown = printable(own or memory)
            notes.append(f"+ {shown} cannot be read: {error.strerror}")
        return []
    try:
        look = Look(file)
        if wants_parties and not look.parties():
            return []
        found = [*look.all()]
        if own is not None:
            found = [one for one in found if one.offset == 0]
    finally:
        os.close(file)
    if not look.is_whole:
        notes.append(f"+ {printable(memory)} may hold more than {MOST}")
    return [Row(memory, own, one, processes) for one in found]


# How it is shown


def _name(row: Row) -> str:
    return row.memory if row.name is None else row.name


def _row(row: Row, output: Output) -> list[str]:
    found = row.found
    return [
        output.shown(_name(row)),
        "-" if row.name is not None else str(found.offset),
        found.type,
        _state(found),
        _holders(row, output),
        _waiters(found),
    ]


def _state(found: Synchronizer) -> str:
    if found.free is not None:
        return f"{found.free} free"
    return _WORDS.get(found.state, found.state)


def _holders(row: Row, output: Output) -> str:
    """Of one the pid, the command if it is known, and whether it lives; of
    several how many."""
    found = row.found
    if found.state == "torn" and found.victim is not None:
        return f"{found.victim}, dead"
    holders = found.holders
    if not holders:
        return "-"
    dead = sum(not one.alive for one in holders)
    if len(holders) > 1 or holders[0].pid is None:
        what = "reader" if found.state == "read" else "holder"
        text = count(len(holders), what)
        return f"{text}, {dead} dead" if dead else text
    one = holders[0]
    command = row.command(one)
    who = f"{one.pid}" if command is None else f"{command} {one.pid}"
    return f"{output.shown(who)}, {'dead' if dead else 'alive'}"


def _waiters(found: Synchronizer) -> str:
    if found.waiters is not None:
        return str(found.waiters)
    return "some" if found.waited else "-"


def _sum(rows: list[Row]) -> str:
    memories = len({row.memory for row in rows})
    text = count(len(rows), "synchronizer")
    return f"{text} in {memories} segments" if memories > 1 else text


def _fields(row: Row) -> dict[str, Any]:
    found = row.found
    return {
        "memory": row.memory,
        "name": row.name,
        "offset": found.offset,
        "type": found.type,
        "version": found.version,
        "state": found.state,
        "holders": [
            {"pid": one.pid, "command": row.command(one), "alive": one.alive}
            for one in found.holders
        ],
        "free": found.free,
        "victim": found.victim,
        "waited": found.waited,
        "waiters": found.waiters,
    }
