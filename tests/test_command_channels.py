# SPDX-License-Identifier: MIT
"""shmemext channels."""

import json
import os
import random
import signal
import struct

import pytest
from commands import FAILED, only_stderr_line
from machine import NOBODY

from shmemext import _heads
from shmemext._traffic import CONTROL

CODE = """
import os, signal, sys
from shmemext import Channel
name = sys.argv[1]
def as_dead(do):
    pid = os.fork()
    if pid == 0:
        do()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
kept = []
def hold(of):
    kept.append(of)
    return kept[-1].__enter__()
"""


@pytest.fixture
def using(machine, name):
    """A process that does this, has the segment `name`, and stays."""

    def run(code):
        machine.made.add(name)
        return machine.running(CODE + code + "\nprint('on')", name)

    return run


def rows(machine, *arguments, **options):
    lines = machine.cli("channels", *arguments, **options).stdout.splitlines()
    assert lines[0].split() == [
        *("NAME", "TYPE", "MEMBERS", "STATE", "WAITING"),
        *("IN", "HAND", "OF", "THE", "DEAD"),
    ]
    return [" ".join(line.split()) for line in lines[1:-1]]


def listed(machine, *arguments):
    done = machine.cli("channels", "--json", *arguments)
    return json.loads(done.stdout)["channels"]


def test_channel_that_is_empty(machine, using, name):
    with using("made = Channel(name, create=True, size=1 << 16)"):
        expected = f"{name} Channel 1 open 0, 0 B 0 -"
        assert rows(machine, name) == [expected]
        assert expected in rows(machine)
        assert rows(machine, f"/dev/shm/{name}") == [expected]
        assert machine.cli("channels", "-q", name).stdout == f"{name}\n"
        (found,) = listed(machine, name)
    assert found["size"] == 1 << 16
    assert found["newest"] is found["writer"] is None
    assert (found["state"], found["version"]) == ("open", 1)


def test_channel_with_messages_in_all_states(machine, using, name):
    code = """
made = Channel(name, create=True)
made.put_many([b"x" * 100] * 10)
hold(made.receive())
as_dead(lambda: hold(made.receive()))
taken = made.get(), made.get()
view = made.reserve(1000)
view.__enter__()
try:
    with made.reserve(10):
        1 / 0
except ZeroDivisionError:
    pass
"""
    with using(code):
        expected = f"{name} Channel 1 open 6, 600 B 2, 1 of the dead -"
        assert rows(machine, name) == [expected]
        (found,) = listed(machine, name)
    assert (found["messages"], found["bytes"]) == (6, 600)
    assert (found["in_hand"], found["in_dead_hands"]) == (2, 1)


def test_what_was_made_good(machine, using, name):
    code = """
import queue, time
made = Channel(name, create=True)
made.put(b"x")
as_dead(lambda: hold(made.receive()))
as_dead(lambda: hold(made.reserve(5)))
made.get()
end = time.monotonic() + 30
while made._look()[3] == 0:
    assert time.monotonic() < end
    try:
        made.get(timeout=0.01)
    except queue.Empty:
        pass
made.shutdown()
"""
    with using(code):
        made_good = "1 discarded, 1 redelivered"
        expected = f"{name} Channel 1 shut down 0, 0 B 0 {made_good}"
        assert rows(machine, name) == [expected]
        (found,) = listed(machine, name)
    assert (found["discarded"], found["redelivered"]) == (1, 1)
    assert found["state"] == "shut down"


def test_members_are_those_who_live(machine, using, name):
    more = """
import time
children = []
made = Channel(name, create=True)
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    children.append(pid)
os.kill(children[0], signal.SIGKILL)
os.waitpid(children[0], 0)
print(*children[1:])
"""
    with using(more) as (_, children):
        try:
            (found,) = listed(machine, name)
        finally:
            for one in children:
                os.kill(int(one), signal.SIGKILL)
    assert found["members"] == 3


def test_many_messages_of_all_sizes(machine, using, name):
    """It goes round, and over what is too long for one look."""
    code = """
import random
made = Channel(name, create=True, size=1 << 20)
drawn = random.Random(1)
for _ in range(300):
    made.put(bytes(drawn.choice([0, 10, 1000, 100_000])))
    while made.qsize() > 5:
        made.get()
print(made.qsize(), made._look()[1])
"""
    with using(code) as (_, (count, size)):
        (found,) = listed(machine, name)
    assert (found["messages"], found["bytes"]) == (int(count), int(size))


def test_channel_that_others_write_all_the_time(machine, using, name):
    """It is never called damaged."""
    code = """
import threading
made = Channel(name, create=True, size=1 << 14)
def write():
    while True:
        made.put(os.urandom(100))
def read():
    while True:
        made.get()
for run in (write, read):
    threading.Thread(target=run, daemon=True).start()
"""
    with using(code) as (child, _):
        states = {listed(machine, name)[0]["state"] for _ in range(10)}
        child.kill()
    assert states == {"open"}


def test_nobody_has_it(machine, using, name):
    with using("made = Channel(name, create=True, track=False)") as (child, _):
        child.kill()
        child.wait()
        assert rows(machine, name) == [f"{name} Channel 0 open 0, 0 B 0 -"]


def test_no_such_channel(machine, name):
    machine.file(name)
    for missing in (name, f"{name}-not"):
        done = machine.cli("channels", missing, status=FAILED)
        only_stderr_line(done, missing, "no such channel")
    assert name not in {one["name"] for one in listed(machine)}


def test_segment_that_may_not_be_read(machine, name):
    if not machine.private:
        pytest.skip("needs root to be another user")
    content = head() + bytes(4096 + 4096 - 8)
    machine.file(name, uid=0).write_bytes(content)
    done = machine.cli("channels", name, user=NOBODY)
    assert f"+ {name} cannot be read: Permission denied" in done.stdout
    assert rows(machine, user=NOBODY) == []
    (machine.shm / name).chmod(0o644)
    assert rows(machine, name, user=NOBODY) == [
        f"{name} Channel 0 open 0, 0 B 0 -"
    ]


# What cannot be so


def head(kind=9, version=1, parameter=12):
    number = _heads.MAGIC | kind << 16 | version << 24 | parameter << 32
    return struct.pack("=Q", number)


def channel(**words):
    """By their places."""
    content = bytearray(head() + bytes(4096 + 4096 - 8))
    for where, value in words.items():
        struct.pack_into("=Q", content, int(where[1:]), value)
    return bytes(content)


RECORD = 2 << 61 | 2  # READY, of two units
DAMAGED = {
    "is short": channel()[:5000],
    "is nothing": head(),
    "is too large": head(parameter=1 << 31) + bytes(8184),
    "tail": channel(_128=4096 + 16),
    "odd": channel(_128=8),
    "next": channel(_256=16),
    "head": channel(_136=16),
    "no span": channel(_128=64),
    "long span": channel(_128=64, _4096=2 << 61 | 5),
    "state": channel(_128=32, _4096=7 << 61 | 2),
    "wrapped": channel(_128=1 << 63),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_channel_is_said_to_be(content, machine, name):
    machine.file(name).write_bytes(content)
    assert rows(machine, name) == [f"{name} Channel - damaged - - -"]
    (found,) = listed(machine, name)
    assert found["state"] == "damaged"


def test_length_that_cannot_be_is_no_more_than_there_is(machine, name):
    content = channel(_128=32, _4096=RECORD, _4104=1 << 60)
    machine.file(name).write_bytes(content)
    assert rows(machine, name) == [f"{name} Channel 0 open 1, 32 B 0 -"]


def test_random_bytes_are_no_crash(machine, name):
    drawn = random.Random(5)
    names = [f"{name}-{i}" for i in range(60)]
    for i, one in enumerate(names):
        content = bytearray(channel(_128=4096, _256=2048))
        content[4096:] = drawn.randbytes(4096)
        if i % 2:
            content[64:4096] = drawn.randbytes(4032)
        content[:4] = head(9 + i % 3 % 2)[:4]
        machine.file(one).write_bytes(content)
    found = [one["name"] for one in listed(machine)]
    assert [one for one in found if one in names] == sorted(names)
    machine.cli("channels")


@pytest.mark.parametrize("kind", ["Channel", "Broadcast"])
def test_other_version_is_unknown(kind, machine, name):
    content = head(9 + (kind == "Broadcast"), version=77) + bytes(4096)
    machine.file(name).write_bytes(content)
    assert rows(machine, name) == [f"{name} {kind} - unknown - - -"]


def test_names_that_no_terminal_can_be_trusted_with(machine, name):
    evil = f"{name}\x1b[2J\n"
    machine.file(evil).write_bytes(channel())
    done = machine.cli("channels")
    assert "\x1b" not in done.stdout
    assert f"{name}\\x1b[2J\\n" in done.stdout


# Broadcasts, as csrc/core/channels/broadcast.h has them.

PAIR, SIZE, READERS, DEPTH = 0x1234, 5000, 3, 2
SLOTS = 256 + 64 + 64


def about(kind=10):
    return head(kind, parameter=READERS | DEPTH << 20) + struct.pack(
        "=QQ", PAIR, SIZE
    )


@pytest.fixture
def cast(machine, name):
    """Its two segments; words of the one that controls it, by places."""

    def make(words=(), data_size=4096 + 8192 * 6):
        control = bytearray(about() + bytes(4096))
        for where, value in dict(words).items():
            struct.pack_into("=Q", control, where, value)
        machine.file(name).write_bytes(about() + bytes(data_size - 24))
        machine.file(f"{CONTROL}{PAIR:016x}").write_bytes(control)

    return make


def test_broadcast_without_a_frame(machine, name, cast):
    cast()
    assert f"{name} Broadcast 0 no writer - 0 -" in rows(machine)
    (found,) = listed(machine, name)
    assert (found["state"], found["newest"], found["size"]) == (
        "idle",
        0,
        SIZE,
    )
    assert found["messages"] is found["discarded"] is found["writer"] is None


def test_broadcast_of_a_dead_writer(machine, name, cast):
    """And of dead readers."""
    newest = 7 << 16 | 4
    slots = {SLOTS: 4 << 48 | 1 << 32 | 99, SLOTS + 16: 1 << 31 | 98}
    words = {72: 77 | 4711 << 32, 192: 7, 256 + 8: newest}
    cast({**words, **slots})
    (row,) = rows(machine, name)
    dead = "writer 4711, dead"
    assert row == f"{name} Broadcast 0 {dead} frame 7 2, 1 of the dead -"
    (found,) = listed(machine, name)
    assert found["state"] == "died"
    assert found["writer"] == {"pid": 4711, "command": None, "alive": False}
    assert (found["newest"], found["in_hand"]) == (7, 2)


DAMAGED_CASTS = {
    "pair": {"words": {8: 1}},
    "size": {"words": {16: 1}},
    "entry": {"words": {192: 7}},
    "block": {"words": {192: 7, 264: 7 << 16 | 9}},
    "short": {"data_size": 8192},
}


@pytest.mark.parametrize("how", DAMAGED_CASTS.values(), ids=DAMAGED_CASTS)
def test_damaged_broadcast_is_said_to_be(how, machine, name, cast):
    cast(**how)
    assert rows(machine, name) == [f"{name} Broadcast - damaged - - -"]


def test_broadcast_whose_control_is_gone(machine, name, cast):
    cast()
    (machine.shm / f"{CONTROL}{PAIR:016x}").unlink()
    assert rows(machine, name) == [f"{name} Broadcast - damaged - - -"]


def test_broadcast_whose_control_may_not_be_read(machine, name, cast):
    if not machine.private:
        pytest.skip("needs root to be another user")
    cast()
    (machine.shm / name).chmod(0o644)
    assert rows(machine, name, user=NOBODY) == [
        f"{name} Broadcast - unknown - - -"
    ]


def test_files_that_block_are_not_opened_to_wait(machine, name):
    machine.made.add(name)
    os.mkfifo(machine.shm / name)
    assert machine.cli("channels").returncode == 0
