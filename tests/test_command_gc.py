# SPDX-License-Identifier: MIT
"""shmemext gc."""

import errno
import json
import os
import subprocess
import time

import pytest
from commands import FAILED, OK, USAGE, only_stderr_line, semaphore
from machine import NOBODY, on_terminal, wait_until


def test_gc_with_nothing_to_do(private):
    assert private.cli("gc").stdout == "0 names removed, 0 B given back\n"


def test_gc_removes_what_dead_families_left(machine, name):
    living = f"{name}-living"
    family = machine.stranded(name, size=8192)
    with machine.creator(living, track="False"):
        done = machine.cli("gc")
        assert f"removed {name}, 8 KiB (dead family)\n" in done.stdout
        assert not machine.has(name)
        assert not machine.has(f".shmemext-2-{family}")
        assert machine.has(living)


def test_gc_sums_up(private, name):
    private.stranded(name, size=4096)
    out = private.cli("gc").stdout.splitlines()
    assert out == [
        f"removed {name}, 4 KiB (dead family)",
        "1 name removed, 4 KiB given back",
    ]


def test_gc_keeps_what_somebody_else_made_of_the_name(private, name):
    other = f"{name}-other"
    with private.creator(other) as (child, (family,)):
        private.kill_reapers(family)
        (private.shm / other).unlink()
        private.file(other)
        child.kill()
    out = private.cli("gc").stdout
    assert out.splitlines()[-1] == "0 names removed, 0 B given back"
    assert private.has(other)


def test_gc_dry_run_removes_nothing(machine, name):
    machine.stranded(name)
    done = machine.cli("gc", "--dry-run")
    assert f"would remove {name}, 8 KiB (dead family)\n" in done.stdout
    assert "would be removed" in done.stdout
    assert machine.has(name)
    assert f"removed {name}" in machine.cli("gc").stdout


def test_gc_leaves_living_families_alone(machine, name):
    with machine.creator(name):
        assert name not in machine.cli("gc").stdout
        assert machine.has(name)


def test_gc_says_who_keeps_the_memory(private, name):
    family = private.stranded(name, size=4096)
    attach = (
        "import sys, mmap; f = open('/dev/shm/' + sys.argv[1], 'r+b');"
        "m = mmap.mmap(f.fileno(), 0); f.close(); print('on')"
    )
    with private.running(attach, name) as (child, _):
        out = private.cli("gc").stdout.splitlines()
        assert "stay until it is closed in " in out[0]
        assert out[0].endswith(f" {child.pid} (dead family)")
        assert out[-1] == "1 name removed, 0 B given back"
    assert not private.has(f".shmemext-2-{family}")


def test_gc_leaves_another_users_dead_family_alone(two_users, name):
    machine = two_users
    machine.stranded(name, user=NOBODY)
    assert name not in machine.cli("gc").stdout
    assert machine.has(name)
    assert name in machine.cli("gc", user=NOBODY).stdout
    assert not machine.has(name)


def test_gc_says_what_it_may_not_remove(two_users, name):
    machine = two_users
    machine.stranded(name, user=NOBODY)
    # Given away since: the sticky bit keeps it.
    os.chown(machine.shm / name, 0, 0)
    done = machine.cli("gc", user=NOBODY, status=FAILED)
    only_stderr_line(done, name, "not permitted")
    assert machine.has(name)


def test_orphans_needs_an_answer_from_somebody(private, name):
    private.file(name)
    done = private.cli("gc", "--orphans", status=USAGE)
    assert done.stdout == ""
    only_stderr_line(done, "--yes")
    assert private.has(name)


def test_orphans_yes(private, name):
    stdlib = f"psm_{name[-8:]}"
    private.file(name, size=4096)
    private.file(stdlib, size=4096)
    out = private.cli("gc", "--orphans", "--yes").stdout.splitlines()
    assert sorted(out[:-1]) == [
        f"removed {stdlib}, 4 KiB (orphan)",
        f"removed {name}, 4 KiB (orphan)",
    ]
    assert out[-1] == "2 names removed, 8 KiB given back"
    assert not private.has(name)
    assert not private.has(stdlib)


def test_orphans_dry_run_asks_nothing(private, name):
    private.file(name, size=4096)
    out = private.cli("gc", "--orphans", "--dry-run").stdout
    assert out.splitlines() == [
        f"would remove {name}, 4 KiB (orphan)",
        "1 name would be removed, 4 KiB given back",
    ]
    assert private.has(name)


@pytest.mark.parametrize(
    ("answer", "removed"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False)],
)
def test_orphans_asks_on_a_terminal(private, name, answer, removed):
    private.file(name, size=4096)
    command = private.command("-m", "shmemext", "gc", "--orphans")
    status, printed = on_terminal(command, answer)
    assert status == OK
    assert f"{name}, 4 KiB (orphan)\n" in printed
    assert "Remove 1 name, 4 KiB?" in printed
    assert private.has(name) is not removed


@pytest.mark.parametrize("elsewhere", ["&-", "/dev/null", "/dev/full"])
def test_orphans_asks_where_errors_are_not_heard(private, name, elsewhere):
    private.file(name, size=4096)
    command = private.command("-m", "shmemext", "gc", "--orphans")
    shell = ["sh", "-c", f'exec "$@" 2>{elsewhere}', "sh", *command]
    status, printed = on_terminal(shell, "y\n")
    assert (status, "[y/N] " in printed) == (OK, True)
    assert not private.has(name)


def test_orphans_takes_bytes_that_are_no_letters_for_no(private, name):
    private.file(name)
    command = private.command("-m", "shmemext", "gc", "--orphans")
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    status, printed = on_terminal(command, "\udcff\n", strict)
    assert (status, "Traceback" in printed) == (OK, False)
    assert private.has(name)


def test_orphans_takes_end_of_input_for_no(private, name):
    private.file(name)
    command = private.command("-m", "shmemext", "gc", "--orphans")
    status, printed = on_terminal(command, "\x04")
    assert status == OK
    assert "0 names removed" in printed
    assert private.has(name)


def test_orphans_asks_nothing_where_there_are_none(private):
    command = private.command("-m", "shmemext", "gc", "--orphans")
    assert on_terminal(command) == (OK, "0 names removed, 0 B given back\n")


def until_collected(machine, name, **options):
    """At once, but for who reads /proc right now: that keeps the mappings of
    a process that ends a little longer."""

    def collected():
        machine.cli("gc", "--orphans", "--yes", **options)
        return not machine.has(name)

    wait_until(collected)


HOLD = {
    "by a descriptor": "f = open(path)",
    "mapped": "f = open(path, 'r+b'); import mmap;"
    "m = mmap.mmap(f.fileno(), 0); f.close()",
    "mapped for reading": "f = open(path, 'rb'); import mmap;"
    "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); f.close()",
    "by the stdlib": "from multiprocessing.shared_memory import SharedMemory;"
    "from multiprocessing.resource_tracker import unregister;"
    "s = SharedMemory(sys.argv[1]); unregister(s._name, 'shared_memory')",
    "by us": "import shmemext; s = shmemext.SharedMemory(sys.argv[1])",
}


@pytest.mark.parametrize("how", HOLD)
def test_orphans_keeps_what_is_open(private, name, how):
    private.file(name)
    code = f"import sys; path = '/dev/shm/' + sys.argv[1]; {HOLD[how]}"
    with private.running(f"{code}\nprint('on')", name):
        private.cli("gc", "--orphans", "--yes")
        assert private.has(name)
    until_collected(private, name)


def test_orphans_keeps_what_processes_it_cannot_see_have_open(
    private, two_users, name
):
    """The lease knows: /proc tells nobody about root's processes."""
    path = private.file(name, uid=NOBODY)
    with path.open("rb"):
        private.cli("gc", "--orphans", "--yes", user=NOBODY)
        assert private.has(name)
    until_collected(private, name, user=NOBODY)


def test_orphans_keeps_what_living_families_own(private, name):
    """Closed by everybody, and still theirs to attach to."""
    private.made.add(name)
    with private.running(
        "import sys, shmemext;"
        "shmemext.SharedMemory(sys.argv[1], create=True, size=9).close();"
        "print('closed')",
        name,
    ):
        private.cli("gc", "--orphans", "--yes")
        assert private.has(name)


def test_orphans_keeps_semaphores(private, name):
    sem = semaphore(private, name)
    private.cli("gc", "--orphans", "--yes")
    assert private.has(sem)


def test_orphans_keeps_what_is_another_users(private, two_users, name):
    private.file(name, uid=NOBODY)
    private.cli("gc", "--orphans", "--yes")
    assert private.has(name)


@pytest.mark.parametrize(
    ("least", "removed"), [("1h", False), ("0.1s", True), ("0", True)]
)
def test_orphans_older_than(private, name, least, removed):
    private.file(name)
    time.sleep(0.15)
    private.cli("gc", "--orphans", "--older-than", least, "--yes")
    assert private.has(name) is not removed


def test_older_than_spares_no_dead_family(private, name):
    private.stranded(name)
    private.cli("gc", "--orphans", "--older-than", "1d", "--yes")
    assert not private.has(name)


def test_orphans_says_what_it_may_not_look_at(private, two_users, name):
    other = f"{name}-other"
    private.file(name, uid=NOBODY, mode=0)
    private.file(other, uid=NOBODY)
    done = private.cli("gc", "--orphans", "--yes", user=NOBODY, status=FAILED)
    only_stderr_line(done, name, "Permission denied")
    assert private.has(name)
    assert not private.has(other)


def test_attaching_while_orphans_are_looked_for(private, name):
    """A lease that an attacher breaks does not kill the one who has it."""
    private.file(name)
    with private.running(
        "import sys, threading\n"
        "def churn():\n"
        "    while True:\n"
        "        open('/dev/shm/' + sys.argv[1]).close()\n"
        "threading.Thread(target=churn, daemon=True).start()\n"
        "print('going')",
        name,
    ) as (child, _):
        for _ in range(4):
            private.cli("gc", "--orphans", "--dry-run")
        child.kill()


def test_two_at_once(private, name):
    for i in range(50):
        private.file(f"{name}-{i}")
    command = private.command("-m", "shmemext", "gc", "--orphans", "--yes")
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    removed = 0
    for one in both:
        out, _ = one.communicate(timeout=300)
        assert one.returncode == OK
        removed += out.count("(orphan)")
    # One takes for open what the other looks at.
    private.cli("gc", "--orphans", "--yes")
    assert removed <= 50
    assert not any(private.has(f"{name}-{i}") for i in range(50))


# --- for programs


def test_gc_quiet_prints_the_names_that_went(private, name):
    dead, orphan = f"{name}-dead", f"{name}-orphan"
    private.stranded(dead)
    private.file(orphan)
    arguments = ["gc", "--orphans", "-q"]
    told = private.cli(*arguments, "--dry-run").stdout.splitlines()
    assert sorted(told) == [dead, orphan]
    told = private.cli(*arguments, "--yes", "-0").stdout
    assert sorted(told.split("\0")) == ["", dead, orphan]
    assert not private.has(dead)
    assert not private.has(orphan)


def test_gc_json(private, name):
    dead, orphan = f"{name}-dead", f"{name}-orphan"
    private.stranded(dead, size=4096)
    private.file(orphan, size=4096)
    arguments = ["gc", "--orphans", "--json"]
    for option in ("--dry-run", "--yes"):
        told = json.loads(private.cli(*arguments, option).stdout)
        assert told == {
            "dry_run": option == "--dry-run",
            "removed": [
                {"name": one, "held": 4096, "reason": why, "processes": []}
                for one, why in ((dead, "dead family"), (orphan, "orphan"))
            ],
            "failed": [],
            "given_back": 8192,
        }
    assert not private.has(dead)
    assert not private.has(orphan)


def test_gc_json_tells_what_it_may_not_remove(two_users, name):
    machine = two_users
    machine.stranded(name, user=NOBODY)
    os.chown(machine.shm / name, 0, 0)
    done = machine.cli("gc", "--json", user=NOBODY, status=FAILED)
    (failed,) = json.loads(done.stdout)["failed"]
    assert failed == {
        "name": name,
        "reason": "dead family",
        "error": "Operation not permitted",
        "errno": errno.EPERM,
    }
    only_stderr_line(done, name, "not permitted")


def test_gc_unused_of_one_family(private, name):
    code = (
        "import sys, shmemext;"
        "shmemext.SharedMemory(sys.argv[1], create=True, size=9).close();"
        "print(shmemext._shmemext._own())"
    )
    names = [f"{name}-{i}" for i in range(2)]
    private.made.update(names)
    with (
        private.running(code, names[0]) as (_, (first,)),
        private.running(code, names[1]) as (_, (second,)),
    ):
        arguments = ["gc", "--unused", "-q", "--family"]
        assert private.cli(*arguments, second, "--dry-run").stdout == (
            f"{names[1]}\n"
        )
        assert private.cli(*arguments, first, "--yes").stdout == (
            f"{names[0]}\n"
        )
        assert private.has(names[1])
