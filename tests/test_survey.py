# SPDX-License-Identifier: MIT
"""What lifetime.survey() looks at, and what it tells beside segments."""

import mmap
import os

import machine as machines
import pytest
from conftest import DEV_SHM
from machine import NOBODY

import shmemext
from shmemext import SharedMemory, _survey, lifetime

PAGE = mmap.PAGESIZE


# --- room


def test_room_is_what_the_file_system_has():
    room = lifetime.survey().room
    status = os.statvfs(DEV_SHM)
    if status.f_blocks == 0:
        assert (room.total, room.free) == (None, None)
        return
    assert room.total == status.f_blocks * status.f_frsize
    assert 0 <= room.free <= room.total


def test_room_of_a_container(private):
    small = private.within(
        "mount -t tmpfs -o size=1m,nr_inodes=50 tmpfs /dev/shm"
    )
    room = small.survey("asdict(found.room)")
    assert room.pop("free") in range((1 << 20) - 8 * PAGE, 1 << 20 | 1)
    assert room.pop("inodes_free") in range(40, 51)
    assert room == {"total": 1 << 20, "inodes_total": 50}


def test_room_without_a_limit(private):
    endless = private.within(
        "mount -t tmpfs -o size=0,nr_inodes=0 tmpfs /dev/shm"
    )
    room = endless.survey("asdict(found.room)")
    assert set(room.values()) == {None}


# --- where there is no /dev/shm


NOWHERE = "mount -t tmpfs -o mode=755 tmpfs /dev"


@pytest.mark.parametrize(
    ("mount", "kind", "words"),
    [
        (NOWHERE, "FileNotFoundError", "mount -t tmpfs"),
        (f"{NOWHERE} && touch /dev/shm", "NotADirectoryError", "no directory"),
        (
            f"{NOWHERE} && mkdir -m 711 /dev/shm",
            "PermissionError",
            "may not list it",
        ),
    ],
    ids=["missing", "a file", "unreadable"],
)
@pytest.mark.parametrize("arguments", ["", "['any']"])
def test_what_is_the_matter_with_dev_shm(
    private, mount, kind, words, arguments
):
    user = None
    if kind == "PermissionError":
        machines.need_two_users(private)
        user = NOBODY
    done = private.within(mount).run(
        "-c",
        "from shmemext import lifetime\n"
        "try:\n"
        f"    lifetime.survey({arguments})\n"
        "except OSError as error:\n"
        "    print(type(error).__name__, error.filename, error.strerror)",
        user=user,
    )
    assert done.stdout.startswith(f"{kind} /dev/shm ")
    assert words in done.stdout


# --- only some names


def test_only_the_names_that_are_asked_for(name, monkeypatch):
    with (
        SharedMemory(name, create=True, size=5000) as shm,
        SharedMemory(create=True, size=1) as other,
    ):
        (whole,) = (s for s in shmemext.segments() if s.name == name)
        monkeypatch.setattr(_survey, "_listed", None)  # reads all names
        found = lifetime.survey([name, name, f"{name}-missing"])
        assert other.name not in [one.name for one in found.segments]
        (one,) = found.segments
        assert one.age >= whole.age
        assert one.processes == whole.processes
        assert one.kind == whole.kind == "family"
        assert one.family.own
        assert found.deleted == []
        shm.unlink()
        other.unlink()


@pytest.mark.parametrize(
    "odd",
    ["", ".", "..", "a/b", "../shm", "/", "nul\0nul", "x" * 300, "\ud800"],
)
def test_what_can_be_no_name_is_none(odd):
    assert lifetime.survey([odd]).segments == []


def test_memory_that_lost_the_name_that_is_asked_for(private, name):
    with private.creator(name) as (child, _):
        (private.shm / name).unlink()
        private.file(f"{name}-else")
        done = private.run(
            "-c",
            "import sys; from shmemext import lifetime\n"
            "found = lifetime.survey(sys.argv[1:])\n"
            "(one,), (segment,) = found.deleted, found.segments\n"
            "print(one.name, one.processes[0].pid, segment.name)",
            name,
            f"{name}-else",
        )
        assert done.stdout == f"{name} {child.pid} {name}-else\n"


def test_without_processes_nobody_looks(name, monkeypatch):
    with SharedMemory(name, create=True, size=1) as shm:
        monkeypatch.setattr(_survey, "look_into_all", None)
        found = lifetime.survey([name], processes=False)
        (one,) = found.segments
        assert (one.kind, one.processes) == ("family", ())
        assert found.hidden == 1
        shm.unlink()
