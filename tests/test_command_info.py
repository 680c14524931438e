# SPDX-License-Identifier: MIT
"""shmemext info."""

import pytest
from commands import FAILED, listed, only_stderr_line, semaphore


def test_info_has_a_line_for_each_field(machine, name):
    with machine.creator(name, size=5000) as (child, (family,)):
        out = machine.cli("info", name).stdout
    fields = dict(line.split("  ", 1) for line in out.splitlines())
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    assert fields["name"] == name
    assert fields["size"] == "5000 (4.9 KiB)"
    assert fields["held"] == "8192 (8 KiB)"
    assert fields["mode"] == "0600"
    assert fields["kind"] == "family"
    assert fields["family"] == f"{family} (alive)"
    assert "(mapped)" in fields[f"process {child.pid}"]


def test_info_json_is_the_same_as_of_ls(machine, name):
    machine.file(name)
    one = listed(machine, "info", f"/{name}")[name]
    other = listed(machine)[name]
    assert other.pop("age") >= one.pop("age")
    assert one == other


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_info_of_missing(machine, name, json_too):
    done = machine.cli("info", name, *json_too, status=FAILED)
    assert done.stdout == ""
    only_stderr_line(done, name, "no such segment")


def test_info_of_several_and_the_missing(machine, name):
    names = [f"{name}-{i}" for i in range(3)]
    for one in names[:2]:
        machine.file(one)
    done = machine.cli("info", *names, names[0], status=FAILED)
    first, second = done.stdout.split("\n\n")
    assert first.startswith(f"name     {names[0]}\n")
    assert second.startswith(f"name     {names[1]}\n")
    only_stderr_line(done, f"{names[2]}: no such segment")
    found = listed(machine, "info", *names[1::-1])
    assert [*found] == names[1::-1]


def test_info_quiet_prints_those_that_there_are(machine, name):
    machine.file(name)
    done = machine.cli("info", "-q", f"{name}-not", name, status=FAILED)
    assert done.stdout == f"{name}\n"
    assert machine.cli("info", "-q0", name).stdout == f"{name}\0"


@pytest.mark.parametrize("kind", ["untracked", "stdlib", "semaphore"])
def test_info_says_when_it_goes(machine, name, kind):
    one = {
        "untracked": lambda: machine.file(name).name,
        "stdlib": lambda: machine.file(f"psm_{name[-8:]}").name,
        "semaphore": lambda: semaphore(machine, name),
    }[kind]()
    fields = machine.cli("info", one).stdout
    assert f"\nkind     {kind}\ngoes     when somebody calls " in fields


def test_info_of_what_a_dead_family_left(machine, name):
    machine.stranded(name)
    fields = machine.cli("info", name).stdout
    assert "\ngoes     with the next sweep, or gc: " in fields
