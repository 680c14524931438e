# SPDX-License-Identifier: MIT
"""The commands: what each is called, does and takes."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

from . import channels, completion, gc, info, locks, ls, pools, rm
from .entries import KINDS, ORDERS
from .output import Output
from .parser import Parser
from .text import beginning_of_id, duration, either, one_of

Run: TypeAlias = Callable[[argparse.Namespace, Output], int]

_NULL = "as --quiet, but each ends with a NUL: there may be newlines in names"


def _add_ls(parser: Parser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="only what is called so; *, ? and [...] stand for other letters, "
        "as in a shell, which wants them quoted",
    )
    parser.add_argument(
        "-a",
        "--all",
        action="store_true",
        help="also what processes have open elsewhere: file, a MappedFile, "
        "and anonymous, an AnonymousMemory",
    )
    parser.add_argument(
        "--kind",
        metavar="KIND",
        action="append",
        type=one_of("kind", KINDS),
        choices=KINDS,
        help=f"only that kind: {either(KINDS)}; may be given several times",
    )
    _add_family(
        parser, "only what belongs to a family whose id begins with ID"
    )
    parser.add_argument(
        "--sort",
        metavar="KEY",
        type=one_of("key to sort by", [*ORDERS]),
        choices=[*ORDERS],
        help=f"by {either(ORDERS)}: the largest, oldest and those that most "
        "have open come first",
    )
    parser.add_argument(
        "-r", "--reverse", action="store_true", help="the other way round"
    )
    _add_form(parser, "of what has one in /dev/shm, unless --kind or --all")
    _add_null(parser, _NULL)
    parser.add_argument(
        "--color",
        metavar="WHEN",
        choices=["auto", "always", "never"],
        type=one_of("time for colours", ["auto", "always", "never"]),
        default="auto",
        help="auto, always or never. auto, the default: on a terminal, unless "
        "NO_COLOR is set or TERM is dumb",
    )


def _add_info(parser: Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+")
    _add_form(parser, "of those that there are")
    _add_null(parser, _NULL)


def _add_locks(parser: Parser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="only those of that name, or in the segment of that name, or in "
        "a file, by path; without one, those that have a name of their own, "
        "and those in segments in which a process uses any",
    )
    _add_form(parser, "of those that there are, or of their segments")
    _add_null(parser, _NULL)


def _add_channels(parser: Parser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="only those of that name; without one, all that this user may "
        "read",
    )
    _add_form(parser, "of those that there are")
    _add_null(parser, _NULL)


def _add_pools(parser: Parser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="only those, by their digits or the names of their segments; "
        "without one, all that this user may read",
    )
    _add_form(parser, "of both segments of each")
    _add_null(parser, _NULL)


def _add_rm(parser: Parser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="exactly as it is; - reads names from standard input",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="even those of a living family, or of another user",
    )
    _add_dry_run(parser)
    _add_form(parser, "of what was removed")
    _add_null(
        parser,
        "names that - reads, and those of --quiet, end with a NUL instead of "
        "a newline",
    )


def _add_gc(parser: Parser) -> None:
    _add_dry_run(parser)
    parser.add_argument(
        "--orphans",
        action="store_true",
        help="offer also segments of this user that no family owns and no "
        "process on the machine has open, the stdlib's included",
    )
    parser.add_argument(
        "--unused",
        action="store_true",
        help="offer also segments of living families of this user that no "
        "process on the machine has open: what killed workers of a server "
        "left, but also what a program means to come back to",
    )
    _add_family(
        parser,
        "of --unused, only what belongs to a family whose id begins with ID",
    )
    parser.add_argument(
        "--older-than",
        type=duration,
        metavar="AGE",
        help="of what is offered, only what is as old: 30s, 10m, 2h, 7d",
    )
    parser.add_argument(
        "-y",
        "--yes",
        action="store_true",
        help="remove what would be offered without asking",
    )
    _add_form(parser, "of what was removed")
    _add_null(parser, _NULL)


def _add_completion(parser: Parser) -> None:
    parser.add_argument(
        "what",
        metavar="WHAT",
        choices=completion.WHAT,
        type=one_of("completion", [*completion.WHAT]),
        help="bash: the script; families: the ids that it offers",
    )


def _add_form(parser: Parser, of_what: str) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="exact and whole, for programs"
    )
    form.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help=f"print names alone, one to a line: {of_what}",
    )


def _add_null(parser: Parser, text: str) -> None:
    parser.add_argument("-0", "--null", action="store_true", help=text)


def _add_family(parser: Parser, text: str) -> None:
    parser.add_argument(
        "--family", metavar="ID", type=beginning_of_id, help=text
    )


def _add_dry_run(parser: Parser) -> None:
    parser.add_argument(
        "-n",
        "--dry-run",
        action="store_true",
        help="say what, and remove nothing",
    )


COMMANDS: tuple[tuple[str, Run, str, Callable[[Parser], None]], ...] = (
    (
        "ls",
        ls.run,
        "list segments, whose they are and who has them open\n"
        "On a terminal, what is too long is written shorter; in a pipe, "
        "nothing is.\n"
        "\n"
        "columns:\n"
        "  SIZE\twhat was asked for\n"
        "  HELD\twhat its pages take\n"
        "  AGE\tsince it was created, resized, or its mode or owner changed\n"
        "  FAMILY\twhose it is: alive or dead and the first digits of the "
        "family's id, and users, if it goes with the last process that uses "
        "it; or what else it is:\n"
        "    untracked\tnobody's: it stays until somebody unlinks it\n"
        "    stdlib\tthe same, under a name that multiprocessing makes up\n"
        "    semaphore\tone of sem_open(3)\n"
        "    unknown\tanother user's, who alone can tell\n"
        "    deleted\tmemory that lost its name\n"
        "  OPEN IN\tby how many processes, and which. Behind a + there may "
        "be more: some may not be looked into",
        _add_ls,
    ),
    (
        "info",
        info.run,
        "show all that is known of segments",
        _add_info,
    ),
    (
        "locks",
        locks.run,
        "list locks and the like, and who holds them, alive or dead\n"
        "What shmemext.synchronize makes, by a name of its own or in a "
        "segment. Nothing is taken from the dead here: who acquires it next "
        "does that.\n"
        "\n"
        "columns:\n"
        "  OFFSET\twhere in the segment; - of one that has a name of its own\n"
        "  STATE\tfree, held, or read, by readers; its holder died, and "
        "nobody has repaired it since; how many units are free; set or "
        "clear; whole or broken\n"
        "  HOLDER\tthe process that took it last, as its own pid namespace "
        "has it; the command is known where it has the segment open\n"
        "  WAITERS\thow many wait; some, where nobody counts: somebody does, "
        "or did",
        _add_locks,
    ),
    (
        "channels",
        channels.run,
        "list channels, broadcasts and queues, what waits in them, and for "
        "whom\n"
        "What shmemext.channels makes. Nothing is taken, and nobody waits.\n"
        "\n"
        "columns:\n"
        "  MEMBERS\tliving processes that have it open\n"
        "  STATE\topen or shut down; of a broadcast, who writes it, as that "
        "process's own pid namespace has it, and whether it lives; damaged, "
        "what is there cannot be so; unknown, of another version, or not to "
        "be read here\n"
        "  WAITING\tmessages, and their bytes; of a broadcast, the number of "
        "its newest frame\n"
        "  IN HAND\tmessages, or frames, that somebody reads in place; those "
        "of the dead others get\n"
        "  OF THE DEAD\twhat was begun and dropped, and what was delivered "
        "again, since it was made",
        _add_channels,
    ),
    (
        "pools",
        pools.run,
        "list pools, through which arrays travel, and what is in them\n"
        "A process has one from the first array that it makes by "
        "shmemext.arrays, or sends by reference. Nothing is taken from the "
        "dead here: the owner does that when it needs room.\n"
        "\n"
        "columns:\n"
        "  POOL\tits number, which the names of its two segments end with\n"
        "  OWNER\twhether the process lives that puts arrays there; "
        "abandoned, nobody has any of them either, and who next looks removes "
        "it; damaged, what is there cannot be so; unknown, of another "
        "version\n"
        "  LIMIT\tbytes that it may take\n"
        "  USED\tbytes of arrays that somebody holds or is sent\n"
        "  IDLE\tbytes that its pages take besides, for what comes next\n"
        "  BLOCKS\tpieces of memory that are used\n"
        "  IN FLIGHT\tarrays that were sent and not received. What stays "
        "there was lost: nobody will read it\n"
        "  HOLDERS\tprocesses that have any, and how many of them are dead\n"
        "  PINNED\tblocks that stay as long as the pool: a child has them, "
        "and there was no place to say so",
        _add_pools,
    ),
    (
        "rm",
        rm.run,
        "remove segments by name\n"
        "Processes that have one open keep its memory until they close it.",
        _add_rm,
    ),
    (
        "gc",
        gc.run,
        "remove what dead families of this user left\n"
        "And its segments that were to go with their last user, who was "
        "killed. Never what is in use or somebody else's.",
        _add_gc,
    ),
    (
        "completion",
        completion.run,
        "print what a shell needs to complete words\n"
        'For bash, put eval "$(shmemext completion bash)" into ~/.bashrc.',
        _add_completion,
    ),
)
