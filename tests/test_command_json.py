# SPDX-License-Identifier: MIT
"""What --json prints is what its schema says, no more and no less."""

import json
import re
import struct
from pathlib import Path
from typing import get_args

import pytest
from commands import FAILED

from shmemext._command.info import _GOES
from shmemext._segment import Kind
from shmemext.lifetime import Collected

SCHEMA = Path(__file__).parent.parent / "docs" / "command.schema.json"
if not SCHEMA.exists():
    pytest.skip("the docs are not here", allow_module_level=True)
SCHEMA = json.loads(SCHEMA.read_text())

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KNOWN = {
    *("$schema", "$defs", "$ref", "title", "description", "oneOf", "anyOf"),
    *("type", "enum", "pattern", "minimum", "required", "properties", "items"),
}


def is_of(value, name):
    if isinstance(value, bool) and name in ("integer", "number"):
        return False
    return isinstance(value, TYPES[name])


def check(value, schema, where="$"):
    """As JSON Schema has it, of what ours uses; and fields that it does not
    name are wrong."""
    assert schema.keys() <= KNOWN, where
    if "$ref" in schema:
        named = schema["$ref"].removeprefix("#/$defs/")
        check(value, SCHEMA["$defs"][named], where)
    choices = schema.get("oneOf", schema.get("anyOf", []))
    assert not choices or sum(fits(value, one) for one in choices) == 1, where
    if "type" in schema:
        names = schema["type"]
        names = [names] if isinstance(names, str) else names
        assert any(is_of(value, name) for name in names), (where, value)
    assert value in schema.get("enum", [value]), (where, value)
    if "minimum" in schema and value is not None:
        assert value >= schema["minimum"], (where, value)
    if "pattern" in schema:
        assert re.search(schema["pattern"], value), (where, value)
    if isinstance(value, dict):
        assert value.keys() == schema.get("properties", value).keys(), where
        assert {*schema.get("required", [])} <= value.keys(), where
        for key, one in value.items():
            if "properties" in schema:
                check(one, schema["properties"][key], f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            check(one, schema["items"], f"{where}[{number}]")


def fits(value, schema):
    try:
        check(value, schema)
    except AssertionError:
        return False
    return True


def told(machine, *arguments, **options):
    document = json.loads(machine.cli(*arguments, "--json", **options).stdout)
    kinds = {
        "segments": "listing",
        "synchronizers": "locks",
        "channels": "channels",
        "pools": "pools",
    }
    kind = next((kinds[key] for key in kinds if key in document), "removal")
    check(document, SCHEMA["$defs"][kind])
    assert fits(document, SCHEMA)
    return document


def test_listing(private, name, tmp_path):
    """One of everything."""
    private.file(f"{name}-free")
    private.file(f"{name}-\udcff")
    private.made.update(f"{name}-{what}" for what in ("family", "users"))
    code = """
import os, sys, shmemext
name, file = sys.argv[1:]
held = [
    shmemext.SharedMemory(f"{name}-family", create=True, size=50_000),
    shmemext.SharedMemory(f"{name}-users", create=True, size=9,
                          lifetime="users"),
    shmemext.MappedFile(file, create=True, size=8192),
    shmemext.AnonymousMemory(4096),
]
lost = shmemext.SharedMemory(f"{name}-lost", create=True, size=4096)
again = shmemext.SharedMemory(lost.name)
os.unlink(f"/dev/shm/{lost.name}")
print("on")
"""
    (private.shm / f".shmemext-9-{name}").mkdir()
    with private.running(code, name, tmp_path / "mapped"):
        everything = told(private, "ls", "--all")
        assert told(private, "ls", "*-users")["deleted"] == []
        of_one = told(private, "info", f"{name}-users")
    (private.shm / f".shmemext-9-{name}").rmdir()
    for kind in ("deleted", "elsewhere", "other_versions"):
        assert everything[kind], kind
    kinds = {one["kind"] for one in everything["segments"]}
    assert {"family", "users", "untracked"} <= kinds
    assert [one["kind"] for one in of_one["segments"]] == ["users"]


def test_removal(private, name):
    private.file(name)
    private.stranded(f"{name}-dead")
    told(private, "gc", "--orphans", "--dry-run")
    done = told(private, "rm", name, f"{name}-not", status=FAILED)
    assert done["removed"] and done["failed"]
    assert told(private, "gc")["removed"]


def test_locks(private, name):
    code = """
import os, signal, sys
from shmemext.synchronize import BoundedSemaphore, Lock
name = sys.argv[1]
kept = [Lock(f"{name}-{i}") for i in range(3)]
kept.append(BoundedSemaphore(3, f"{name}-permits"))
if os.fork() == 0:
    for one in kept[1:]:
        one.acquire()
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
kept[0].acquire()
try:
    kept[1].acquire()
except OSError:
    print("on")
"""
    with private.running(code, name):
        found = told(private, "locks")["synchronizers"]
    assert [one["state"] for one in found] == ["held", "torn", "held", "free"]


def test_channels(private, name):
    code = """
import sys
from shmemext import Channel
made = Channel(sys.argv[1], create=True)
made.put(b"x")
print("on")
"""
    about = struct.pack("=QQQ", 0x53 | 0x58 << 8 | 10 << 16 | 1 << 24, 5, 9)
    private.file(f"{name}-cast").write_bytes(about.ljust(4096, b"\0"))
    with private.running(code, name):
        found = told(private, "channels")["channels"]
    assert [one["state"] for one in found] == ["open", "damaged"]


def test_pools(private):
    about = 0x53 | 0x58 << 8 | 11 << 16 | 1 << 24 | 1 << 32
    for pair, version in ((1, 1), (2, 1), (3, 9)):
        content = struct.pack("=QQQ", about + (version - 1 << 24), pair, 8192)
        name = f"shmemext-pool.{pair:016x}"
        private.file(name).write_bytes(content.ljust(4096, b"\0"))
        data = b"" if pair == 2 else bytes(8192)
        private.file(f"{name}.data").write_bytes(data)
    found = told(private, "pools")["pools"]
    states = [one["state"] for one in found]
    assert states == ["abandoned", "damaged", "unknown"]


def test_room_without_a_limit():
    room = dict.fromkeys(("total", "free", "inodes_total", "inodes_free"))
    check(room, SCHEMA["$defs"]["room"])


def test_all_kinds_and_reasons_are_in_it():
    kinds = SCHEMA["$defs"]["segment"]["properties"]["kind"]["enum"]
    assert set(kinds) == set(get_args(Kind)) == set(_GOES)
    reasons = get_args(Collected.__annotations__["reason"])
    assert {"asked", *reasons} == set(SCHEMA["$defs"]["reason"]["enum"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "tracked"},
        {"size": "1"},
        {"size": -1},
        {"size": True},
        {"mode": "rw"},
        {"more": 1},
        {"family": {}},
        {"processes": [{}]},
    ],
)
def test_check_finds_what_is_wrong(machine, name, wrong):
    machine.file(name)
    (segment,) = told(machine, "info", name)["segments"]
    assert fits(segment, SCHEMA["$defs"]["segment"])
    assert not fits({**segment, **wrong}, SCHEMA["$defs"]["segment"])
    del segment["kind"]
    assert not fits(segment, SCHEMA["$defs"]["segment"])
