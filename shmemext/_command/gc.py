# SPDX-License-Identifier: MIT
"""shmemext gc."""

import argparse
import sys

from .. import lifetime
from .._survey import Survey, survey
from ..lifetime import Collected
from .output import Output
from .removals import (
    Removal,
    conclude,
    given_back,
    of_collected,
    put_each,
)
from .status import USAGE
from .text import count, human, of_other_versions, printable


def run(options: argparse.Namespace, output: Output) -> int:
    offers = options.orphans or options.unused
    asks = offers and not options.dry_run and not options.yes
    refusal = _refusal(options, offers, asks)
    if refusal is not None:
        output.complain(refusal)
        return USAGE
    found = survey()
    done = of_collected(lifetime.sweep(found, dry_run=options.dry_run))
    done += _remove(found, lifetime.find_without_users(found), options)
    status = put_each(done, options, output)
    if offers:
        offered = _offered(found, options)
        if asks and not _agrees(offered, output):
            offered = [one for one in offered if one.error is not None]
        removed = _remove(found, offered, options)
        status = put_each(removed, options, output) or status
        done += removed
    if not options.json and not options.quiet:
        for line in of_other_versions(found.other_versions):
            output.put(line)
        output.put(_sum(done, options.dry_run))
    return conclude(done, options, output) or status


def _refusal(
    options: argparse.Namespace, offers: bool, asks: bool
) -> str | None:
    if options.older_than is not None and not offers:
        return "--older-than needs --orphans or --unused"
    if options.family is not None and not options.unused:
        return "--family needs --unused: no family owns an orphan"
    what = "--orphans" if options.orphans else "--unused"
    if asks and (options.json or options.quiet):
        return (
            f"{what} asks before it removes, --json and --quiet do not: add "
            "--yes or --dry-run"
        )
    if asks and (sys.stdin is None or not sys.stdin.isatty()):
        return (
            f"{what} asks before it removes: add --yes where there is no "
            "terminal"
        )
    return None


def _offered(found: Survey, options: argparse.Namespace) -> list[Collected]:
    offered = []
    least = options.older_than or 0.0
    if options.orphans:
        offered += lifetime.find_orphans(found, least)
    if options.unused:
        unused = lifetime.find_unused(found, least)
        wanted = options.family or ""
        of = {one.name: one.family for one in found.segments}
        for one in unused:
            family = of[one.name]
            if family is not None and family.id.startswith(wanted):
                offered.append(one)
    return offered


def _remove(
    found: Survey, offered: list[Collected], options: argparse.Namespace
) -> list[Removal]:
    if options.dry_run:
        return of_collected(offered)
    return of_collected(lifetime.remove_offered(found, offered))


def _sum(done: list[Removal], dry_run: bool) -> str:
    number = count(sum(one.error is None for one in done), "name")
    would = "would be " if dry_run else ""
    return f"{number} {would}removed, {human(given_back(done))} given back"


def _agrees(offered: list[Collected], output: Output) -> bool:
    able = [one for one in of_collected(offered) if one.error is None]
    if not able:
        return True
    for one in able:
        output.put(f"{printable(one.name)}, {human(one.held)} ({one.reason})")
    total = human(sum(one.held for one in able))
    number = count(len(able), "name")
    output.put(f"No process has them open. Remove {number}, {total}?")
    return output.answer("[y/N] ").strip().lower() in (b"y", b"yes")
