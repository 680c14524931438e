# SPDX-License-Identifier: MIT
"""shmemext channels."""

import argparse
import os
from dataclasses import dataclass
from typing import Any

from .._ledgers import DIRECTORY, open_to_read
from .._segment import Segment
from .._survey import survey
from .._traffic import CONTROL, Traffic, look
from .json import text_of
from .names import bare, put_names
from .output import Output
from .status import FAILED, OK
from .table import plain
from .text import count, human, printable

_HEADER = (
    *("NAME", "TYPE", "MEMBERS", "STATE"),
    *("WAITING", "IN HAND", "OF THE DEAD"),
)


@dataclass(slots=True)
class Row:
    segment: Segment
    found: Traffic

    @property
    def command(self) -> str | None:
        """The writer's: its pid is what its own pid namespace has."""
        writer = self.found.writer
        if writer is not None and writer.alive:
            for process in self.segment.processes:
                if process.pid == writer.pid:
                    return process.command
        return None


def run(options: argparse.Namespace, output: Output) -> int:
    asked = [*map(bare, options.names)]
    notes: list[str] = []
    rows = []
    for segment in survey(asked or None).segments:
        if not segment.name.startswith(CONTROL):
            rows += _in_segment(segment, notes if asked else None)
    status = OK
    names = {row.segment.name for row in rows}
    unread = {note.partition(" cannot")[0] for note in notes}
    for given in options.names:
        name = bare(given)
        if name not in names and f"+ {printable(name)}" not in unread:
            output.complain(f"{printable(given)}: no such channel")
            status = FAILED
    if options.quiet:
        return (
            put_names([one.segment.name for one in rows], options, output)
            or status
        )
    if options.json:
        output.put(text_of({"channels": [*map(_fields, rows)]}))
    else:
        lines = [*plain(_HEADER, [_row(one, output) for one in rows], output)]
        output.put("\n".join([*lines, *notes, count(len(rows), "channel")]))
    return status


def _open(name: str) -> int:
    return open_to_read(f"{DIRECTORY}/{name}")


def _in_segment(segment: Segment, notes: list[str] | None) -> list[Row]:
    """Nothing, where there is none in it, or it has just gone; `notes` takes
    why it cannot be read."""
    try:
        file = _open(segment.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        if notes is not None:
            shown = printable(segment.name)
            notes.append(f"+ {shown} cannot be read: {error.strerror}")
        return []
    try:
        found = look(file, _open)
    finally:
        os.close(file)
    return [] if found is None else [Row(segment, found)]


# How it is shown


def _row(row: Row, output: Output) -> list[str]:
    found = row.found
    return [
        output.shown(row.segment.name),
        found.type,
        _number(found.members),
        _state(row, output),
        _waiting(found),
        _in_hand(found),
        _of_the_dead(found),
    ]


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _state(row: Row, output: Output) -> str:
    writer = row.found.writer
    if row.found.state == "idle":
        return "no writer"
    if writer is None:
        return row.found.state
    pid = "" if writer.pid is None else f" {writer.pid}"
    who = f"{row.command or 'writer'}{pid}"
    return f"{output.shown(who)}, {'alive' if writer.alive else 'dead'}"


def _waiting(found: Traffic) -> str:
    if found.newest is not None:
        return f"frame {found.newest}" if found.newest else "-"
    if found.messages is None or found.bytes is None:
        return "-"
    return f"{found.messages}, {human(found.bytes)}"


def _in_hand(found: Traffic) -> str:
    text = _number(found.in_hand)
    dead = found.in_dead_hands
    return f"{text}, {dead} of the dead" if dead else text


def _of_the_dead(found: Traffic) -> str:
    """What was made good, so far."""
    parts = [
        f"{number} {what}"
        for number, what in [
            (found.discarded, "discarded"),
            (found.redelivered, "redelivered"),
        ]
        if number
    ]
    return ", ".join(parts) or "-"


def _fields(row: Row) -> dict[str, Any]:
    found = row.found
    writer = found.writer
    return {
        "name": row.segment.name,
        "type": found.type,
        "version": found.version,
        "state": found.state,
        "size": found.size,
        "members": found.members,
        "messages": found.messages,
        "bytes": found.bytes,
        "newest": found.newest,
        "in_hand": found.in_hand,
        "in_dead_hands": found.in_dead_hands,
        "discarded": found.discarded,
        "redelivered": found.redelivered,
        "writer": writer
        and {
            "pid": writer.pid,
            "command": row.command,
            "alive": writer.alive,
        },
    }
