# SPDX-License-Identifier: MIT
"""The command line: what is in /dev/shm, and what of it may go."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from . import lifetime
from ._ledgers import FAMILY_PREFIX
from ._table import print_table
from ._text import (
    NO_REAPER,
    age,
    duration,
    human,
    name_count,
    of_other_versions,
    open_in,
    printable,
    process_name,
)
from .lifetime import Collected, Family, Segment, Survey

OK, FAILED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return OK
    for stream in (sys.stdout, sys.stderr):  # names may hold any byte
        getattr(stream, "reconfigure", _nothing)(errors="backslashreplace")
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        status = run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `ls | head`: what is left has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except KeyboardInterrupt:
        return _complain("interrupted")
    except OSError as error:
        return _complain(_reason(error, str(error.filename)))


def _nothing(**_: str) -> None:
    pass


def _complain(text: str) -> int:
    print(f"shmemext: {text}", file=sys.stderr)
    return FAILED


def _reason(error: OSError, name: str) -> str:
    return f"{printable(name)}: {error.strerror}"


# ls


def list_segments(options: argparse.Namespace) -> int:
    found = lifetime.survey()
    if options.json:
        _print_json(
            {
                "segments": [_as_json(one) for one in found.segments],
                "deleted": [asdict(one) for one in found.deleted],
                "hidden_processes": found.hidden,
                "other_versions": found.other_versions,
            }
        )
        return OK
    print_table(found)
    return OK


# info


def show(options: argparse.Namespace) -> int:
    found = lifetime.survey()
    segment = _find(found, options.name)
    if segment is None:
        return _complain(f"{printable(options.name)}: no such segment")
    if options.json:
        _print_json({**_as_json(segment), "hidden_processes": found.hidden})
        return OK
    fields = _fields(segment, found)
    width = max(map(len, fields))
    for field, value in fields.items():
        print(f"{field.ljust(width)}  {value}")
    return OK


def _fields(segment: Segment, found: Survey) -> dict[str, str]:
    changed = datetime.fromtimestamp(segment.changed).astimezone()
    fields = {
        "name": printable(segment.name),
        "size": f"{segment.size} ({human(segment.size)})",
        "held": f"{segment.held} ({human(segment.held)})",
        "mode": f"{segment.mode:04o}",
        "owner": f"{segment.owner} (uid {segment.uid})",
        "inode": str(segment.inode),
        "changed": changed.isoformat(sep=" ", timespec="seconds"),
        "age": age(segment.age),
        "kind": segment.kind,
        "goes": _GOES[segment.kind],
        **_fields_of_family(segment.family),
        "open in": open_in(segment.processes, found),
    }
    for process in segment.processes:
        how = ["mapped"] * process.mapped + ["by descriptor"] * process.open
        fields[f"process {process.pid}"] = (
            f"{printable(process.command)} ({', '.join(how)})"
        )
    return fields


_GOES = {
    "family": "with the last process of its family",
    "users": "with the last process that uses it",
    "untracked": "when somebody calls unlink()",
    "stdlib": "when somebody calls unlink(), or a resource tracker does",
    "semaphore": "when somebody calls sem_unlink(3)",
    "unknown": "as its owner knows",
}


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


def _find(found: Survey, name: str) -> Segment | None:
    bare = name.removeprefix("/")
    for segment in found.segments:
        if segment.name == bare:
            return segment
    return None


# rm


def remove(options: argparse.Namespace) -> int:
    found = lifetime.survey()
    status = OK
    for name in options.names:
        error = _remove_name(found, name, options.force)
        if error is not None:
            status = _complain(f"{printable(name)}: {error}")
    return status


def _remove_name(found: Survey, name: str, force: bool) -> str | None:
    if name.removeprefix("/").startswith(FAMILY_PREFIX):
        return "the library's own, not a segment"
    segment = _find(found, name)
    if segment is None:
        return "no such segment"
    family = segment.family
    if not force and segment.uid != os.geteuid():
        return f"belongs to {segment.owner} (--force tries all the same)"
    if not force and family is not None and family.alive and not family.own:
        return (
            "its family is alive and will remove it "
            "(--force removes it all the same)"
        )
    try:
        lifetime.unlink(segment)
    except FileNotFoundError:
        return "no such segment"
    except OSError as error:
        return str(error.strerror)
    print(f"removed {printable(segment.name)}{_still_open(segment)}")
    return None


def _still_open(one: Segment | Collected) -> str:
    if not one.processes:
        return f", {human(one.held)}"
    return (
        f", but its {human(one.held)} stay until it is closed in "
        + ", ".join(map(process_name, one.processes))
    )


# gc


def collect(options: argparse.Namespace) -> int:
    offers = options.orphans or options.unused
    asks = offers and not options.dry_run and not options.yes
    refusal = None
    if options.older_than is not None and not offers:
        refusal = "--older-than needs --orphans or --unused"
    elif asks and not sys.stdin.isatty():
        refusal = (
            f"{'--orphans' if options.orphans else '--unused'} asks before it "
            "removes: add --yes where there is no terminal"
        )
    if refusal is not None:
        _complain(refusal)
        return USAGE
    found = lifetime.survey()
    done = lifetime.sweep(found, dry_run=options.dry_run)
    done += _remove(found, lifetime.find_without_users(found), options.dry_run)
    _report(done, options.dry_run)
    if offers:
        offered = _offered(found, options)
        if asks and not _agrees(offered):
            offered = [one for one in offered if one.error is not None]
        offered = _remove(found, offered, options.dry_run)
        _report(offered, options.dry_run)
        done += offered
    for line in of_other_versions(found):
        print(line)
    return _sum_up(done, options.dry_run)


def _offered(found: Survey, options: argparse.Namespace) -> list[Collected]:
    offered = []
    least = options.older_than or 0.0
    if options.orphans:
        offered += lifetime.find_orphans(found, least)
    if options.unused:
        offered += lifetime.find_unused(found, least)
    return offered


def _remove(
    found: Survey, offered: list[Collected], dry_run: bool
) -> list[Collected]:
    return (
        offered if dry_run else list(lifetime.remove_offered(found, offered))
    )


def _report(collected: list[Collected], dry_run: bool) -> None:
    verb = "would remove" if dry_run else "removed"
    for one in collected:
        if one.error is None:
            what = f"{verb} {printable(one.name)}{_still_open(one)}"
            print(f"{what} ({one.reason})")


def _sum_up(done: list[Collected], dry_run: bool) -> int:
    gone = [one for one in done if one.error is None]
    freed = sum(one.held for one in gone if not one.processes)
    would = "would be " if dry_run else ""
    print(f"{name_count(len(gone))} {would}removed, {human(freed)} given back")
    for one in done:
        if one.error is not None:
            _complain(_reason(one.error, one.name))
    return OK if len(gone) == len(done) else FAILED


def _agrees(offered: list[Collected]) -> bool:
    able = [one for one in offered if one.error is None]
    if not able:
        return True
    for one in able:
        print(f"{printable(one.name)}, {human(one.held)} ({one.reason})")
    total = human(sum(one.held for one in able))
    print(
        f"No process has them open. Remove {name_count(len(able))}, {total}?"
    )
    try:
        answer = input("[y/N] ")
    except EOFError:
        print()
        return False
    return answer.strip().lower() in ("y", "yes")


# JSON


def _as_json(segment: Segment) -> dict[str, Any]:
    return {**asdict(segment), "mode": f"{segment.mode:04o}"}


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))


# Arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shmemext",
        description="What is in /dev/shm, and what of it may go.",
        epilog="Exit status: 0 all went well, 1 something did not, 2 usage.",
    )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        first, _, more = text.partition("\n")
        added = commands.add_parser(
            name, help=first, description=f"{first}. {more}".strip()
        )
        added.set_defaults(run=run)
        return added

    ls = command(
        "ls",
        list_segments,
        "list segments, whose they are and who has them open\n"
        "SIZE is what was asked for, HELD what its pages take. FAMILY is "
        "alive or dead with the first digits of its id, and users where it "
        "goes with the last process that uses it; untracked: nobody's; "
        "stdlib: nobody's, under a name that multiprocessing makes up; "
        "unknown: another user's; deleted: memory that lost its name.",
    )
    ls.add_argument("--json", action="store_true", help="exact, for programs")

    info = command("info", show, "show all that is known of one segment")
    info.add_argument("name", metavar="NAME")
    info.add_argument("--json", action="store_true", help="for programs")

    rm = command(
        "rm",
        remove,
        "remove segments by name\n"
        "Processes that have one open keep its memory until they close it.",
    )
    rm.add_argument("names", metavar="NAME", nargs="+")
    rm.add_argument(
        "--force",
        action="store_true",
        help="even those of a living family, or of another user",
    )

    gc = command(
        "gc",
        collect,
        "remove what dead families of this user left\n"
        "And its segments that were to go with their last user, who was "
        "killed. Never what is in use or somebody else's.",
    )
    gc.add_argument(
        "--dry-run", action="store_true", help="say what, and remove nothing"
    )
    gc.add_argument(
        "--orphans",
        action="store_true",
        help="offer also segments of this user that no family owns and no "
        "process on the machine has open, the stdlib's included",
    )
    gc.add_argument(
        "--unused",
        action="store_true",
        help="offer also segments of living families of this user that no "
        "process on the machine has open: what killed workers of a server "
        "left, but also what a program means to come back to",
    )
    gc.add_argument(
        "--older-than",
        type=duration,
        metavar="AGE",
        help="of what is offered, only what is as old: 30s, 10m, 2h, 7d",
    )
    gc.add_argument(
        "--yes",
        action="store_true",
        help="remove what would be offered without asking",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
