# SPDX-License-Identifier: MIT
"""shmemext rm."""

import argparse
import errno
import os

from .. import lifetime
from .._ledgers import FAMILY_PREFIX
from .._segment import Segment
from .._survey import Survey, survey
from .entries import is_pattern
from .info import missing
from .names import bare, read_names
from .output import Output
from .removals import Removal, conclude, put_each
from .status import OK
from .text import printable

STDIN = "-"


def run(options: argparse.Namespace, output: Output) -> int:
    names: list[str] = []
    for given in options.names:
        names += read_names(options) if given == STDIN else [given]
    names = [*map(bare, names)]
    found = survey(names)
    there = {one.name: one for one in found.segments}
    status, done = OK, []
    for name in names:
        one = _removal(name, there, found, options)
        if one.error is None:
            del there[name]  # asked for twice, it is found once
            status = put_each([one], options, output) or status
        elif not options.json:
            conclude([one], options, output)
        done.append(one)
    if options.json:
        return conclude(done, options, output)
    return status or (OK if all(one.error is None for one in done) else 1)


def _removal(
    name: str,
    there: dict[str, Segment],
    found: Survey,
    options: argparse.Namespace,
) -> Removal:
    segment = there.get(name)
    error = _refusal(name, segment, found, options.force)
    if segment is None:
        return Removal(name, 0, "asked", (), error)
    if error is None and not options.dry_run:
        try:
            lifetime.unlink(segment)
        except FileNotFoundError:
            error = OSError(errno.ENOENT, "no such segment", name)
        except OSError as failed:
            error = failed
    return Removal(name, segment.held, "asked", segment.processes, error)


def _refusal(
    name: str, segment: Segment | None, found: Survey, force: bool
) -> OSError | None:
    if name.startswith(FAMILY_PREFIX):
        text = "the library's own, not a segment"
        return OSError(errno.EPERM, text, name)
    if segment is None:
        return OSError(errno.ENOENT, _missing(name, found), name)
    family = segment.family
    if not force and segment.uid != os.geteuid():
        text = (
            f"belongs to {printable(segment.owner)} "
            "(--force tries all the same)"
        )
        return OSError(errno.EPERM, text, name)
    if not force and family is not None and family.alive and not family.own:
        text = (
            "its family is alive and will remove it "
            "(--force removes it all the same)"
        )
        return OSError(errno.EBUSY, text, name)
    return None


def _missing(name: str, found: Survey) -> str:
    text = missing(name, found)
    if is_pattern(name):
        text += (
            " (of that very name; for what fits a pattern: shmemext ls -q "
            "'PATTERN' | shmemext rm -)"
        )
    return text
