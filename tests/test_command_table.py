# SPDX-License-Identifier: MIT
"""The table of shmemext ls, on a terminal and elsewhere."""

import pytest
from commands import OK
from machine import on_terminal


def coloured(machine, env=None, **options):
    command = machine.command("-m", "shmemext", "ls")
    status, printed = on_terminal(command, env=env, **options)
    assert status == OK
    return printed


def test_no_colour_in_a_pipe(machine, name):
    machine.file(name)
    assert "\x1b" not in machine.cli("ls").stdout


def test_colour_on_a_terminal(machine, name):
    with machine.creator(name) as (_, (family,)):
        printed = coloured(machine)
        assert f"\x1b[32malive {family[:8]}" in printed
        assert printed.startswith("\x1b[1mNAME")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(machine, name, env):
    machine.file(name)
    printed = coloured(machine, env)
    assert name in printed
    assert "\x1b" not in printed


def test_table_fits_the_terminal_but_not_the_pipe(machine, name):
    machine.file(name)
    printed = coloured(machine, {"NO_COLOR": "1"}, columns=60)
    table = [n for n in printed.splitlines() if not n.startswith("+")]
    assert max(map(len, table)) == 60
    piped = machine.cli("ls", env={"COLUMNS": "60"}).stdout
    assert max(map(len, piped.splitlines())) > 60
