# SPDX-License-Identifier: MIT
"""shmemext ls."""

import json
import os
import time

import pytest
from commands import listed, row, semaphore
from machine import NOBODY


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
        "elsewhere",
        "room",
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


def test_ls_takes_no_directory_for_memory_that_lost_its_name(private, name):
    """A reaper has its family's open until it ends."""
    folder = private.shm / name
    folder.mkdir()
    with private.running(
        "import os, sys\n"
        "path = f'/dev/shm/{sys.argv[1]}'\n"
        "folder = os.open(path, os.O_RDONLY); os.rmdir(path); print('gone')",
        name,
    ):
        assert name not in private.cli("ls").stdout


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
