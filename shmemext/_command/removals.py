# SPDX-License-Identifier: MIT
"""What `rm` and `gc` have done, and what they say about it."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._processes import Process
from ..lifetime import Collected
from .json import processes, text_of
from .names import put_names
from .output import Output
from .status import FAILED, OK
from .text import human, printable, process_name


@dataclass(frozen=True, slots=True)
class Removal:
    """A name that is gone, or would be; or could not go, with its error."""

    name: str
    held: int
    reason: str
    processes: tuple[Process, ...]
    error: OSError | None


def of_collected(collected: Iterable[Collected]) -> list[Removal]:
    return [
        Removal(one.name, one.held, one.reason, one.processes, one.error)
        for one in collected
    ]


def given_back(done: list[Removal]) -> int:
    """Bytes that nobody has any more."""
    return sum(
        one.held for one in done if one.error is None and not one.processes
    )


def line_of(one: Removal, *, dry_run: bool) -> str:
    verb = "would remove" if dry_run else "removed"
    held = human(one.held)
    text = f"{verb} {printable(one.name)}"
    if not one.processes:
        return f"{text}, {held}"
    who = ", ".join(map(process_name, one.processes))
    return f"{text}, but its {held} stay until it is closed in {who}"


def put_each(
    done: list[Removal], options: argparse.Namespace, output: Output
) -> int:
    """The names alone, or one line for each, unless --json tells of all of
    them later."""
    gone = [one for one in done if one.error is None]
    if options.quiet:
        return put_names([one.name for one in gone], options, output)
    if not options.json:
        for one in gone:
            reason = f" ({one.reason})" if one.reason != "asked" else ""
            output.put(f"{line_of(one, dry_run=options.dry_run)}{reason}")
    return OK


def conclude(
    done: list[Removal], options: argparse.Namespace, output: Output
) -> int:
    """What could not be done is always said."""
    if options.json:
        output.put(text_of(_document(done, options.dry_run)))
    for one in done:
        if one.error is not None:
            reason = one.error.strerror or str(one.error)
            output.complain(f"{printable(one.name)}: {reason}")
    return FAILED if any(one.error for one in done) else OK


def _document(done: list[Removal], dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "removed": [
            {
                "name": one.name,
                "held": one.held,
                "reason": one.reason,
                "processes": processes(one.processes),
            }
            for one in done
            if one.error is None
        ],
        "failed": [
            {
                "name": one.name,
                "reason": one.reason,
                "error": one.error.strerror or str(one.error),
                "errno": one.error.errno,
            }
            for one in done
            if one.error is not None
        ],
        "given_back": given_back(done),
    }
