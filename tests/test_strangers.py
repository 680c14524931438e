# SPDX-License-Identifier: MIT
"""Whatever anybody has put into /dev/shm breaks no command of anybody.

Each is planted by another user, and by one's own; all commands are run with
little memory, with and without it, and say and do the same."""

import json
import os
import shutil
import socket

import machine as machines
import pytest
from machine import NOBODY, record

SELF = "a" * 32  # the viewer's dead family
BAD = "b" * 32
LEDGER = "l0123456789abcdef"

# All that a user runs, and what comes of it. Ages pass, pids change.
LOOK = r"""
import contextlib, io, json, os, re, resource, sys
import shmemext
from shmemext import lifetime
from shmemext.__main__ import main

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20),) * 2)

def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return [list(arguments), status, out.getvalue(), err.getvalue()]

def told(*arguments):
    status, out, err = run(*arguments)[1:]
    return [status, ours(out), ours(err)]

# Without what is of the planted families, and without the sum.
def ours(text):
    return [
        line for line in text.splitlines()
        if "theirs" not in line and " given back" not in line
        and not re.match(r"\d+ segments?, ", line)  # the sum of ls
        and "no reaper for" not in line  # where it cannot be seen to be dead
    ]

# What does not differ from one run to the next.
def exact(one):
    different = ("age", "inode", "changed", "hidden_processes")
    return {key: one[key] for key in one if key not in different}

def look():
    ls = run("ls", "--json")
    there = json.loads(ls[2])
    info = run("info", "--json", "dead")
    table = told("ls")
    return [
        ls[1], ls[3],
        [exact(s) for s in there["segments"] if "theirs" not in s["name"]],
        there["other_versions"],
        info[1], list(map(exact, json.loads(info[2])["segments"])), info[3],
        table[0], [line.split()[0] for line in table[1]], table[2],
        run("rm", "no-such-name"),
        told("gc", "--dry-run"),
        told("gc", "--orphans", "--unused", "--dry-run"),
        [[s.name, s.kind]
         for s in shmemext.segments() if "theirs" not in s.name],
        [[c.name, c.reason, str(c.error)]
         for c in shmemext.collect(dry_run=True, orphans=True, unused=True)
         if "theirs" not in c.name],
    ]

def remove():
    return [
        run("rm", "kept"),
        [[c.name, c.reason, str(c.error)]
         for c in shmemext.collect() if "theirs" not in c.name],
        told("gc", "--orphans", "--yes"),
        [s.name for s in shmemext.segments() if "theirs" not in s.name],
    ]

print(json.dumps([look(), remove()]))
"""


WHO = ["own", "own, unprivileged", "another's"]


@pytest.fixture(params=WHO)
def who(request, computer):
    """The machine, whose commands are run, and who has planted a thing."""
    if not computer.private:
        pytest.skip("no /dev/shm of our own: no right to make namespaces")
    viewer, owner = {
        "own": (None, 0),
        "own, unprivileged": (NOBODY, NOBODY),
        "another's": (None, NOBODY),
    }[request.param]
    if owner or viewer:
        machines.need_two_users(computer)
    yield computer, viewer, owner
    remove_all(computer)


def is_folder(path):
    return path.is_dir() and not path.is_symlink()


def remove_all(machine):
    for path in machine.shm.iterdir():
        if is_folder(path):
            shutil.rmtree(path)
        else:
            path.unlink()


def family(machine, id, *names):
    """A dead one, which owns these names."""
    directory = machine.shm / f".shmemext-2-{id}"
    directory.mkdir(mode=0o700)
    (directory / ".lock").touch()
    records = [
        record((machine.shm / name).stat().st_ino, name) for name in names
    ]
    (directory / LEDGER).write_bytes(b"".join(records))
    return directory


def own_all(directory, uid):
    for path in (directory, *directory.iterdir()):
        os.lchown(path, uid, uid)


def told(who, *plants):
    """What the viewer is told, and what is left, with all that planted."""
    machine, viewer, owner = who
    remove_all(machine)
    for name in ("dead", "kept", "orphan"):
        machine.file(name, uid=viewer)
    own_all(family(machine, SELF, "dead"), viewer or 0)
    planted = set()
    for i, plant in enumerate(plants):
        name = f"theirs-{i}"
        machine.file(name, uid=owner)
        directory = family(machine, f"{i:02}{BAD[2:]}", name)
        planted.add(directory.name)
        plant(directory)
        if is_folder(directory):
            own_all(directory, owner)
        else:
            os.lchown(directory, owner, owner)
    done = machine.run("-c", LOOK, user=viewer)
    left = {
        path.name
        for path in machine.shm.iterdir()
        if "theirs" not in path.name and path.name not in planted
    }
    return json.loads(done.stdout), left


_undisturbed = {}


def undisturbed(who):
    """The same without any, found out once for each of WHO."""
    if who[1:] not in _undisturbed:
        _undisturbed[who[1:]] = told(who)
    return _undisturbed[who[1:]]


# --- what is planted


def in_place_of(file, make):
    def plant(directory):
        (directory / file).unlink()
        make(directory / file)

    return plant


def link_to(target):
    return lambda path: path.symlink_to(target)


def make_socket(path):
    # Its path may be too long to bind to.
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


def sparse(size):
    def make(path):
        with path.open("wb") as file:
            file.write(record(1, "dead"))
            file.truncate(size)

    return make


def many_ledgers(directory):
    for i in range(20000):
        os.close(
            os.open(directory / f"l{i:016x}", os.O_CREAT | os.O_WRONLY, 0o600)
        )


def many_sparse_ledgers(directory):
    for i in range(2000):
        with (directory / f"l{i:016x}").open("wb") as file:
            file.truncate(512 * 272)


def full_ledgers(directory):
    """Everything in it is about names that are there, or never were."""
    shm = directory.parent
    inode = (shm / "kept").stat().st_ino
    records = record(inode, "nothing") * 256
    records += record(inode + 999, "kept") * 256
    for i in range(200):
        (directory / f"l{i:016x}").write_bytes(records)


def odd_bytes(directory):
    odd = record(1, bytes(range(255, -1, -1)))
    (directory / LEDGER).write_bytes(odd * 3 + b"\xff" * 271)


def odd_files(directory):
    for name in (b"l\xff" * 8 + b"l", b"l" + b"\n" * 16, b"else"):
        (directory / os.fsdecode(name)).touch()
    (directory / "folder").mkdir()


def another_instead(make):
    """In place of the directory itself."""

    def plant(directory):
        shutil.rmtree(directory)
        make(directory)

    return plant


PLANTS = {
    "lock is a link": in_place_of(".lock", link_to("/nowhere")),
    "lock is a link to itself": in_place_of(".lock", link_to(".lock")),
    "lock is a link to a device": in_place_of(".lock", link_to("/dev/zero")),
    "lock is a directory": in_place_of(".lock", os.mkdir),
    "lock is a FIFO": in_place_of(".lock", os.mkfifo),
    "lock is a socket": in_place_of(".lock", make_socket),
    "lock is missing": lambda directory: (directory / ".lock").unlink(),
    "ledger is a link": in_place_of(LEDGER, link_to("/etc/passwd")),
    "ledger is a link to a device": in_place_of(LEDGER, link_to("/dev/zero")),
    "ledger is a directory": in_place_of(LEDGER, os.mkdir),
    "ledger is a FIFO": in_place_of(LEDGER, os.mkfifo),
    "ledger is a socket": in_place_of(LEDGER, make_socket),
    "ledger of 2^60 bytes": in_place_of(LEDGER, sparse(1 << 60)),
    "ledger of 20 GiB": in_place_of(LEDGER, sparse(20 << 30)),
    "20,000 ledgers": many_ledgers,
    "2,000 ledgers of nothing": many_sparse_ledgers,
    "200 full ledgers": full_ledgers,
    "odd bytes": odd_bytes,
    "odd files": odd_files,
    "directory is a link": another_instead(link_to("/")),
    "directory is a FIFO": another_instead(os.mkfifo),
    "directory is a socket": another_instead(make_socket),
    "open to others": lambda directory: directory.chmod(0o755),
}


@pytest.mark.parametrize("who", ["another's"], indirect=True)
@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_each_changes_nothing(who, plant):
    assert told(who, plant) == undisturbed(who)


def test_all_of_them_change_nothing(who):
    assert told(who, *PLANTS.values()) == undisturbed(who)


def test_what_is_told_is_what_is_there(who):
    (looked, removed), _ = undisturbed(who)
    assert ["dead", "family"] in looked[-2]
    assert ["dead", "dead family", "None"] in looked[-1]
    assert ["orphan", "orphan", "None"] in looked[-1]
    assert removed[0][:2] == [["rm", "kept"], 0]
    assert removed[1] == [["dead", "dead family", "None"]]
    assert "removed orphan" in removed[2][1][0]
    assert removed[3] == []


@pytest.mark.parametrize("what", ["", ".lock", LEDGER])
def test_what_may_not_be_read(who, what):
    """To root that is nothing. Who may not read his own is told so, and the
    rest is done."""
    _, viewer, _ = who
    there, left = told(who, lambda directory: (directory / what).chmod(0))
    if viewer is None or what == ".lock":
        assert (there, left) == undisturbed(who)
        return
    looked, removed = there
    assert ["dead", "family"] in looked[-2]
    # Whose it is may be written there.
    assert ["orphan", "unknown"] in looked[-2]
    assert removed[0][:2] == [["rm", "kept"], 0]
    assert removed[1][-1] == ["dead", "dead family", "None"]
    if what == LEDGER:
        directory = f".shmemext-2-00{BAD[2:]}"
        error = f"[Errno 13] Permission denied: '{directory}'"
        assert removed[1][0] == [directory, "dead family", error]
        assert removed[2][0] == 1
        assert f"{directory}: Permission denied" in removed[2][2][0]
    assert left == {"orphan"}


def test_directory_that_is_swapped_for_a_link_meanwhile(who):
    machine, viewer, owner = who
    machine.file("dead", uid=viewer)
    own_all(family(machine, BAD, "dead"), owner)
    done = machine.run(
        "-c",
        "import os, sys, shmemext\n"
        "from shmemext import _ledgers\n"
        "from shmemext.__main__ import main\n"
        "reading = _ledgers.open_to_read\n"
        "def swap(path, *arguments, **more):\n"
        "    if path.startswith('/dev/shm/.shmemext-2-'):\n"
        "        os.rename(path, path + '-')\n"
        "        os.symlink('/etc', path)\n"
        "    try:\n"
        "        return reading(path, *arguments, **more)\n"
        "    finally:\n"
        "        if path.startswith('/dev/shm/.shmemext-2-'):\n"
        "            os.unlink(path)\n"
        "            os.rename(path + '-', path)\n"
        "_ledgers.open_to_read = swap\n"
        "print([s.kind for s in shmemext.segments()])\n"
        "sys.exit(main(['ls']) or main(['gc', '--dry-run']))",
        user=owner or None,
    )
    assert done.stdout.startswith("['untracked']\n")


def test_directory_that_is_swapped_all_the_time(who):
    machine, viewer, owner = who
    machine.file("kept", uid=viewer)
    directory = family(machine, BAD)
    (machine.shm / "link").symlink_to("/etc")
    own_all(directory, owner)
    with machine.running(
        "import os, sys, threading\n"
        "path = '/dev/shm/.shmemext-2-' + sys.argv[1]\n"
        "def swap():\n"
        "    while True:\n"
        "        os.rename(path, '/dev/shm/away')\n"
        "        os.symlink('/etc', path)\n"
        "        os.unlink(path)\n"
        "        os.rename('/dev/shm/away', path)\n"
        "threading.Thread(target=swap, daemon=True).start()\n"
        "print('on')",
        BAD,
        user=owner or None,
    ) as (child, _):
        machine.run(
            "-c",
            "import shmemext\n"
            "for _ in range(100):\n"
            "    shmemext.segments()\n"
            "    assert shmemext.collect(dry_run=True) == []",
            user=viewer,
        )
        child.kill()
    assert machine.has("kept")


# --- other versions


@pytest.mark.parametrize(
    "id", ["3-anything", "3-" + "c" * 32, "c" * 32, "2-" + "c" * 31]
)
def test_another_version_is_left_alone(who, id):
    """What it owns nobody can say: so nothing may be taken for an orphan."""
    machine, viewer, owner = who
    machine.file("theirs", uid=viewer)
    other = machine.shm / f".shmemext-{id}"
    family(machine, BAD, "theirs").rename(other)
    own_all(other, owner)
    files = {file.name: file.read_bytes() for file in other.iterdir()}
    told = machine.cli("ls", user=viewer).stdout
    ours = owner == (viewer or 0)
    line = f"made by another version of shmemext, and left alone: {other.name}"
    assert (f"+ {line}\n" in told) is ours
    machine.cli("info", "theirs", user=viewer)
    done = machine.cli("gc", user=viewer)
    assert (f"{line}\n" in done.stdout) is ours
    machine.run(
        "-c", "import shmemext; assert shmemext.collect() == []", user=viewer
    )
    # A reaper sweeps as well, at its start and at its end.
    machine.run(
        "-c",
        "import shmemext; shmemext.SharedMemory(create=True, size=1)",
        user=viewer,
    )
    done = machine.cli(
        "gc", "--orphans", "--yes", user=viewer, status=int(ours)
    )
    if ours:
        assert done.stderr == (
            "shmemext: theirs: a family of another version of shmemext may "
            "own it\n"
        )
        assert machine.has("theirs")
    assert files == {file.name: file.read_bytes() for file in other.iterdir()}
