# SPDX-License-Identifier: MIT
"""What --json prints: docs/command.schema.json has it field by field.

Of each list, an element has a line: that reads well enough, and is ten times
as fast as json.dumps() with an indent."""

import json
from typing import Any

from .._elsewhere import Elsewhere
from .._ledgers import Family
from .._processes import Deleted, Process
from .._segment import Segment
from .._survey import Survey
from .entries import Entry

_dumps = json.JSONEncoder().encode


def text_of(document: dict[str, Any]) -> str:
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            lines = ",\n    ".join(map(_dumps, value))
            parts.append(f"  {_dumps(key)}: [\n    {lines}\n  ]")
        else:
            parts.append(f"  {_dumps(key)}: {_dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}"


def listing(entries: list[Entry], found: Survey) -> dict[str, Any]:
    room = found.room
    about = [one.about for one in entries]
    return {
        "segments": [_segment(x) for x in about if isinstance(x, Segment)],
        "deleted": [_deleted(x) for x in about if isinstance(x, Deleted)],
        "elsewhere": [
            _elsewhere(x) for x in about if isinstance(x, Elsewhere)
        ],
        "room": {
            "total": room.total,
            "free": room.free,
            "inodes_total": room.inodes_total,
            "inodes_free": room.inodes_free,
        },
        "hidden_processes": found.hidden,
        "other_versions": found.other_versions,
    }


def _segment(one: Segment) -> dict[str, Any]:
    return {
        "name": one.name,
        "size": one.size,
        "held": one.held,
        "mode": f"{one.mode:04o}",
        "uid": one.uid,
        "owner": one.owner,
        "inode": one.inode,
        "changed": one.changed,
        "age": one.age,
        "kind": one.kind,
        "family": None if one.family is None else _family(one.family),
        "processes": processes(one.processes),
    }


def _deleted(one: Deleted) -> dict[str, Any]:
    return {
        "name": one.name,
        "size": one.size,
        "processes": processes(one.processes),
    }


def _elsewhere(one: Elsewhere) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "size": one.size,
        "held": one.held,
        "inode": one.inode,
        "uid": one.uid,
        "owner": one.owner,
        "processes": processes(one.processes),
    }


def _family(one: Family) -> dict[str, Any]:
    return {
        "id": one.id,
        "uid": one.uid,
        "owner": one.owner,
        "alive": one.alive,
        "own": one.own,
        "reaper": one.reaper,
    }


def processes(those: tuple[Process, ...]) -> list[dict[str, Any]]:
    return [
        {
            "pid": one.pid,
            "command": one.command,
            "mapped": one.mapped,
            "open": one.open,
        }
        for one in those
    ]
