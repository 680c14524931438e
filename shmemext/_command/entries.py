# SPDX-License-Identifier: MIT
"""What `ls` and `info` list: segments, and memory that has no name there."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from typing import Any, get_args

from .._elsewhere import Elsewhere
from .._ledgers import Family
from .._processes import Deleted, Process
from .._segment import Kind, Segment
from .._survey import Survey
from .names import bare

# In /dev/shm by a name; and what else there is.
NAMED: tuple[str, ...] = get_args(Kind)
ELSEWHERE = ("file", "anonymous")
KINDS = (*NAMED, "deleted", *ELSEWHERE)


@dataclass(slots=True)
class Entry:
    """One line of the table. None: that is not known of this kind."""

    kind: str
    name: str
    size: int
    held: int | None
    mode: int | None
    owner: str | None
    age: float | None
    family: Family | None
    processes: tuple[Process, ...]
    about: Segment | Deleted | Elsewhere

    @property
    def is_named(self) -> bool:
        """Could rm remove it?"""
        return isinstance(self.about, Segment)


def entries_of(found: Survey) -> list[Entry]:
    """Segments, then what lost its name, then what never had one there."""
    entries = [
        Entry(
            one.kind,
            one.name,
            one.size,
            one.held,
            one.mode,
            one.owner,
            one.age,
            one.family,
            one.processes,
            one,
        )
        for one in found.segments
    ]
    for lost in found.deleted:
        nothing = (None, None, None, None, None)
        entries.append(
            Entry(
                "deleted", lost.name, lost.size, *nothing, lost.processes, lost
            )
        )
    for other in found.elsewhere:
        entries.append(
            Entry(
                other.kind,
                other.name,
                other.size,
                other.held,
                None,
                other.owner,
                None,
                None,
                other.processes,
                other,
            )
        )
    return entries


# Which of them


def is_pattern(name: str) -> bool:
    return re.search(r"[*?[]", name) is not None


def with_names(
    entries: list[Entry], names: list[str]
) -> tuple[list[Entry], list[str]]:
    """Those that have one of the names, or fit one that is a pattern; and the
    names that nothing has. What is elsewhere has a path for a name."""
    if not names:
        return entries, []
    exact = {*map(bare, names), *names}
    patterns = [
        re.compile(translate(form)).match
        for name in names
        if is_pattern(name)
        for form in {name, bare(name)}
    ]
    chosen = [
        one
        for one in entries
        if one.name in exact or any(fits(one.name) for fits in patterns)
    ]
    there = {one.name for one in chosen}
    missing = [
        name
        for name in names
        if not is_pattern(name) and not there & {name, bare(name)}
    ]
    return chosen, missing


def of_kinds(entries: list[Entry], kinds: Iterable[str]) -> list[Entry]:
    wanted = set(kinds)
    return [one for one in entries if one.kind in wanted]


def of_family(entries: list[Entry], beginning: str) -> list[Entry]:
    return [
        one
        for one in entries
        if one.family is not None and one.family.id.startswith(beginning)
    ]


# In which order


def _by(value: Callable[[Entry], Any]) -> Callable[[Entry], tuple[bool, Any]]:
    """Those of which it is not known come last."""

    def key(one: Entry) -> tuple[bool, Any]:
        known = value(one)
        return known is None, 0 if known is None else known

    return key


def _first_the_most(
    value: Callable[[Entry], float | None],
) -> Callable[[Entry], tuple[bool, Any]]:
    def negative(one: Entry) -> float | None:
        known = value(one)
        return None if known is None else -known

    return _by(negative)


ORDERS = {
    "name": _by(lambda one: one.name),
    "size": _first_the_most(lambda one: one.size),
    "held": _first_the_most(lambda one: one.held),
    "mode": _by(lambda one: one.mode),
    "owner": _by(lambda one: one.owner),
    "age": _first_the_most(lambda one: one.age),
    "kind": _by(lambda one: KINDS.index(one.kind)),
    "family": _by(lambda one: one.family and one.family.id),
    "open": _first_the_most(lambda one: len(one.processes)),
}


def in_order(entries: list[Entry], by: str | None, back: bool) -> list[Entry]:
    """Of what is equal, the order is that of entries_of()."""
    if by is not None:
        entries = sorted(entries, key=ORDERS[by])
    return entries[::-1] if back else entries
