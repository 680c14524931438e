# SPDX-License-Identifier: MIT
"""shmemext ls."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

import pytest
from commands import FAILED, OK, listed, only_stderr_line, row, semaphore
from machine import NOBODY, on_terminal

from shmemext._command import text as texts


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


# --- which, and in which order


@pytest.fixture
def crowd(private, name):
    """Segments of many kinds; by what they are, their names."""
    made = {
        kind: f"{name}-{kind}"
        for kind in ("family", "users", "untracked", "small")
    }
    made["stdlib"] = f"psm_{name[-8:]}"
    private.file(made["stdlib"], size=3000)
    made["semaphore"] = semaphore(private, name)
    private.made.update(made.values())
    code = """
import os, sys, shmemext
family, users, untracked, small, file = sys.argv[1:]
held = [
    shmemext.SharedMemory(family, create=True, size=50_000),
    shmemext.SharedMemory(users, create=True, size=9000, lifetime="users"),
    shmemext.SharedMemory(untracked, create=True, size=20_000, track=False),
    shmemext.SharedMemory(small, create=True, size=1, track=False),
    shmemext.MappedFile(file, create=True, size=8192),
    shmemext.AnonymousMemory(4096),
]
lost = shmemext.SharedMemory(create=True, size=4096)
again = shmemext.SharedMemory(lost.name)
os.unlink(f"/dev/shm/{lost.name}")
held[3].close()
print(shmemext._shmemext._own(), lost.name)
"""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/mapped.bin"
        names = [made[n] for n in ("family", "users", "untracked", "small")]
        with private.running(code, *names, file) as (child, words):
            made["id"], made["deleted"] = words
            made["file"], made["pid"] = file, str(child.pid)
            yield made


NAMED = ["family", "users", "untracked", "stdlib", "semaphore", "small"]


def names(machine, *arguments, **options):
    return machine.cli("ls", "-q", *arguments, **options).stdout.splitlines()


def test_quiet_prints_what_rm_can_remove(private, crowd):
    assert names(private) == sorted(crowd[kind] for kind in NAMED)
    assert crowd["deleted"] in names(private, "--kind", "deleted")
    everything = names(private, "--all")
    assert {crowd["deleted"], crowd["file"]} < {*everything}


def test_kinds(private, crowd):
    for kind in ("family", "users", "stdlib", "semaphore", "deleted"):
        assert names(private, "--kind", kind) == [crowd[kind]]
    assert crowd["file"] in names(private, "--kind", "file")
    assert names(private, "--kind", "anonymous")
    assert names(private, "--kind", "users", "--kind=stdlib") == sorted(
        [crowd["users"], crowd["stdlib"]]
    )
    assert names(private, "--kind", "unknown") == []


def test_kinds_show_in_the_table(private, crowd):
    lines = private.cli("ls", "--all").stdout.splitlines()
    for kind in (*NAMED, "deleted", "file"):
        shown = "untracked" if kind == "small" else kind
        shown = f"alive {crowd['id'][:8]}" if kind == "family" else shown
        (line,) = [n for n in lines if n.split()[0] == crowd[kind]]
        assert shown in line
    (line,) = [
        n for n in lines if " anonymous " in n and crowd["pid"] in n.split()
    ]
    assert private.cli("ls").stdout.count(" anonymous ") == 0


def test_names_and_patterns(private, name, crowd):
    assert names(private, crowd["users"], "/" + crowd["small"]) == sorted(
        [crowd["users"], crowd["small"]]
    )
    assert names(private, f"{name}-u*") == sorted(
        [crowd["users"], crowd["untracked"]]
    )
    assert names(private, f"/{name}-[f]amil?") == [crowd["family"]]
    assert names(private, "no-such-*") == []
    assert names(private, "--all", crowd["file"]) == [crowd["file"]]


def test_name_that_nothing_has_is_said(private, name):
    there = f"{name}-there"
    private.file(there)
    done = private.cli("ls", "-q", f"{name}-not", there, status=FAILED)
    assert done.stdout == f"{there}\n"
    only_stderr_line(done, f"{name}-not: no such segment")


def test_name_that_looks_like_a_pattern_is_found(machine, name):
    odd = f"{name}[1]"
    machine.file(odd)
    assert names(machine, odd) == [odd]


def test_family_by_the_beginning_of_its_id(private, crowd):
    id = crowd["id"]
    of_it = sorted([crowd["family"], crowd["users"]])
    assert names(private, "--family", id[:4]) == of_it
    assert names(private, "--family", id) == of_it
    other = ("0" if id[0] != "0" else "1") + id[1:]
    done = private.cli("ls", "--family", other, status=FAILED)
    only_stderr_line(done, other, "no family")


def test_order(private, crowd):
    by_size = ["family", "untracked", "users", "stdlib", "semaphore", "small"]

    def order(*arguments):
        kinds = {crowd[kind]: kind for kind in NAMED}
        return [kinds[one] for one in names(private, *arguments)]

    assert order("--sort", "size") == by_size
    assert order("--sort", "size", "-r") == by_size[::-1]
    assert order("--sort", "held")[:2] == ["family", "untracked"]
    assert order("--sort", "age")[0] in ("stdlib", "semaphore")
    assert order("--sort", "kind") == [
        "family",
        "users",
        "small",
        "untracked",
        "stdlib",
        "semaphore",
    ]
    assert {*order("--sort", "family")[:2]} == {"family", "users"}
    assert {*order("--sort", "open")[:3]} == {"family", "users", "untracked"}
    assert order("--sort", "name") == order()
    assert order("-r") == order()[::-1]
    for key in ("owner", "mode"):
        assert sorted(order("--sort", key)) == sorted(NAMED)


def test_order_is_that_of_the_table_and_json_too(private, crowd):
    lines = private.cli("ls", "--sort", "size", "-r").stdout.splitlines()
    table = [n.split()[0] for n in lines[1:] if n.split()[0] in crowd.values()]
    found = private.cli("ls", "--sort", "size", "-r", "--json").stdout
    exact = [one["name"] for one in json.loads(found)["segments"]]
    assert [one for one in table if one != crowd["deleted"]] == exact
    assert table[0] == exact[0] == crowd["small"]


def test_sum_and_room(private, name):
    private.file(f"{name}-1", size=1 << 20)
    private.file(f"{name}-2", size=1 << 20)
    last = private.cli("ls").stdout.splitlines()[-1]
    total = os.statvfs(private.shm)
    total = texts.human(total.f_blocks * total.f_frsize)
    assert last.startswith("2 segments, 2 MiB held; ")
    assert last.endswith(f" of {total} free in /dev/shm")
    last = private.cli("ls", f"{name}-1").stdout.splitlines()[-1]
    assert last.startswith("1 segment, 1 MiB held; ")


def test_sum_counts_the_rest_apart(private, crowd):
    last = private.cli("ls", "--all").stdout.splitlines()[-1]
    # other programs of the machine have some, too
    assert re.search(
        r"; 1 deleted, 4 KiB; \d+ files?, .+; \d+ anonymous, .+ free in ", last
    )


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("size=64m,nr_inodes=20", " of 64 MiB and 1 of 20 inodes free in "),
        ("size=0,nr_inodes=0", "18 segments, 0 B held"),
    ],
)
def test_inodes_where_few_are_left_and_no_room_where_it_is_any(
    private, limits, words
):
    script = (
        f"mount -t tmpfs -o {limits} tmpfs /dev/shm &&"
        "for i in $(seq 18); do : > /dev/shm/$i; done &&"
        f"exec {sys.executable} -m shmemext ls"
    )
    done = subprocess.run(
        [*private.enter, "unshare", "--mount", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert words in done.stdout.splitlines()[-1], done.stderr
    assert ("free in" in done.stdout) is ("free in" in words)


# --- for xargs


def in_shell(machine, script):
    """$S is the command."""
    done = subprocess.run(
        [*machine.enter, "bash", "-o", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "S": f"{sys.executable} -m shmemext"},
    )
    assert (done.returncode, done.stderr) == (OK, "")
    return done.stdout


@pytest.mark.parametrize("reader", ["xargs $S rm", "$S rm -"])
def test_quiet_is_for_what_removes(private, name, reader):
    private.file(name)
    sem = semaphore(private, name)
    in_shell(private, f"$S ls -q --kind untracked | {reader}")
    assert not private.has(name)
    assert private.has(sem)


ODD = ["a\nb", "a b", "a'b\"c", "-x", "\udcff\udcfe", "共享", "a\\n", "*"]


@pytest.mark.parametrize("reader", ["xargs -0 $S rm --", "$S rm -0 -"])
def test_null_is_for_any_name(private, name, reader):
    odd = [f"{beginning}{name}" for beginning in ODD]
    for one in odd:
        private.file(one)
    kept = f"{name}-kept"
    private.file(kept)
    in_shell(private, f"$S ls --null '*{name}' | {reader}")
    assert [one for one in [*odd, kept] if private.has(one)] == [kept]


def test_name_of_two_lines_is_not_given_for_two(private, name):
    """Who made it could have rm remove the other one."""
    private.file(f"x\n{name}", uid=None)
    private.file(name)
    done = private.cli("ls", "-q", status=FAILED)
    assert done.stdout == f"{name}\n"
    only_stderr_line(done, rf"x\n{name}", "--null")


def test_terminal_gets_no_odd_bytes(machine, name):
    machine.file(f"{name}-\x1b[31m")
    command = machine.command("-m", "shmemext", "ls", "-q", f"{name}*")
    assert on_terminal(command) == (OK, rf"{name}-\x1b[31m" + "\n")
