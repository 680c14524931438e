# SPDX-License-Identifier: MIT
"""shmemext, as such: arguments, help, streams."""

import sys
import tomllib
from pathlib import Path

import pytest
from commands import USAGE, only_stderr_line
from conftest import python
from machine import wait_until

import shmemext

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
SCRIPT = tomllib.loads(PROJECT.read_text())["project"]["scripts"]["shmemext"]


def test_alone_prints_help(machine):
    done = machine.cli()
    assert "usage: python -m shmemext" in done.stdout
    for command in ("ls", "info", "rm", "gc"):
        assert f"\n    {command} " in done.stdout


@pytest.mark.parametrize("command", [[], ["ls"], ["info"], ["rm"], ["gc"]])
def test_help_of_each(machine, command):
    done = machine.cli(*command, "--help")
    assert " ".join(["usage: python -m shmemext", *command]) in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["ls", "--frobnicate"],
        ["info"],
        ["rm"],
        ["gc", "--orphans", "--older-than", "a while"],
        ["gc", "--older-than", "1h"],
    ],
)
def test_usage_errors_exit_2(machine, arguments):
    done = machine.cli(*arguments, status=USAGE)
    assert done.stdout == ""
    assert done.stderr != ""


def test_leaves_nothing_behind_and_lists_no_directory(private, name):
    before = private.families()
    with private.creator(name):
        for arguments in (["ls"], ["ls", "--json"], ["info", name], ["gc"]):
            assert ".shmemext-" not in private.cli(*arguments).stdout
    wait_until(lambda: private.families() <= before)


def test_version_says_of_what(machine):
    (line,) = machine.cli("--version").stdout.splitlines()
    version = "{}.{}.{}".format(*sys.version_info)
    where = Path(shmemext.__file__).parent
    assert line.startswith(
        f"shmemext {shmemext.__version__} (CPython {version}"
    )
    assert line.endswith(f", {where})")


def test_script_is_the_same_by_its_name(machine):
    """As pip makes it of pyproject.toml."""
    code = (
        "import sys; sys.argv[0] = '/usr/bin/shmemext'\n"
        f"from {SCRIPT.partition(':')[0]} import {SCRIPT.partition(':')[2]}\n"
        f"sys.exit({SCRIPT.partition(':')[2]}())"
    )
    done = machine.run("-c", code, "--help")
    assert done.stdout.startswith("usage: shmemext [-h]")
    assert (
        "(see shmemext --help)"
        in machine.run("-c", code, "x", status=USAGE).stderr
    )


@pytest.mark.parametrize("command", [[], ["ls"], ["info"], ["rm"], ["gc"]])
def test_help_tells_what_exit_statuses_mean(machine, command):
    told = " ".join(machine.cli(*command, "--help").stdout.split())
    for words in ("0 all went well", "1 something", "2 the", "130 inter"):
        assert words in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["lss"],
            "'lss' is no command: ls, info, locks, channels, pools, rm, gc or"
            " completion",
        ),
        (["lss"], "did you mean ls?"),
        ([""], "'' is no command"),
        (["ls", "--srot", "x"], "ls: there is no --srot"),
        (
            ["-q", "ls"],
            "-q goes after its command, ls, info, locks, channels, pools, rm "
            "or gc",
        ),
        (["--color", "never", "ls"], "--color goes after its command, ls"),
        (["--color=never", "ls"], "--color goes after its command, ls"),
        (["--verson"], "there is no --verson; did you mean --version?"),
        (["--", "ls"], "there is no --"),
        (["ls", "--srot=x"], "did you mean --sort?"),
        (["ls", "--sor", "name"], "did you mean --sort?"),
        (["--versoin"], "did you mean --version?"),
        (["ls", "--sort", "siez"], "'siez' is no key to sort by: name, "),
        (["ls", "--sort", "siez"], "did you mean size?"),
        (["ls", "--kind", "stdlb"], "did you mean stdlib?"),
        (["ls", "--color", "x"], "auto, always or never"),
        (["ls", "--family", "frames"], "'frames' does not begin an id"),
        (["ls", "--json", "--quiet"], "not allowed with argument --json"),
        (["ls", "--json", "--null"], "--null"),
        (["rm"], "rm: the following arguments are required: NAME"),
        (["completion", "zsh"], "'zsh' is no completion: bash or families"),
        (["completion", "bash", "x"], "'x' is more than it takes"),
        (["gc", "x"], "'x' is more than it takes"),
        (["gc", "--older-than", "1w"], "is not a number and one of s, m"),
        (["gc", "--family", "ab"], "--family needs --unused"),
        (["gc", "--orphans", "--json"], "add --yes or --dry-run"),
        (["gc", "--unused", "--quiet"], "add --yes or --dry-run"),
    ],
)
def test_wrong_arguments_are_named_with_the_way_out(machine, arguments, words):
    done = machine.cli(*arguments, status=USAGE)
    assert done.stdout == ""
    only_stderr_line(done, words)


def test_odd_bytes_in_arguments_are_said_in_letters(machine):
    done = machine.cli("\x1b[31m", status=USAGE)
    assert done.stderr.rstrip("\n").isprintable()
    done = machine.cli("ls", "--\x1b[31m", status=USAGE)
    assert done.stderr.rstrip("\n").isprintable()
    done = machine.cli("ls", "--kind", "a\nb", status=USAGE)
    only_stderr_line(done)


def test_import_brings_nothing_of_it():
    done = python(
        "import sys, shmemext\n"
        "print(sorted({n for n in sys.modules if '_command' in n}"
        " | sys.modules.keys() & {'argparse', 'json', 'difflib'}))"
    )
    assert done.stdout == "[]\n"
