# SPDX-License-Identifier: MIT
"""shmemext locks."""

import json

import pytest
from commands import FAILED, only_stderr_line

import shmemext
from shmemext import _heads, synchronize
from shmemext._named import PREFIX
from shmemext._synchronizers import MOST

CODE = """
import os, signal, sys, time
from shmemext import AnonymousMemory, MappedFile, SharedMemory, synchronize
name = sys.argv[1]
def as_dead(do):
    pid = os.fork()
    if pid == 0:
        do()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    return pid
"""


@pytest.fixture
def using(machine, name):
    """A process that does this, has the segment `name`, and stays."""

    def run(code):
        machine.made.update([name, PREFIX + name])
        return machine.running(CODE + code, name)

    return run


def rows(machine, *arguments):
    lines = machine.cli("locks", *arguments).stdout.splitlines()
    assert lines[0].split() == [
        *("NAME", "OFFSET", "TYPE", "STATE", "HOLDER", "WAITERS")
    ]
    return [" ".join(line.split()) for line in lines[1:-1]]


def listed(machine, *arguments):
    done = machine.cli("locks", "--json", *arguments)
    return json.loads(done.stdout)["synchronizers"]


def test_named_lock_has_the_users_name(machine, using, name):
    code = "lock = synchronize.Lock(name); print(lock.acquire())"
    with using(code) as (child, _):
        command = child.pid
        (row,) = rows(machine, name)
        assert row.startswith(f"{name} - Lock held ")
        assert row.endswith(f" {command}, alive -")
        assert row in rows(machine)
        assert rows(machine, PREFIX + name) == [row]
        assert rows(machine, f"/dev/shm/{PREFIX}{name}") == [row]
        (one,) = listed(machine, name)
    assert one["memory"] == PREFIX + name
    assert one["name"] == name
    assert (one["state"], one["type"]) == ("held", "Lock")
    (holder,) = one["holders"]
    assert (holder["pid"], holder["alive"]) == (child.pid, True)
    assert holder["command"].startswith("python")


def test_named_lock_is_a_users_segment_to_the_others(machine, using, name):
    with using("lock = synchronize.Lock(name); print()") as _:
        done = machine.cli("ls", "--json", PREFIX + name)
        (segment,) = json.loads(done.stdout)["segments"]
        assert segment["kind"] == "users"
        machine.cli("gc")
        assert machine.has(PREFIX + name)
        done = machine.cli("rm", PREFIX + name, status=FAILED)
        only_stderr_line(done, PREFIX + name)
    assert not machine.has(PREFIX + name)


def test_states_of_locks(machine, using, name):
    code = """
memory = SharedMemory(name, create=True, size=4096)
free, held, dead, torn = [synchronize.Lock(memory, 64 * i) for i in range(4)]
recursive = synchronize.RLock(memory, 1024)
held.acquire()
pids = [as_dead(dead.acquire), as_dead(torn.acquire)]
try:
    torn.acquire()
except synchronize.OwnerDied:
    pass
recursive.acquire()
print(*pids)
"""
    with using(code) as (child, (dead, torn)):
        one, two, three, four, five = rows(machine, name)
        assert one == f"{name} 0 Lock free - -"
        assert two.startswith(f"{name} 64 Lock held ")
        assert two.endswith(f" {child.pid}, alive -")
        assert three == f"{name} 128 Lock held {dead}, dead -"
        assert four == f"{name} 192 Lock its holder died {torn}, dead -"
        assert five.startswith(f"{name} 1024 RLock held ")
        states = [found["state"] for found in listed(machine, name)]
    assert states == ["free", "held", "held", "torn", "held"]


def test_lock_that_is_waited_for_and_one_under_repair(machine, using, name):
    code = """
import threading
memory = SharedMemory(name, create=True, size=4096)
one, two = synchronize.Lock(memory, 0), synchronize.Lock(memory, 64)
one.acquire()
threading.Thread(target=one.acquire, daemon=True).start()
as_dead(two.acquire)
repair = two.repair()
repair.__enter__()
while "wait" not in repr(one):
    time.sleep(0.001)
print("on")
"""
    with using(code):
        one, two = rows(machine, name)
    assert " held " in one and one.endswith(", alive some")
    assert f"{name} 64 Lock under repair " in two


def test_states_of_what_counts(machine, using, name):
    code = """
memory = SharedMemory(name, create=True, size=4096)
kept = [
    synchronize.Semaphore(5, memory, 0),
    synchronize.BoundedSemaphore(5, memory, 64),
    synchronize.Event(memory, 192),
    synchronize.Event(memory, 256),
    synchronize.Barrier(3, None, None, memory, 320),
]
kept[0].acquire()
kept[1].acquire()
as_dead(kept[1].acquire)
kept[2].set()
print("on")
"""
    with using(code):
        found = rows(machine, name)
        json_of = listed(machine, name)
    assert found == [
        f"{name} 0 Semaphore 4 free - -",
        f"{name} 64 BoundedSemaphore 3 free 2 holders, 1 dead -",
        f"{name} 192 Event set - -",
        f"{name} 256 Event clear - -",
        f"{name} 320 Barrier whole - 0",
    ]
    assert [one["free"] for one in json_of] == [4, 3, None, None, None]


def test_states_of_a_condition(machine, using, name):
    code = """
import threading
memory = SharedMemory(name, create=True, size=4096)
kept = synchronize.Condition(None, memory, 0)
def wait():
    with kept:
        kept.wait()
threads = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
for one in threads:
    one.start()
time.sleep(0.2)
print("on")
"""
    with using(code):
        assert rows(machine, name) == [f"{name} 0 Condition free - 2"]


def test_states_of_a_lock_for_readers_and_writers(machine, using, name):
    code = """
memory = SharedMemory(name, create=True, size=8192)
one = synchronize.RWLock(memory, 0)
two = synchronize.RWLock(memory, 4096)
one.read.acquire()
as_dead(one.read.acquire)
two.write.acquire()
print("on")
"""
    with using(code) as (child, _):
        one, two = rows(machine, name)
    assert one == f"{name} 0 RWLock read 2 readers, 1 dead -"
    assert two.startswith(f"{name} 4096 RWLock held ")
    assert two.endswith(f" {child.pid}, alive -")


def test_segment_is_listed_while_somebody_uses_it(machine, using, name):
    code = """
memory = SharedMemory(name, create=True, size=4096)
lock = synchronize.Lock(memory)
print("on", flush=True)
sys.stdin.readline()
del lock
print("off")
"""
    with using(code) as (child, _):
        assert f"{name} 0 Lock free - -" in rows(machine)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "off\n"
        assert f"{name} 0 Lock free - -" not in rows(machine)
        assert f"{name} 0 Lock free - -" in rows(machine, name)


def test_lock_and_segment_of_one_name(machine, using, name):
    code = """
memory = SharedMemory(name, create=True, size=4096)
kept = synchronize.Lock(memory, 64), synchronize.Lock(name)
print("on")
"""
    with using(code):
        assert sorted(rows(machine, name)) == [
            f"{name} - Lock free - -",
            f"{name} 64 Lock free - -",
        ]


def test_file_by_its_path(machine, tmp_path):
    path = tmp_path / "cells"
    with shmemext.MappedFile(path, create=True, size=1 << 20) as memory:
        lock = synchronize.Lock(memory, 1 << 19)
        lock.acquire()
        (row,) = rows(machine, path)
        assert row.startswith(f"{path} {1 << 19} Lock held ")
        assert row.endswith(", alive -")


def test_quiet(machine, using, name):
    code = """
memory = SharedMemory(name, create=True, size=4096)
kept = [synchronize.Lock(memory, 64 * i) for i in range(3)]
print("on")
"""
    with using(code):
        assert machine.cli("locks", "-q", name).stdout == f"{name}\n"
        assert machine.cli("locks", "-0", name).stdout == f"{name}\0"


@pytest.mark.parametrize("options", [[], ["--json"], ["-q"]])
def test_missing(machine, name, options):
    done = machine.cli("locks", name, *options, status=FAILED)
    only_stderr_line(done, f"{name}: no such synchronizer")


def test_nothing_in_a_segment(machine, name):
    machine.file(name)
    assert rows(machine, name) == []
    assert listed(machine, name) == []


def test_what_may_not_be_read(two_users, name):
    two_users.file(name)
    done = two_users.cli("locks", name, user=65534)
    assert f"+ {name} cannot be read: Permission denied" in done.stdout


def head(kind=1, version=1, parameter=0):
    number = _heads.MAGIC | kind << 16 | version << 24 | parameter << 32
    return number.to_bytes(8, "little")


def test_hostile_memory(machine, name):
    """Nothing there is an index, a size or a command to the terminal."""
    file = machine.file(name, size=0)
    worst = 0xFFFFFFFF
    words = (worst).to_bytes(4, "little") * 14
    cells = [
        head(kind, version, parameter) + words
        for kind in range(12)
        for version in (0, 1, 255)
        for parameter in (0, 1, worst, worst >> 1, worst >> 2)
    ]
    file.write_bytes(b"".join(cells) + head()[:4])
    for one in listed(machine, name):
        assert one["offset"] < file.stat().st_size
        assert one["type"] in _heads.KINDS.values()
    assert rows(machine, name)


def test_memory_full_of_heads(machine, name):
    file = machine.file(name, size=0)
    file.write_bytes((head() + bytes(56)) * (MOST + 10))
    done = machine.cli("locks", name)
    assert done.stdout.count("Lock") == MOST
    assert f"+ {name} may hold more than {MOST}" in done.stdout
    file.write_bytes(b"SX" * 500_000)
    assert rows(machine, name) == []


def test_names_that_no_terminal_can_be_trusted_with(machine, name):
    evil = f"{PREFIX}{name}\x1b[2J\n"
    machine.file(evil, size=0).write_bytes(head() + bytes(56))
    done = machine.cli("locks")
    assert "\x1b" not in done.stdout
    assert f"{name}\\x1b[2J\\n" in done.stdout
    (row,) = rows(machine, f"{name}\x1b[2J\n")
    assert row.endswith("- Lock free - -")


def test_holes_are_not_read(machine, name):
    """A terabyte takes no longer than what of it is there."""
    file = machine.file(name, size=0)
    with file.open("r+b") as opened:
        opened.truncate(1 << 40)
        opened.seek(1 << 39)
        opened.write(head())
    assert rows(machine, name) == [f"{name} {1 << 39} Lock free - -"]


def test_kinds_are_those_that_there_are():
    assert {*_heads.KINDS.values()} <= {*vars(synchronize)}
