# SPDX-License-Identifier: MIT
"""What the command takes. --help, the page in docs/ and the completion are
made of this, and of nothing else."""

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from . import rm
from .commands import COMMANDS, Run
from .output import Output
from .parser import Form, Parser, options_of
from .status import MEANING
from .text import either, meant, printable

_STATUS = "exit status:\n" + "".join(
    f"  {status}\t{meaning}\n" for status, meaning in MEANING.items()
)


def read(
    arguments: Sequence[str], output: Output
) -> tuple[Run, argparse.Namespace]:
    """Raises SystemExit after --help, and where they are wrong."""
    parser, commands = build(_called())
    for one in (parser, *commands.values()):
        one.output = output
    # Before argparse finds them, which has other words for them.
    for word in takewhile(lambda one: one[:1] == "-", arguments):
        if word not in options_of(parser):
            parser.error(_too_early(word, parser, commands))
    first = next((one for one in arguments if one[:1] != "-"), None)
    if first is not None and first not in commands:
        names = either(commands)
        what = f"{first!r} is no command: {names}{meant(first, commands)}"
        parser.error(what)
    options, rest = parser.parse_known_args(arguments)
    if rest:
        used = commands.get(first or "", parser)
        used.error(_too_much(rest[0], used))
    if getattr(options, "null", False) and options.run is not rm.run:
        if options.json:
            commands[first or ""].error("--null is not for --json")
        options.quiet = True
    if options.version:
        output.put(version())
    elif options.run is None:
        parser.print_help()
    if options.run is None or options.version:
        output.flush()
        parser.exit()
    run: Run = options.run
    return run, options


def _too_early(
    word: str, parser: argparse.ArgumentParser, commands: dict[str, Parser]
) -> str:
    option, _, _ = word.partition("=")
    takers = [
        name for name, one in commands.items() if option in options_of(one)
    ]
    if takers:
        return f"{option} goes after its command, {either(takers)}"
    return _too_much(word, parser)


def _too_much(word: str, parser: argparse.ArgumentParser) -> str:
    if not word.startswith("-"):
        return f"{word!r} is more than it takes"
    option, _, _ = word.partition("=")
    return f"there is no {option}{meant(option, options_of(parser))}"


def _called() -> str:
    """How its user called it."""
    if Path(sys.argv[0]).name == "__main__.py":
        return "python -m shmemext"
    return "shmemext"


def version() -> str:
    import shmemext

    python = f"{sys.implementation.name} {sys.version.split()[0]}"
    python = python.replace("cpython", "CPython")
    where = Path(shmemext.__file__).parent
    told = f"shmemext {shmemext.__version__} ({python}, {where})"
    return printable(told)


def build(prog: str = "shmemext") -> tuple[Parser, dict[str, Parser]]:
    """All of it, and the commands by name."""
    parser = Parser(
        prog=prog,
        description="What is in /dev/shm, whose it is, who has it open, and "
        "what of it may go.",
        epilog=_STATUS,
        formatter_class=Form,
        allow_abbrev=False,
    )
    parser.set_defaults(run=None)
    parser.add_argument(
        "--version",
        action="store_true",
        help="print its version, the interpreter's, and where it is",
    )
    added = parser.add_subparsers(
        title="commands", metavar="COMMAND", parser_class=Parser
    )
    commands: dict[str, Parser] = {}
    for name, run, text, add in COMMANDS:
        first, _, more = text.partition("\n")
        one = added.add_parser(
            name,
            help=first,
            description=f"{first[:1].upper()}{first[1:]}. {more}".strip(),
            epilog=_STATUS,
            formatter_class=Form,
            allow_abbrev=False,
        )
        one.name = name
        one.set_defaults(run=run)
        add(one)
        commands[name] = one
    return parser, commands
