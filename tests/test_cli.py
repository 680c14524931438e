# SPDX-License-Identifier: MIT
"""python -m shmemext: ls, info, rm, gc."""

import argparse
import json
import os
import subprocess
import sys
import time
import uuid

import machine as machines
import pytest
from machine import NOBODY, on_terminal, wait_until

from shmemext import __main__ as cli

OK, FAILED, USAGE = 0, 1, 2


@pytest.fixture(scope="module")
def computer():
    yield from machines.boot.__wrapped__()


@pytest.fixture
def machine(computer):
    yield computer
    computer.clean()


@pytest.fixture
def private(machine):
    if not machine.private:
        pytest.skip("no /dev/shm of our own: no right to make namespaces")
    return machine


@pytest.fixture
def two_users(machine):
    machines.need_two_users(machine)
    return machine


@pytest.fixture
def name():
    return f"shmemext-test-{uuid.uuid4().hex[:12]}"


def row(machine, name, **options):
    """The words of a segment's line in the table; None if it has none."""
    lines = machine.cli("ls", **options).stdout.splitlines()
    assert lines[0].split()[:6] == [
        "NAME",
        "SIZE",
        "HELD",
        "MODE",
        "OWNER",
        "AGE",
    ]
    rows = [line.split() for line in lines[1:] if line.split()[0] == name]
    assert len(rows) <= 1
    return rows[0] if rows else None


def listed(machine, **options):
    found = json.loads(machine.cli("ls", "--json", **options).stdout)
    return {one["name"]: one for one in found["segments"]}


def semaphore(machine, name):
    machine.made.add(f"sem.{name}")
    machine.run(
        "-c",
        "import _multiprocessing as m, sys;"
        "m.SemLock(1, 1, 1, '/' + sys.argv[1], False)",
        name,
    )
    assert machine.has(f"sem.{name}")
    return f"sem.{name}"


def only_stderr_line(done, *words):
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("shmemext: ")
    for word in words:
        assert word in done.stderr, done.stderr


# --- the command as such


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


# --- ls


def test_ls_tells_kinds_apart(machine, name):
    names = [f"{name}-{kind}" for kind in ("living", "free", "dead")]
    living, free, dead = names
    stdlib = f"psm_{name[-8:]}"
    machine.file(stdlib)
    sem = semaphore(machine, name)
    with (
        machine.creator(living) as (_, (family,)),
        machine.creator(free, track="False"),
    ):
        lost = machine.stranded(dead)
        states = {n: row(machine, n)[8:10] for n in (living, free, dead)}
        assert states[living] == ["alive", family[:8]]
        assert states[free][0] == "untracked"
        assert states[dead] == ["dead", lost[:8]]
        assert row(machine, stdlib)[8] == "stdlib"
        assert "semaphore" in row(machine, sem)


def test_ls_names_generated_by_us_are_not_the_stdlibs(machine):
    with machine.running(
        "import shmemext; shm = shmemext.SharedMemory(create=True, size=1);"
        "print(shm.name)"
    ) as (_, (name,)):
        machine.made.add(name)
        assert name.startswith("psm_")
        assert listed(machine)[name]["kind"] == "family"


def test_ls_shows_sizes_mode_owner_and_processes(machine, name):
    with machine.creator(name, size=1 << 20) as (child, _):
        words = row(machine, name)
        assert words[1:5] == ["1", "MiB", "1", "MiB"]
        assert words[5] == "0600"
        assert words[6] == machine.owner
        assert words[7].endswith("s")
        assert words[-1] == str(child.pid)


def test_ls_json_is_exact(machine, name):
    with machine.creator(name, size=5001) as (child, (family,)):
        status = (machine.shm / name).stat()
        youngest = time.time() - status.st_ctime
        one = listed(machine)[name]
        oldest = time.time() - status.st_ctime
    assert youngest <= one.pop("age") <= oldest
    (process,) = one.pop("processes")
    assert process.pop("command")
    assert process == {"pid": child.pid, "mapped": True, "open": False}
    assert one == {
        "name": name,
        "size": 5001,
        "held": 8192,
        "mode": "0600",
        "uid": machine.uid,
        "owner": machine.owner,
        "inode": status.st_ino,
        "changed": status.st_ctime,
        "kind": "family",
        "family": {
            "id": family,
            "uid": machine.uid,
            "owner": machine.owner,
            "alive": True,
            "own": False,
            "reaper": True,
        },
    }


def test_ls_json_has_what_is_beside_segments(machine):
    found = json.loads(machine.cli("ls", "--json").stdout)
    assert set(found) == {
        "segments",
        "deleted",
        "hidden_processes",
        "other_versions",
    }
    assert isinstance(found["hidden_processes"], int)


def test_ls_of_sparse_segment_shows_what_is_held(machine, name):
    path = machine.file(name, size=0)
    os.truncate(path, 1 << 30)
    assert row(machine, name)[1:5] == ["1", "GiB", "0", "B"]


def test_ls_shows_memory_that_lost_its_name(machine, name):
    with (
        machine.creator(name, size=8192),
        machine.running(
            "import shmemext, sys; s = shmemext.SharedMemory(sys.argv[1]);"
            "print(s.size)",
            name,
        ) as (attacher, _),
    ):
        (machine.shm / name).unlink()
        words = row(machine, name)
        assert words[1:3] == ["8", "KiB"]
        assert "deleted" in words
        assert str(attacher.pid) in words
        found = json.loads(machine.cli("ls", "--json").stdout)
        (one,) = [d for d in found["deleted"] if d["name"] == name]
        assert one["size"] == 8192
        assert len(one["processes"]) == 2


def test_ls_knows_by_inode_what_its_creator_maps(machine, name):
    """To /proc the creator's mapping is # and an inode from its first day."""
    with machine.creator(name, size=8192) as (creator, _):
        creator_pid = str(creator.pid)
        assert creator_pid in row(machine, name)
        (machine.shm / name).unlink()
        words = row(machine, name)
        assert "deleted" in words
        assert creator_pid in words


def test_ls_of_another_user(two_users, name):
    machine = two_users
    mine = f"{name}-mine"
    machine.file(mine, uid=NOBODY)
    with machine.creator(name, track="None") as (_, (family,)):
        words = row(machine, name, user=NOBODY)
        assert "unknown" in words
        assert family[:8] not in words
        assert "0+" in words  # root's processes cannot be looked into
        assert "untracked" in row(machine, mine, user=NOBODY)
        found = json.loads(machine.cli("ls", "--json", user=NOBODY).stdout)
        assert found["hidden_processes"] > 0


def test_ls_by_root_sees_families_of_others(two_users, name):
    with two_users.creator(name, user=NOBODY) as (_, (family,)):
        one = listed(two_users)[name]
        assert one["uid"] == NOBODY
        assert one["family"]["id"] == family
        assert one["family"]["alive"]


@pytest.mark.parametrize("ending", ["\n", "\x1b[31m", os.fsdecode(b"\xff")])
def test_ls_keeps_odd_names_on_a_line(machine, name, ending):
    machine.file(name + ending)
    out = machine.cli("ls").stdout
    (line,) = [line for line in out.splitlines() if line.startswith(name)]
    assert line.isprintable()
    assert line[len(name)] == "\\"
    assert name + ending in listed(machine)
    done = machine.cli("rm", name + ending)
    assert done.stdout.isascii()


def test_ls_survives_names_that_come_and_go(machine, name):
    machine.made.update(f"{name}-{i}" for i in range(9))
    with machine.running(
        "import shmemext, sys, threading\n"
        "def churn():\n"
        "    i = 0\n"
        "    while True:\n"
        "        i = (i + 1) % 9\n"
        "        shm = shmemext.SharedMemory(f'{sys.argv[1]}-{i}', True, 99)\n"
        "        shm.close(); shm.unlink()\n"
        "threading.Thread(target=churn, daemon=True).start()\n"
        "print('going')",
        name,
    ) as (child, _):
        for _ in range(4):
            found = listed(machine)
            ours = [n for n in found if n.startswith(name)]
            # Its record is there before a name is.
            assert {found[n]["kind"] for n in ours} <= {"family"}
            assert {found[n]["family"]["alive"] for n in ours} <= {True}
            machine.cli("gc")
        child.kill()


# --- ls on a terminal


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


def test_closed_pipe_is_no_traceback(machine):
    reader, writer = os.pipe()
    os.close(reader)
    done = machine.cli("ls", status=FAILED, stdout=writer)
    os.close(writer)
    assert done.stderr == ""


# --- info


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
    one = json.loads(machine.cli("info", "--json", f"/{name}").stdout)
    assert one.pop("hidden_processes") >= 0
    other = listed(machine)[name]
    assert other.pop("age") >= one.pop("age")
    assert one == other


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_info_of_missing(machine, name, json_too):
    done = machine.cli("info", name, *json_too, status=FAILED)
    assert done.stdout == ""
    only_stderr_line(done, name, "no such segment")


# --- rm


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


# --- gc


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


# --- gc --orphans


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


# --- what it is written in


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (5000, "4.9 KiB"),
        (10 * 1024 + 1, "10 KiB"),
        (1024**2 - 1, "1 MiB"),
        (3 << 30, "3 GiB"),
        (1 << 62, "4 EiB"),
        (1 << 72, "4096 EiB"),
    ],
)
def test_human_sizes(size, text):
    assert cli.human(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (1e6, "11d")],
)
def test_human_ages(seconds, text):
    assert cli.age(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("7d", 604800)],
)
def test_durations(text, seconds):
    assert cli.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5", "1w", "1 h", "1h2m", "inf"])
def test_durations_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        cli.duration(text)


def test_main_can_be_called(capsys):
    assert cli.main(["info", "no-such-segment"]) == FAILED
    assert "no such segment" in capsys.readouterr().err
    assert sys.stdout is not None
