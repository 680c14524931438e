# SPDX-License-Identifier: MIT
"""shmemext rm."""

import errno
import json
import os

import pytest
from commands import FAILED, only_stderr_line, semaphore
from machine import NOBODY


def test_rm_removes_what_nobody_owns(machine, name):
    machine.file(name, size=8192)
    sem = semaphore(machine, name)
    done = machine.cli("rm", name, f"/{sem}")
    assert done.stdout == f"removed {name}, 8 KiB\nremoved {sem}, 4 KiB\n"
    assert not machine.has(name)
    assert not machine.has(sem)


def test_rm_goes_on_after_a_failure(machine, name):
    machine.file(name)
    missing = f"{name}-missing"
    done = machine.cli("rm", missing, name, status=FAILED)
    only_stderr_line(done, missing, "no such segment")
    assert not machine.has(name)


@pytest.mark.parametrize("place", ["/", "/dev/shm/"])
def test_name_by_its_path(machine, name, place):
    machine.file(name)
    assert machine.cli("ls", "-q", place + name).stdout == f"{name}\n"
    assert machine.cli("ls", "-q", f"{place}{name}*").stdout == f"{name}\n"
    assert machine.cli("info", "-q", place + name).stdout == f"{name}\n"
    assert machine.cli("rm", "-q", place + name).stdout == f"{name}\n"
    done = machine.cli("info", place + name, status=FAILED)
    only_stderr_line(done, f"{place}{name}: no such segment")


def test_rm_of_the_same_twice(machine, name):
    machine.file(name)
    done = machine.cli("rm", "--dry-run", name, name, status=FAILED)
    only_stderr_line(done, name, "no such segment")
    assert done.stdout.count(name) == 1
    done = machine.cli("rm", name, name, status=FAILED)
    only_stderr_line(done, name, "no such segment")


@pytest.mark.parametrize("slash", ["", "/"])
def test_rm_refuses_our_own_directories(machine, name, slash):
    with machine.creator(name) as (_, (family,)):
        directory = f".shmemext-2-{family}"
        for one in (directory, f"{directory}/.lock"):
            for force in ([], ["--force"]):
                done = machine.cli("rm", *force, slash + one, status=FAILED)
                only_stderr_line(done, "the library's own")
        assert machine.has(f"{directory}/.lock")


@pytest.mark.parametrize("odd", ["", ".", "..", "/", "a/b", "../shm"])
def test_rm_of_what_cannot_be_a_name(machine, odd):
    done = machine.cli("rm", "--force", "--", odd, status=FAILED)
    only_stderr_line(done, "no such segment")


def test_rm_of_a_directory(machine, name):
    directory = machine.shm / name
    directory.mkdir()
    try:
        done = machine.cli("rm", name, status=FAILED)
        only_stderr_line(done, "no such segment")
    finally:
        directory.rmdir()


def test_rm_says_who_keeps_the_memory(machine, name):
    with machine.creator(name, track="False", size=4096) as (child, _):
        out = machine.cli("rm", name).stdout
        assert out.startswith(
            f"removed {name}, but its 4 KiB stay until it is closed in "
        )
        assert out.endswith(f" {child.pid}\n")
        assert not machine.has(name)


def test_rm_leaves_living_families_alone_unless_forced(machine, name):
    with machine.creator(name):
        done = machine.cli("rm", name, status=FAILED)
        only_stderr_line(done, name, "alive", "--force")
        assert machine.has(name)
        machine.cli("rm", "--force", name)
        assert not machine.has(name)


def test_rm_by_a_member_of_the_family(machine, name):
    machine.made.add(name)
    machine.run(
        "-c",
        "import shmemext, sys; from shmemext.__main__ import main\n"
        "shm = shmemext.SharedMemory(sys.argv[1], True, 10)\n"
        "assert main(['rm', sys.argv[1]]) == 0",
        name,
    )


def test_rm_of_a_dead_familys(machine, name):
    machine.stranded(name)
    machine.cli("rm", name)
    assert not machine.has(name)


def test_rm_of_another_users(two_users, name):
    machine = two_users
    machine.file(name, uid=0)
    done = machine.cli("rm", name, user=NOBODY, status=FAILED)
    only_stderr_line(done, name, "belongs to root")
    done = machine.cli("rm", "--force", name, user=NOBODY, status=FAILED)
    only_stderr_line(done, name, "not permitted")
    assert machine.has(name)


def test_rm_by_root_of_another_users_needs_force(two_users, name):
    machine = two_users
    machine.file(name, uid=NOBODY)
    only_stderr_line(machine.cli("rm", name, status=FAILED), "belongs to")
    machine.cli("rm", "--force", name)
    assert not machine.has(name)


def test_rm_dry_run_removes_nothing(machine, name):
    machine.file(name, size=4096)
    for option in ("-n", "--dry-run"):
        done = machine.cli("rm", option, name)
        assert done.stdout == f"would remove {name}, 4 KiB\n"
    with machine.creator(f"{name}-living"):
        machine.cli("rm", "-n", f"{name}-living", status=FAILED)
    assert machine.has(name)


def test_rm_takes_no_patterns_and_says_what_does(machine, name):
    machine.file(name)
    done = machine.cli("rm", f"{name[:-1]}*", status=FAILED)
    only_stderr_line(done, "no such segment", "ls -q 'PATTERN' | shmemext rm")
    assert machine.has(name)


def test_rm_of_what_looks_like_a_pattern(machine, name):
    odd = f"{name}[1-2]*"
    machine.file(odd)
    machine.file(f"{name}1")
    machine.cli("rm", odd)
    assert not machine.has(odd)
    assert machine.has(f"{name}1")


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_rm_reads_names(machine, name, tmp_path, end):
    odd = f"{name} \udcff'"
    given = f"{name}-given"
    for one in (name, odd, given):
        machine.file(one)
    listed = tmp_path / "names"
    text = f"{name}{end}{end}/{odd}{end}{name}-missing"
    listed.write_bytes(os.fsencode(text))
    options = ["--null"] * (end == "\0")
    with listed.open() as names:
        done = machine.cli(
            "rm", *options, given, "-", stdin=names, status=FAILED
        )
    only_stderr_line(done, f"{name}-missing: no such segment")
    assert not any(map(machine.has, (name, odd, given)))


def test_rm_of_no_names_is_nothing(machine):
    assert machine.cli("rm", "-").stdout == ""


def test_rm_of_a_dash(machine):
    machine.file("-")
    machine.cli("rm", "/-")
    assert not machine.has("-")


def test_rm_quiet_prints_the_names_that_went(machine, name):
    machine.file(name)
    done = machine.cli("rm", "-q", f"{name}-not", name, status=FAILED)
    assert done.stdout == f"{name}\n"
    machine.file(name)
    assert machine.cli("rm", "-q0", name).stdout == f"{name}\0"


def test_rm_json(machine, name):
    machine.file(name, size=4096)
    done = machine.cli("rm", "--json", name, f"{name}-not", status=FAILED)
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "removed": [
            {"name": name, "held": 4096, "reason": "asked", "processes": []}
        ],
        "failed": [
            {
                "name": f"{name}-not",
                "reason": "asked",
                "error": "no such segment",
                "errno": errno.ENOENT,
            }
        ],
        "given_back": 4096,
    }
    only_stderr_line(done, f"{name}-not", "no such segment")
    assert not machine.has(name)


def test_rm_says_that_the_memory_is_there_without_its_name(machine, name):
    with (
        machine.creator(name),
        machine.running(
            "import shmemext, sys; s = shmemext.SharedMemory(sys.argv[1]);"
            "print('on')",
            name,
        ) as (child, _),
    ):
        (machine.shm / name).unlink()
        for command in ("rm", "info"):
            done = machine.cli(command, name, status=FAILED)
            only_stderr_line(
                done, name, "no such segment: it was deleted", str(child.pid)
            )
