# SPDX-License-Identifier: MIT
"""shmemext ls."""

import argparse
import os
import textwrap
from collections.abc import Iterator

from .._ledgers import Family
from .._survey import Room, Survey, survey
from .entries import (
    ELSEWHERE,
    NAMED,
    Entry,
    entries_of,
    in_order,
    of_family,
    of_kinds,
    with_names,
)
from .json import listing, text_of
from .names import put_names
from .output import Output
from .status import FAILED, OK
from .table import table
from .text import (
    NO_REAPER,
    count,
    human,
    of_other_versions,
    printable,
    some,
)


def run(options: argparse.Namespace, output: Output) -> int:
    kinds: list[str] = options.kind or []
    everywhere = options.all or not {*kinds}.isdisjoint(ELSEWHERE)
    wants_processes = (
        not options.quiet
        or everywhere
        or "deleted" in kinds
        or options.sort == "open"
    )
    found = survey(everywhere=everywhere, processes=wants_processes)
    entries, status = _chosen(entries_of(found), options, output)
    entries = in_order(entries, options.sort, options.reverse)
    if options.json:
        output.put(text_of(listing(entries, found)))
    elif options.quiet:
        named = put_names([one.name for one in entries], options, output)
        return named or status
    else:
        _put_table(entries, found, output)
    return status


def _chosen(
    entries: list[Entry], options: argparse.Namespace, output: Output
) -> tuple[list[Entry], int]:
    status = OK
    family: str | None = options.family
    if family is not None and not of_family(entries, family):
        output.complain(f"{family}: no family that owns anything")
        status = FAILED
    entries, missing = with_names(entries, options.names)
    for name in missing:
        output.complain(f"{printable(name)}: no such segment")
        status = FAILED
    if family is not None:
        entries = of_family(entries, family)
    if options.kind:
        entries = of_kinds(entries, options.kind)
    elif options.quiet and not options.all:
        entries = of_kinds(entries, NAMED)  # what rm could remove
    return entries, status


def _put_table(entries: list[Entry], found: Survey, output: Output) -> None:
    lines = [*table(entries, output, found.hidden > 0)]
    lines += [
        part
        for note in _notes(entries, found)
        for part in _wrapped(f"+ {note}", output)
    ]
    lines += _wrapped(_sum(entries, found.room), output)
    output.put("\n".join(lines))


def _wrapped(line: str, output: Output) -> list[str]:
    if not output.is_terminal:
        return [line]
    return textwrap.wrap(line, output.columns, subsequent_indent="  ")


def _notes(entries: list[Entry], found: Survey) -> Iterator[str]:
    hidden = of_hidden(found)
    if hidden is not None:
        more = "" if hidden.startswith("/proc") else "and perhaps more: "
        yield f"{more}{hidden}"
    yield from _of_families(entries)
    yield from of_other_versions(found.other_versions)


def of_hidden(found: Survey) -> str | None:
    """Why nobody seems to have it open, and somebody may."""
    try:
        os.lstat("/proc/self")
    except FileNotFoundError:
        return "/proc is not mounted: who has what open is not known"
    except OSError:
        return "/proc may not be read: who has what open is not known"
    if found.hidden:
        processes = "process" if found.hidden == 1 else "processes"
        return f"at least {found.hidden} {processes} may not be looked into"
    return None


def _of_families(entries: list[Entry]) -> Iterator[str]:
    """This user's that nobody will clear up after."""
    families: dict[str, Family] = {
        one.family.id: one.family for one in entries if one.family is not None
    }
    ids = sorted(
        family.id[:8]
        for family in families.values()
        if family.alive and not family.reaper and family.uid == os.geteuid()
    )
    if ids:
        yield f"no reaper for {some(ids)}: {NO_REAPER}"


def _sum(entries: list[Entry], room: Room) -> str:
    parts = []
    segments = [one for one in entries if one.is_named]
    others = [one for one in entries if not one.is_named]
    if segments or not others:
        number = count(len(segments), "segment")
        held = sum(one.held or 0 for one in segments)
        parts.append(f"{number}, {human(held)} held")
    for kind in ("deleted", *ELSEWHERE):
        sizes = [one.size for one in others if one.kind == kind]
        if sizes:
            word = count(len(sizes), kind) if kind == "file" else ""
            number = word or f"{len(sizes)} {kind}"
            parts.append(f"{number}, {human(sum(sizes))}")
    if room.total is not None and room.free is not None:
        parts.append(
            f"{human(room.free)} of {human(room.total)}{_inodes(room)} free "
            "in /dev/shm"
        )
    return "; ".join(parts)


def _inodes(room: Room) -> str:
    """Where they may end before the memory does."""
    if room.inodes_total is None or room.inodes_free is None:
        return ""
    if room.inodes_free * 10 >= room.inodes_total:
        return ""
    return f" and {room.inodes_free} of {room.inodes_total} inodes"
