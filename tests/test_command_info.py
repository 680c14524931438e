# SPDX-License-Identifier: MIT
"""shmemext info."""

import pytest
from commands import FAILED, listed, only_stderr_line


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
