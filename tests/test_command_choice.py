# SPDX-License-Identifier: MIT
"""Which segments shmemext ls lists, in which order, and for which reader."""

import json
import os
import re
import subprocess
import sys
import tempfile

import pytest
from commands import FAILED, OK, only_stderr_line, semaphore
from machine import on_terminal

from shmemext._command import text as texts

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


def test_name_of_another_kind_is_there(private, crowd):
    for other in (["--kind", "stdlib"], ["--family", crowd["id"]]):
        assert names(private, crowd["untracked"], *other) == []


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
