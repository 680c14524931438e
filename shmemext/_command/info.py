# SPDX-License-Identifier: MIT
"""shmemext info."""

import argparse
from datetime import datetime

from .._ledgers import Family
from .._segment import Segment
from .._survey import Survey, survey
from .entries import entries_of
from .json import listing, text_of
from .ls import of_hidden
from .names import bare, put_names
from .output import Output
from .status import FAILED, OK
from .text import NO_REAPER, age, human, printable, process_name

_GOES = {
    "family": "with the last process of its family",
    "users": "with the last process that uses it",
    "pool": "with its family, or when its owner is dead and nobody has "
    "anything of it",
    "queue": "with the last process that uses it",
    "untracked": "when somebody calls unlink()",
    "stdlib": "when somebody calls unlink(), or a resource tracker does",
    "semaphore": "when somebody calls sem_unlink(3)",
    "unknown": "as its owner knows",
}


def run(options: argparse.Namespace, output: Output) -> int:
    asked = {bare(given): given for given in options.names}
    names = [*asked]
    found = survey(names)
    by_name = {one.name: one for one in found.segments}
    segments = [by_name[name] for name in names if name in by_name]
    if options.json and segments:
        entries = {one.name: one for one in entries_of(found) if one.is_named}
        shown = [entries[one.name] for one in segments]
        output.put(text_of(listing(shown, found)))
    elif options.quiet:
        put_names([one.name for one in segments], options, output)
    elif not options.json:
        _put_all(segments, found, output)
    for name in names:
        if name not in by_name:
            given = printable(asked[name])
            output.complain(f"{given}: {missing(name, found)}")
    return OK if len(segments) == len(names) else FAILED


def missing(name: str, found: Survey) -> str:
    """Or is the memory still there?"""
    for lost in found.deleted:
        if lost.name == name:
            who = ", ".join(map(process_name, lost.processes))
            return (
                "no such segment: it was deleted, and its memory stays "
                f"until it is closed in {who}"
            )
    return "no such segment"


def _put_all(segments: list[Segment], found: Survey, output: Output) -> None:
    for number, segment in enumerate(segments):
        if number:
            output.put("")
        fields = _fields(segment, found)
        width = max(map(len, fields))
        for field, value in fields.items():
            output.put(f"{field.ljust(width)}  {value}")


def _fields(segment: Segment, found: Survey) -> dict[str, str]:
    changed = datetime.fromtimestamp(segment.changed).astimezone()
    fields = {
        "name": printable(segment.name),
        "size": f"{segment.size} ({human(segment.size)})",
        "held": f"{segment.held} ({human(segment.held)})",
        "mode": f"{segment.mode:04o}",
        "owner": f"{printable(segment.owner)} (uid {segment.uid})",
        "inode": str(segment.inode),
        "changed": changed.isoformat(sep=" ", timespec="seconds"),
        "age": age(segment.age),
        "kind": segment.kind,
        "goes": _goes(segment),
        **_fields_of_family(segment.family),
        "open in": _open_in(segment, found),
    }
    for process in segment.processes:
        how = ["mapped"] * process.mapped + ["by descriptor"] * process.open
        fields[f"process {process.pid}"] = (
            f"{printable(process.command)} ({', '.join(how)})"
        )
    return fields


def _open_in(segment: Segment, found: Survey) -> str:
    hidden = of_hidden(found)
    text = f"{len(segment.processes)}{'+' if found.hidden else ''}"
    return f"{text} ({hidden})" if hidden else text


def _goes(segment: Segment) -> str:
    family = segment.family
    if family is not None and not family.alive:
        return "with the next sweep, or gc: its family is dead"
    return _GOES[segment.kind]


def _fields_of_family(family: Family | None) -> dict[str, str]:
    if family is None:
        return {"family": "-"}
    state = "alive" if family.alive else "dead"
    own = ", the caller's own" if family.own else ""
    fields = {"family": f"{family.id} ({state}{own})"}
    if family.alive:
        fields["reaper"] = (
            "waits for the family's end"
            if family.reaper
            else f"none for the family: {NO_REAPER}"
        )
    return fields
