# SPDX-License-Identifier: MIT
"""What a living family owns and nobody has open, and segments of users."""

import fcntl
import json
import os
import signal
import stat
import uuid
from contextlib import contextmanager
from pathlib import Path

import machine as machines
import pytest
from machine import NOBODY, on_terminal

from shmemext import _processes

OK, FAILED, USAGE = 0, 1, 2
USED = 1 << 61  # the byte that users share: csrc/core/life/users.h


@pytest.fixture
def name():
    return f"shmemext-test-{uuid.uuid4().hex[:12]}"


# A server that imported the module, and workers of it that were killed.
SERVER = """
import os, signal, sys
import shmemext
names = [f"{sys.argv[1]}-{i}" for i in range(20)]
mine = shmemext.SharedMemory(sys.argv[1], create=True, size=4096)
for name in names:
    worker = os.fork()
    if worker == 0:
        shm = shmemext.SharedMemory(name, create=True, size=4096)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(worker, 0)
print("served")
"""


@contextmanager
def server(machine, name, user=None):
    machine.made.update([name, *(f"{name}-{i}" for i in range(20))])
    with machine.running(SERVER, name, user=user) as (child, words):
        assert words == ["served"]
        yield child


def left(machine, name):
    return [i for i in range(20) if machine.has(f"{name}-{i}")]


def segment(machine, name, **options):
    found = json.loads(machine.cli("ls", "--json", **options).stdout)
    (one,) = [one for one in found["segments"] if one["name"] == name]
    return one


def collected(machine, arguments, user=None):
    done = machine.run(
        "-c",
        "import json, shmemext\n"
        "print(json.dumps([[c.name, c.held, c.reason, str(c.error)]"
        f" for c in shmemext.collect({arguments})]))",
        user=user,
    )
    return json.loads(done.stdout)


# --- gc --unused


def test_killed_workers_of_a_living_server(private, name):
    with server(private, name):
        private.cli("gc")
        private.cli("gc", "--orphans", "--yes")
        assert len(left(private, name)) == 20
        out = private.cli("gc", "--unused", "--yes").stdout.splitlines()
        assert left(private, name) == []
        assert f"removed {name}-7, 4 KiB (unused)" in out
        assert out[-1] == "20 names removed, 80 KiB given back"
        assert private.has(name)


def test_unused_in_python(private, name):
    with server(private, name):
        expected = sorted(
            [f"{name}-{i}", 4096, "unused", "None"] for i in range(20)
        )
        assert collected(private, "orphans=True, dry_run=True") == []
        assert collected(private, "unused=True, older_than=3600") == []
        assert collected(private, "unused=True, dry_run=True") == expected
        assert len(left(private, name)) == 20
        assert collected(private, "unused=True") == expected
        assert left(private, name) == []


def test_unused_asks_on_a_terminal(private, name):
    with server(private, name):
        command = private.command("-m", "shmemext", "gc", "--unused")
        status, printed = on_terminal(command, "n\n")
        assert status == OK
        assert f"{name}-0, 4 KiB (unused)\n" in printed
        assert "Remove 20 names, 80 KiB?" in printed
        assert len(left(private, name)) == 20
        on_terminal(command, "y\n")
        assert left(private, name) == []


def test_unused_needs_an_answer_from_somebody(private, name):
    with server(private, name):
        done = private.cli("gc", "--unused", status=USAGE)
        assert done.stdout == ""
        assert "--unused asks before it removes: add --yes" in done.stderr
        done = private.cli("gc", "--unused", "--dry-run")
        assert "20 names would be removed" in done.stdout
        assert len(left(private, name)) == 20


@pytest.mark.parametrize(("least", "there"), [("1h", 20), ("0", 0)])
def test_unused_older_than(private, name, least, there):
    with server(private, name):
        private.cli("gc", "--unused", "--older-than", least, "--yes")
        assert len(left(private, name)) == there


def test_unused_and_orphans_together(private, name):
    orphan = f"{name}-orphan"
    private.file(orphan, size=4096)
    with server(private, name):
        out = private.cli("gc", "--orphans", "--unused", "--yes").stdout
        assert f"removed {orphan}, 4 KiB (orphan)\n" in out
        assert out.endswith("21 names removed, 84 KiB given back\n")


@pytest.mark.parametrize(
    "holding",
    [
        "shm = shmemext.SharedMemory(sys.argv[1])",
        "shm = open('/dev/shm/' + sys.argv[1])",
    ],
)
def test_unused_spares_what_anybody_has_open(private, name, holding):
    one = f"{name}-3"
    with server(private, name):
        code = f"import shmemext, sys; {holding}; print('open')"
        with private.running(code, one):
            private.cli("gc", "--unused", "--yes")
            assert left(private, name) == [3]


def test_unused_spares_another_users(private, name):
    machines.need_two_users(private)
    with server(private, name, user=NOBODY):
        private.cli("gc", "--unused", "--yes")
        assert len(left(private, name)) == 20
        private.cli("gc", "--unused", "--yes", user=NOBODY)
        assert left(private, name) == []


def test_unused_of_the_callers_own_family(private, name):
    private.made.add(name)
    done = private.run(
        "-c",
        "import shmemext, sys\n"
        "events = []\n"
        "sys.addaudithook(lambda event, args:"
        " event == 'shmemext.unlink' and events.append(args))\n"
        "shm = shmemext.SharedMemory(sys.argv[1], create=True, size=5000)\n"
        "assert shmemext.collect(unused=True) == []\n"
        "shm.close()\n"
        "(one,) = shmemext.collect(unused=True)\n"
        "print(one.name == sys.argv[1], one.reason, events)\n"
        "shm = shmemext.SharedMemory(sys.argv[1], create=True, size=1)\n"
        "shm.unlink()",
        name,
    )
    assert done.stdout == f"True unused [('{name}', 5000)]\n"


# --- kind "users"


@contextmanager
def of_users(machine, name, user=None):
    """A segment that goes with its last user, of whom there are none yet: a
    family's, and that bit in its mode. Gives the family's creator."""
    with machine.creator(name, size=4096, user=user) as (child, (family,)):
        path = machine.shm / name
        path.chmod(0o600 | stat.S_ISVTX)
        yield child, family


@contextmanager
def created_by_nobody(machine, name, user=None):
    """The same, closed by everybody."""
    machine.made.add(name)
    with machine.running(
        "import shmemext, os, sys\n"
        "shm = shmemext.SharedMemory(sys.argv[1], create=True, size=4096)\n"
        "os.chmod('/dev/shm/' + sys.argv[1], 0o1600)\n"
        "shm.close()\n"
        "print(shmemext._shmemext._own())",
        name,
        user=user,
    ) as (child, (family,)):
        yield child, family


@contextmanager
def used(machine, name):
    with (machine.shm / name).open("rb") as file:
        machines.lock(file, fcntl.F_RDLCK, USED, 1)
        yield


def test_kind_of_users(private, name):
    with of_users(private, name) as (_, family):
        one = segment(private, name)
        assert one["kind"] == "users"
        assert one["mode"] == "0600"
        assert one["family"]["id"] == family
        assert f"alive {family[:8]}, users" in private.cli("ls").stdout
        info = private.cli("info", name).stdout
        assert "  with the last process that uses it\n" in info


def test_the_bit_alone_makes_no_users(private, name):
    private.file(name, mode=0o1600)
    one = segment(private, name)
    assert (one["kind"], one["mode"]) == ("untracked", "0600")


def test_gc_removes_what_the_last_user_left(private, name):
    """The family lives, and has it open no more."""
    with created_by_nobody(private, name):
        with used(private, name):
            assert collected(private, "") == []
            assert collected(private, "unused=True, orphans=True") == []
            assert private.has(name)
        expected = [[name, 4096, "unused", "None"]]
        assert collected(private, "dry_run=True") == expected
        out = private.cli("gc", "--dry-run").stdout
        assert f"would remove {name}, 4 KiB (unused)\n" in out
        assert private.has(name)
        out = private.cli("gc").stdout
        assert out == (
            f"removed {name}, 4 KiB (unused)\n"
            "1 name removed, 4 KiB given back\n"
        )
        assert not private.has(name)


def test_gc_spares_users_segments_that_others_have_open(private, name):
    """They know nothing of the byte: the standard library's."""
    with of_users(private, name):
        assert collected(private, "unused=True") == []
        assert private.has(name)


def test_gc_of_users_in_use_leaves_no_lock(private, name):
    with created_by_nobody(private, name), used(private, name):
        private.cli("gc")
        with (private.shm / name).open("rb") as file:
            assert machines.lock_type(file, USED, 1) == fcntl.F_RDLCK


def test_gc_leaves_another_users_segments_of_users(private, name):
    machines.need_two_users(private)
    with created_by_nobody(private, name, user=NOBODY):
        assert collected(private, "unused=True") == []
        assert private.has(name)
        assert len(collected(private, "", user=NOBODY)) == 1


def test_gc_of_a_dead_familys_users(private, name):
    with created_by_nobody(private, name) as (child, family):
        private.kill_reapers(family)
        child.kill()
        child.wait()
        with used(private, name):
            assert collected(private, "") == []
            assert segment(private, name)["kind"] == "users"
        expected = [[name, 4096, "dead family", "None"]]
        assert collected(private, "") == expected
    assert not private.has(name)


def test_gc_removes_no_newcomer_of_that_name(private, name):
    """Between the look and the removal it has become another file."""
    with created_by_nobody(private, name):
        done = private.run(
            "-c",
            "import os, pathlib, sys\n"
            "from shmemext import lifetime\n"
            "path = pathlib.Path('/dev/shm', sys.argv[1])\n"
            "found = lifetime.survey()\n"
            "offered = lifetime.find_without_users(found)\n"
            "path.rename(path.with_name(path.name + '-away'))\n"
            "path.touch(); path.chmod(0o1600)\n"
            "removed = list(lifetime.remove_offered(found, offered))\n"
            "path.with_name(path.name + '-away').unlink()\n"
            "print(len(offered), len(removed))",
            name,
        )
        assert done.stdout == "1 0\n"
        assert private.has(name)


def test_odd_name_of_users(private):
    odd = os.fsdecode(b"shmemext-test-\xff\n")
    private.file(odd, mode=0o1600)
    with private.creator(f"{odd[:14]}host") as (_, (family,)):
        ledger = private.shm / f".shmemext-2-{family}" / ("l" + "f" * 16)
        inode = (private.shm / odd).stat().st_ino
        ledger.write_bytes(machines.record(inode, odd))
        assert segment(private, odd)["kind"] == "users"
        ((removed, *_),) = collected(private, "")
        assert removed == odd
        assert not private.has(odd)


# --- reapers


def test_family_without_a_reaper(private, name):
    with private.creator(name) as (child, (family,)):
        private.kill_reapers(family)
        assert segment(private, name)["family"]["reaper"] is False
        assert (
            f"+ no reaper for {family[:8]}: if it is killed, its names stay "
            "until the next sweep, or gc\n"
        ) in private.cli("ls").stdout
        assert "none for the family: if it is killed" in (
            private.cli("info", name).stdout
        )
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        # It does not matter any more, nor is it known to have had one.
        machines.wait_until(
            lambda: not segment(private, name)["family"]["alive"]
        )
        assert "no reaper" not in private.cli("ls").stdout
        assert "reaper" not in private.cli("info", name).stdout
    private.cli("gc")
    assert not private.has(name)


def test_family_with_a_reaper(private, name):
    with private.creator(name):
        machines.wait_until(lambda: segment(private, name)["family"]["reaper"])
        assert "no reaper" not in private.cli("ls").stdout
        assert "waits for the family's end" in (
            private.cli("info", name).stdout
        )


# --- where /proc says little


@pytest.fixture(params=["none", "empty", "hidepid=1", "hidepid=2"])
def hidden(private, request):
    """Runs a command where /proc is that way, as an unprivileged user where
    that matters."""
    machines.need_two_users(private)
    if (
        request.param in ("none", "empty")
        and "SHMEMEXT_SANITIZER" in os.environ
    ):
        pytest.skip("a sanitizer reads its own map in /proc")
    mount = {
        # Over all of it there is a directory that cannot even be listed.
        "none": "mount -t tmpfs -o mode=700 tmpfs /proc",
        "empty": "mount -t tmpfs tmpfs /proc",
    }.get(request.param, f"mount -t proc -o {request.param} proc /proc")

    inside = private.within(mount)

    def run(*arguments, status=OK):
        return inside.run(*arguments, user=NOBODY, status=status).stdout

    return run


def test_commands_where_proc_hides(private, hidden, name):
    private.file(name, uid=NOBODY, size=4096)
    # Another user's process, which does not show.
    with (private.shm / name).open("rb"):
        (line,) = [
            line
            for line in hidden("-m", "shmemext", "ls").splitlines()
            if line.startswith(name)
        ]
        assert line.endswith(" 0+")
        found = json.loads(hidden("-m", "shmemext", "ls", "--json"))
        assert found["hidden_processes"] > 0
        assert "0+" in hidden("-m", "shmemext", "info", name)
        names = hidden(
            "-c", "import shmemext; print(len(shmemext.segments()))"
        )
        assert names == "1\n"
        # The kernel knows all the same.
        out = hidden("-m", "shmemext", "gc", "--orphans", "--yes")
        assert out == "0 names removed, 0 B given back\n"
    out = hidden("-m", "shmemext", "gc", "--orphans", "--yes")
    assert "1 name removed" in out
    assert not private.has(name)


def test_proc_that_hides_nothing():
    if "hidepid=" in Path("/proc/self/mountinfo").read_text():
        pytest.skip("/proc hides processes here")
    names = {entry.name for entry in Path("/proc").iterdir()}
    listed = {int(name) for name in names if name.isdecimal()}
    assert not _processes._hides_some(listed)
    assert _processes._hides_some(listed - {1})
    assert _processes._hides_some(listed - {os.getpid()})
