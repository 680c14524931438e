# SPDX-License-Identifier: MIT
"""shmemext pools."""

import json
import os
import random
import struct

import pytest
from commands import FAILED, only_stderr_line
from machine import NOBODY, wait_until

from shmemext import _heads
from shmemext._holdings import SUFFIX
from shmemext._segment import POOL

# As csrc/core/pool/pool.h has it.
OWNER, PLACES, BLOCKS = 64, 128, 2176
PINNED, FREED = 1 << 31, 1 << 30
MIB = 1 << 20


def head(kind=_heads.POOL, version=1, parameter=4):
    number = _heads.MAGIC | kind << 16 | version << 24 | parameter << 32
    return struct.pack("=Q", number)


def block(word, holders=(), offset=0, size=0):
    bits = [0] * 4
    for place in holders:
        bits[place // 64] |= 1 << place % 64
    return struct.pack("=8Q", word, 1, *bits, offset, size)


FREE = block(FREED)


@pytest.fixture
def pool(machine):
    """Makes one of these blocks; words of its control by their places."""

    def make(blocks=(), words=(), *, size=64 * MIB, **of_head):
        pair = f"{random.getrandbits(64):016x}"
        content = bytearray(head(**of_head) + bytes(BLOCKS - 8))
        struct.pack_into("=QQ", content, 8, int(pair, 16), size)
        content += b"".join([*blocks, *[FREE] * (4 - len(blocks))])
        for where, value in dict(words).items():
            struct.pack_into("=Q", content, where, value)
        machine.file(POOL + pair).write_bytes(content)
        data = machine.file(POOL + pair + SUFFIX)
        with data.open("wb") as file:
            file.truncate(size)
        return pair

    return make


def rows(machine, *arguments, **options):
    lines = machine.cli("pools", *arguments, **options).stdout.splitlines()
    assert lines[0].split() == [
        *("POOL", "OWNER", "LIMIT", "USED", "IDLE"),
        *("BLOCKS", "IN", "FLIGHT", "HOLDERS", "PINNED"),
    ]
    return [" ".join(line.split()) for line in lines[1:-1]]


def listed(machine, *arguments):
    done = machine.cli("pools", "--json", *arguments)
    return json.loads(done.stdout)["pools"]


def test_pool_of_whom_nobody_knows(machine, pool):
    pair = pool()
    expected = f"{pair} dead, abandoned 64 MiB 0 B 0 B 0 0 0 0"
    for name in (pair, POOL + pair, f"/dev/shm/{POOL}{pair}{SUFFIX}"):
        assert rows(machine, name) == [expected]
    assert expected in rows(machine)
    (found,) = listed(machine, pair)
    assert found["names"] == [POOL + pair, POOL + pair + SUFFIX]
    assert (found["state"], found["version"]) == ("abandoned", 1)
    names = machine.cli("pools", "-q", pair).stdout.split()
    assert names == found["names"]


SENDS = """
import os
from multiprocessing import Pipe
from pickle import PickleBuffer
from shmemext import Queue, handoff
handoff.enable()
ours, theirs = Pipe()
ours.send([PickleBuffer(bytes(1 << 20)), PickleBuffer(bytes(1 << 21))])
first = theirs.recv()
ours.send(PickleBuffer(bytes(1 << 22)))
queue = Queue()
print(queue.name, os.getpid())
"""


def test_pool_of_a_process_that_sends(private):
    with private.running(SENDS) as (child, (queue, pid)):
        (found,) = listed(private)
        kinds = {
            one["name"]: one["kind"]
            for one in json.loads(private.cli("ls", "--json").stdout)[
                "segments"
            ]
        }
        assert private.cli("channels", "-q").stdout.split() == [queue]
        child.kill()
        child.wait()
    assert (found["state"], found["blocks"]) == ("owned", 3)
    assert found["used"] == 7 * MIB
    assert (found["in_flight"], found["holders"]) == (1, 1)
    assert found["dead_holders"] == found["pinned"] == 0
    assert int(pid) in {one["pid"] for one in found["processes"]}
    pool = dict.fromkeys(found["names"], "pool")
    assert kinds == {**pool, queue: "queue"}
    wait_until(lambda: not listed(private))


def test_what_the_dead_left(machine, pool):
    """What was sent may be received still; what they held nobody has."""
    dead = 1 << 32 | 99
    places = {PLACES: dead, PLACES + 8 * 200: dead + 1}
    pair = pool(
        [
            block(3 << 32 | 2, offset=0, size=MIB),
            block(1 << 32, [0, 200], MIB, 2 * MIB),
            block(5 << 32 | PINNED, offset=4 * MIB, size=MIB),
            block(7 << 32, offset=8 * MIB, size=MIB),
        ],
        {OWNER: dead, **places},
    )
    text = f"{pair} dead 64 MiB 4 MiB 0 B 3 2 2, 2 dead 1"
    assert rows(machine, pair) == [text]
    (found,) = listed(machine, pair)
    assert found["state"] == "left"
    assert (found["holders"], found["dead_holders"]) == (2, 2)
    assert (found["in_flight"], found["pinned"]) == (2, 1)


def test_what_only_the_dead_hold_is_abandoned(machine, pool):
    places = {PLACES: 1 << 32 | 99}
    pair = pool([block(0, [0], 0, MIB)], places)
    (found,) = listed(machine, pair)
    assert (found["state"], found["blocks"]) == ("abandoned", 1)


def test_pages_that_nobody_uses_are_idle(machine, pool):
    pair = pool([block(1, offset=0, size=MIB)])
    path = machine.shm / (POOL + pair + SUFFIX)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 3 * MIB)
    (found,) = listed(machine, pair)
    assert (found["used"], found["idle"]) == (MIB, 2 * MIB)


def test_no_such_pool(machine, name):
    machine.file(name)
    for missing in (name, "0" * 16, "../pool"):
        done = machine.cli("pools", missing, status=FAILED)
        only_stderr_line(done, missing, "no such pool")


def test_pool_that_may_not_be_read(machine, pool):
    if not machine.private:
        pytest.skip("needs root to be another user")
    pair = pool()
    done = machine.cli("pools", pair, user=NOBODY)
    assert f"{pair} cannot be read: Permission denied" in done.stdout
    assert rows(machine, user=NOBODY) == []
    (machine.shm / (POOL + pair)).chmod(0o644)
    assert len(rows(machine, pair, user=NOBODY)) == 1


# What cannot be so

DAMAGED = {
    "another pair": {"words": {8: 1}},
    "another size": {"words": {16: MIB}},
    "no blocks": {"parameter": 0},
    "too many blocks": {"parameter": 4097},
    "more blocks than there are": {"parameter": 5},
    "no bytes": {"blocks": [block(1)]},
    "beyond the end": {"blocks": [block(1, (), 63 * MIB, 2 * MIB)]},
    "far beyond": {"blocks": [block(1, (), 1 << 63, 1)]},
    "endless": {"blocks": [block(1, (), 1, (1 << 64) - 1)]},
    "held, without bytes": {"blocks": [block(0, [255])]},
}


@pytest.mark.parametrize("how", DAMAGED.values(), ids=DAMAGED)
def test_damaged_pool_is_said_to_be(how, machine, pool):
    pair = pool(**how)
    assert rows(machine, pair) == [f"{pair} damaged - - - - - - -"]
    assert listed(machine, pair)[0]["state"] == "damaged"


def test_pool_without_its_data_is_damaged(machine, pool):
    pair = pool()
    (machine.shm / (POOL + pair + SUFFIX)).unlink()
    assert listed(machine, pair)[0]["state"] == "damaged"


def test_pool_that_is_cut_short_is_damaged(machine, pool):
    pair = pool()
    os.truncate(machine.shm / (POOL + pair), 1000)
    assert listed(machine, pair)[0]["state"] == "damaged"


def test_used_is_no_more_than_there_is(machine, pool):
    pair = pool([block(1, (), 0, 64 * MIB)] * 4)
    (found,) = listed(machine, pair)
    assert (found["used"], found["blocks"]) == (64 * MIB, 4)


def test_random_bytes_are_no_crash(machine, pool):
    drawn = random.Random(7)
    pairs = [pool() for _ in range(30)]
    for number, pair in enumerate(pairs):
        path = machine.shm / (POOL + pair)
        content = bytearray(path.read_bytes())
        content[BLOCKS:] = drawn.randbytes(len(content) - BLOCKS)
        if number % 2:
            content[64:BLOCKS] = drawn.randbytes(BLOCKS - 64)
        path.write_bytes(content)
    assert {*pairs} <= {one["pair"] for one in listed(machine)}
    machine.cli("pools")


def test_other_version_is_unknown(machine, pool):
    pair = pool(version=77)
    assert rows(machine, pair) == [f"{pair} unknown - - - - - - -"]


def test_segment_of_such_a_name_is_none(machine):
    machine.file(f"{POOL}{'5' * 16}").write_bytes(bytes(8192))
    machine.file(f"{POOL}{'6' * 17}").write_bytes(head() + bytes(8192))
    pairs = [row.split()[0] for row in rows(machine)]
    assert not {"5" * 16, "6" * 17} & {*pairs}


def test_names_that_no_terminal_can_be_trusted_with(machine):
    evil = POOL + "\x1b[2J\n".ljust(16, "x")
    machine.file(evil).write_bytes(head() + bytes(8192))
    done = machine.cli("pools")
    assert "\x1b" not in done.stdout and "\\x1b[2J\\n" in done.stdout


def test_files_that_block_are_not_opened_to_wait(machine):
    name = f"{POOL}{'7' * 16}"
    machine.made.add(name)
    os.mkfifo(machine.shm / name)
    assert machine.cli("pools").returncode == 0
