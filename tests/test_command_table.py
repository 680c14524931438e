# SPDX-License-Identifier: MIT
"""The table of shmemext ls, on a terminal and elsewhere."""

import os
import re
import tempfile
import unicodedata
from contextlib import suppress

import pytest
from commands import OK
from machine import NOBODY, on_terminal


def coloured(machine, env=None, arguments=(), **options):
    command = machine.command("-m", "shmemext", "ls", *arguments)
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


# --- as narrow as a terminal may be

HEADER = ["NAME", "SIZE", "HELD", "MODE", "OWNER", "AGE", "FAMILY", "OPEN IN"]
LONG = "camera-in-the-second-hall-of-the-east-wing-seen-from-above"


def width(line):
    """As a terminal has it, written down once more."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line
    )


@pytest.fixture
def crowd(private, name):
    """Long names, names of wide letters, many processes, all kinds."""
    end = name[-8:]
    made = {
        "first": f"{LONG}-{end}-0001",
        "second": f"{LONG}-{end}-0002",
        "users": f"{LONG}-{end}-users",
        "wide": f"共享内存共享内存共享内存共享内存共享内存-{end}-摄像机",
        "odd": f"{end}-\x1b[2J\n-{end}",
        "huge": f"huge-{end}",
        "stdlib": f"psm_{end}",
    }
    private.made.update(made.values())
    private.file(made["odd"])
    private.file(made["stdlib"])
    os.truncate(private.file(made["huge"], size=0), 1023 << 30)
    with suppress(OSError):  # if we may, and if there may be such a user
        os.chown(private.shm / made["odd"], 4_000_000_000, 0)
    code = """
import os, sys, time, shmemext
first, second, users, wide, folder = sys.argv[1:]
held = [
    shmemext.SharedMemory(first, create=True, size=50_000),
    shmemext.SharedMemory(second, create=True, size=1 << 20, track=False),
    shmemext.SharedMemory(users, create=True, size=9000, lifetime="users"),
    shmemext.SharedMemory(wide, create=True, size=3 << 20),
    shmemext.MappedFile(f"{folder}/mapped.bin", create=True, size=8192),
    shmemext.AnonymousMemory(4096),
]
lost = shmemext.SharedMemory(f"lost-{first[-20:]}", create=True, size=4096)
again = shmemext.SharedMemory(lost.name)
os.unlink(f"/dev/shm/{lost.name}")
for _ in range(3):
    if os.fork() == 0:
        os.close(1)
        sys.stdin.read()
        os._exit(0)
print(shmemext._shmemext._own())
"""
    names = [made[kind] for kind in ("first", "second", "users", "wide")]
    with (
        tempfile.TemporaryDirectory() as folder,
        private.running(code, *names, folder) as (child, (family,)),
    ):
        # Later than the others' reaper, who removes what is there.
        dead = private.stranded(f"dead-{end}")
        made["dead"] = f"dead-{end}"
        made["deleted"] = f"lost-{made['first'][-20:]}"
        made["file"] = f"{folder}/mapped.bin"
        yield {**made, "id": family, "dead id": dead, "pid": str(child.pid)}


def on_one(machine, columns, *arguments, **env):
    command = machine.command("-m", "shmemext", "ls", *arguments)
    env = {"NO_COLOR": "1", "LC_ALL": "C.UTF-8", **env}
    status, printed = on_terminal(command, env=env, columns=columns)
    assert status == OK
    return printed.splitlines()


@pytest.mark.parametrize(
    ("columns", "arguments"),
    [
        (60, []),
        (61, ["--all"]),
        (72, []),
        (80, []),
        (80, ["--all"]),
        (100, []),
        (200, ["--all"]),
    ],
)
def test_fits_with_every_column(private, crowd, columns, arguments):
    lines = on_one(private, columns, *arguments)
    assert max(map(width, lines)) <= columns
    assert re.split(r" (?=[A-Z]{3})", re.sub(" +", " ", lines[0])) == HEADER
    rows = {}
    for line in lines[1:]:
        if line[0] == "+":
            break
        rows[line.split()[0]] = line
    kinds = [*("first", "second", "users", "wide", "stdlib", "dead")]
    kinds += ["odd", "huge", "deleted", *(["file"] if arguments else [])]
    for kind in kinds:
        (shown,) = [n for n in rows if is_short_for(n, crowd[kind])]
        line = rows[shown]
        assert line.split()[1][0].isdigit(), line
        assert re.search(STATES.get(kind, kind), line), line
        if kind not in ("file", "deleted"):
            assert re.search(r"  ?06\d\d  ?", line), line


STATES = {
    "first": r" alive [0-9a-f]{3,8} ",
    "second": " untracked ",
    "users": r" users [0-9a-f]{3}|, users ",
    "wide": " alive ",
    "odd": " untracked ",
    "huge": r" 1023 ?G.* untracked ",
}


def is_short_for(shown, name):
    """By its beginning and its end."""
    start, dots, end = shown.partition("…")
    name = name.replace("\x1b", "\\x1b").replace("\n", "\\n")
    if not dots:
        return shown == name
    return (
        name.startswith(start)
        and name.endswith(end)
        and min(width(start), width(end)) >= 4
        and len(shown) < len(name)
    )


def test_processes_as_far_as_there_is_room(private, crowd):
    def shown(columns):
        (line,) = [
            line
            for line in on_one(private, columns, f"{LONG}*-0001")[1:]
            if line.startswith("camera")
        ]
        return re.search(r"(?<= )4\+?(: .*)?$", line)[0]

    pid = crowd["pid"]
    assert re.fullmatch(rf"4\+?(: {pid}, \+3)?", shown(60))
    assert re.match(rf"4\+?: python\S* {pid}, \+3$", shown(90))
    assert shown(400).count("python") == 4


def test_wide_letters_take_two_columns(private, crowd):
    header, *lines = on_one(private, 100, "--kind", "family")
    at = header.index("MODE")
    for line in lines[:3]:
        before = line[: line.index(" 0600")]
        assert width(before) + 1 == at
    assert any("共" in line for line in lines[:3])


@pytest.mark.parametrize(
    ("encoding", "dots"),
    [("utf-8", "…"), ("ascii", "..."), ("latin-1", "...")],
)
def test_dots_and_letters_that_the_encoding_has(
    private, crowd, encoding, dots
):
    lines = on_one(private, 70, PYTHONIOENCODING=encoding)
    (line,) = [n for n in lines if n.startswith("camera") and "0001" in n]
    assert line.split()[0].count(dots) == 1
    assert max(map(width, lines)) <= 70
    told = "\n".join(lines)
    assert told.isascii() is (encoding != "utf-8")
    assert ("共享" in told) is (encoding == "utf-8")


def test_pipe_gets_it_whole(private, crowd):
    told = private.cli("ls", "--all", env={"COLUMNS": "60"}).stdout
    for kind in ("first", "second", "users", "wide", "file", "deleted"):
        assert f"\n{crowd[kind]} " in told
    assert f" alive {crowd['id'][:8]}, users " in told
    assert f" dead {crowd['dead id'][:8]} " in told
    assert "…" not in told


def test_another_users_segments(two_users, name):
    with two_users.creator(name, track="None") as (_, (family,)):
        lines = on_terminal(
            two_users.command("-m", "shmemext", "ls", name, user=NOBODY),
            columns=60,
        )[1].splitlines()
    assert "\x1b[2munknown" in lines[1]
    assert family[:3] not in lines[1]
    assert lines[1].endswith(" 0+")


def test_colour_is_as_asked(machine, name):
    machine.stranded(name)
    piped = machine.cli("ls", "--color=always", name).stdout
    assert re.search("\x1b\\[31mdead [0-9a-f]{8} *\x1b\\[0m", piped)
    assert "\x1b" not in machine.cli("ls", "--color=auto", name).stdout
    assert "\x1b" not in coloured(machine, arguments=["--color=never"])
