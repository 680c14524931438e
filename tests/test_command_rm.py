# SPDX-License-Identifier: MIT
"""shmemext rm."""

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


def test_rm_of_the_same_twice(machine, name):
    machine.file(name)
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
