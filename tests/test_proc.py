# SPDX-License-Identifier: MIT
"""What is made of /proc, whatever is in it: who has a segment open, and what
has lost its name."""

import mmap
import os
from pathlib import Path

import pytest
from conftest import DEV_SHM

import shmemext
from shmemext import _processes, lifetime

PAGE = mmap.PAGESIZE
BEYOND = 1 << 22  # what numbers processes have, this one too


# --- memory without a name


SEMAPHORES = """
import multiprocessing
mp = multiprocessing.get_context("fork")  # the others keep the names
kept = [mp.Lock(), mp.Event(), mp.Queue(), mp.Condition()]
print("made")
"""


def test_locks_of_multiprocessing_are_no_memory_that_lost_its_name(private):
    with private.running(SEMAPHORES) as (child, _):
        maps = Path(f"/proc/{child.pid}/maps").read_text()
        assert "/dev/shm/" in maps  # they are there
        assert private.survey("[asdict(one) for one in found.deleted]") == []
        assert " deleted " not in private.cli("ls").stdout


NAMELESS = """
import mmap, os, sys
names, size, kept = sys.argv[1].split(), int(sys.argv[2]), sys.argv[3]
paths = ["/dev/shm/" + name for name in names]
views = []
for path in paths:
    if views:
        os.link(paths[0], path)
    with open(path, "a+b") as file:
        file.truncate(size)
        views.append(mmap.mmap(file.fileno(), size))
for path in paths:
    os.unlink(path)
if kept == "closed":
    os.closerange(3, 100)  # mmap's own, too
print("on")
"""


@pytest.mark.parametrize(
    ("called", "size", "descriptor", "count"),
    [
        ("sem.AbCdEf", 32, "closed", 0),
        ("AbCdE0", 32, "closed", 0),  # older glibc
        ("tmp-123456789", 32, "closed", 0),  # musl
        ("sem.AbCdEf sem.mp-opened", 32, "closed", 0),  # who opened it, too
        ("tmp-123456789 mp-1x_y5678", 32, "closed", 0),
        ("tmp-123456789 mp-1x_y56789", 32, "closed", 1),
        ("camera", 2 * PAGE, "closed", 1),
        ("camera", 32, "kept", 1),
        ("cameras", 32, "closed", 1),
    ],
)
def test_semaphores_of_other_libraries(
    private, called, size, descriptor, count
):
    with private.running(NAMELESS, called, size, descriptor):
        assert len(private.survey("[one.name for one in found.deleted]")) == (
            count
        )


@pytest.mark.parametrize(
    ("called", "size", "kind"),
    [
        ("sem.any", 5000, "semaphore"),
        ("mp-1x_y5678", 32, "semaphore"),  # of musl
        ("mp-1x_y5678", 16, "semaphore"),
        ("mp-1x_y5678", 33, "untracked"),
        ("psm_any", 32, "stdlib"),
        ("psm", 32, "untracked"),
    ],
)
def test_kinds_of_what_nobody_owns(private, called, size, kind):
    private.file(called, size=size)
    assert private.survey("[s.kind for s in found.segments]") == [kind]


def test_what_is_open_and_no_memory(private):
    """Nor is a directory or a FIFO that is gone."""
    code = (
        "import os\n"
        "os.chdir('/dev/shm'); os.mkdir('folder'); os.mkfifo('fifo')\n"
        "kept = os.open('folder', os.O_RDONLY), os.open('fifo', os.O_RDWR)\n"
        "os.rmdir('folder'); os.unlink('fifo'); print('on')"
    )
    with private.running(code):
        assert private.survey("[one.name for one in found.deleted]") == []


def test_draft_in_a_familys_directory(private, name):
    """Where the system makes no file without a name, its creator's mapping
    is called as the file was in the family's directory, for ever."""
    directory = private.shm / (".shmemext-2-" + "5" * 32)
    directory.mkdir(mode=0o700)
    code = (
        "import mmap, os, sys\n"
        "directory, name = sys.argv[1:]\n"
        "draft = f'/dev/shm/{directory}/d0123456789abcdef'\n"
        "with open(draft, 'w+b') as file:\n"
        "    file.truncate(4096); view = mmap.mmap(file.fileno(), 0)\n"
        "os.link(draft, f'/dev/shm/{name}'); os.unlink(draft)\n"
        "print('on')"
    )
    try:
        with private.running(code, directory.name, name) as (child, _):
            private.made.add(name)
            assert private.survey(
                "[[s.name, [p.pid for p in s.processes]]"
                " for s in found.segments]",
            ) == [[name, [child.pid]]]
            inode = (private.shm / name).stat().st_ino
            (private.shm / name).unlink()
            assert private.survey("[one.name for one in found.deleted]") == [
                f"#{inode}"
            ]
    finally:
        directory.rmdir()


# --- /proc, whatever is in it


@pytest.mark.parametrize(
    "odd", [b"\r1 %s 7 x", b"\n1 %s 7 x", b"\\012", b"\xff %s", b" (deleted)"]
)
def test_names_that_look_like_a_line_of_a_map(private, odd):
    device = private.shm.stat().st_dev
    device = b"%02x:%02x" % (os.major(device), os.minor(device))
    name = os.fsdecode(b"shmemext-test-odd" + odd.replace(b"%s", device))
    path = private.file(name)
    attach = (
        "import mmap, sys\n"
        "with open(f'/dev/shm/{sys.argv[1]}', 'r+b') as file:\n"
        "    view = mmap.mmap(file.fileno(), 0)\n"
        "print('on')"
    )
    with private.running(attach, name) as (child, _):
        there = "[[s.name, s.processes[0].pid] for s in found.segments]"
        assert private.survey(there) == [[name, child.pid]]
        path.unlink()
        # A map has an escape for the newline, and none for the escape.
        assert private.survey("[one.name for one in found.deleted]") in (
            [name],
            [name.replace("\\012", "\n")],
        )


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A /proc of our own. Gives what makes a process in it."""

    def make(pid, maps="", command="x", cmdline="x", links=()):
        process = tmp_path / str(pid)
        (process / "fd").mkdir(parents=True)
        for file, content in (
            ("maps", maps),
            ("comm", command),
            ("cmdline", cmdline),
        ):
            if content is None:  # what cannot be read, to root either
                (process / file).mkdir()
            else:
                (process / file).write_text(content)
        for number, link in enumerate(links):
            (process / "fd" / str(number)).symlink_to(link)
        return process

    monkeypatch.setattr(_processes, "PROC", str(tmp_path))
    make(1)
    make(os.getpid())
    return make


def test_processes_that_may_not_be_looked_into_are_counted(proc):
    assert lifetime.survey().hidden == 0
    proc(BEYOND + 7, maps=None)
    proc(BEYOND + 8, maps=None)
    proc(BEYOND + 9, maps=None, cmdline="")  # a thread of the kernel
    assert lifetime.survey().hidden == 2
    # Of which nobody can say whether they are any: there is one at least.
    proc(BEYOND + 10, maps=None, cmdline=None)
    proc(BEYOND + 11, maps=None, cmdline=None)
    assert lifetime.survey().hidden == 3


def test_processes_that_end_while_we_look(proc):
    (proc(BEYOND + 7) / "maps").unlink()
    (proc(BEYOND + 8) / "fd").rmdir()
    proc(BEYOND + 9, links=["/dev/shm/gone"])
    process = proc(
        BEYOND + 10, maps=a_line("/dev/shm/gone (deleted)", inode=5)
    )
    (process / "comm").unlink()
    found = lifetime.survey()
    assert (found.hidden, found.deleted) == (0, [])


def a_line(path, inode):
    device = DEV_SHM.stat().st_dev
    device = f"{os.major(device):02x}:{os.minor(device):02x}"
    return f"7f0000-7f1000 rw-s 00000000 {device} {inode}    {path}\n"


def test_descriptor_where_names_are_mounted_elsewhere(private, tmp_path):
    """As a chroot has them."""
    private.file("here")
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    shm = tmp_path / "dev" / "shm"
    chroot = private.within(f"mount --bind /dev/shm {shm}")
    code = "import sys; file = open(sys.argv[1]); print('on')"
    with chroot.running(code, shm / "here") as (child, _):
        there = (
            "[[p.pid, p.open] for s in found.segments for p in s.processes]"
        )
        assert private.survey(there) == [[child.pid, True]]


def test_file_systems_that_may_not_answer_are_not_asked(tmp_path, monkeypatch):
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    asked = []

    def status(glimpse, number):
        if glimpse.pid == os.getpid():
            asked.append(number)

    monkeypatch.setattr(_processes.Glimpse, "status", status)
    with (tmp_path / "dev" / "shm" / "file").open("w") as file:
        lifetime.survey(everywhere=True)
        assert str(file.fileno()) not in asked


def test_thousands_of_mappings(proc):
    first = 1 << 40
    lines = [
        a_line(f"/dev/shm/{i} (deleted)", first + i) for i in range(60000)
    ]
    proc(BEYOND + 7, maps="".join(lines), command="many\n")
    found = lifetime.survey()
    assert len(found.deleted) == 60000
    assert found.deleted[-1].processes == (
        shmemext.Process(BEYOND + 7, "many", True, False),
    )


def test_no_proc(tmp_path, monkeypatch):
    monkeypatch.setattr(_processes, "PROC", str(tmp_path / "none"))
    found = lifetime.survey(everywhere=True)
    assert (found.hidden, found.deleted, found.elsewhere) == (1, [], [])


@pytest.mark.parametrize(
    ("options", "hides"),
    [
        ("rw", False),
        ("rw,hidepid=2", True),
        ("rw,hidepid=invisible", True),
        ("rw,gid=4242,hidepid=invisible", True),
        ("rw,gid=1234,hidepid=invisible", False),
    ],
)
def test_proc_that_is_mounted_to_hide(proc, monkeypatch, options, hides):
    """From all but one group."""
    folder = proc("self").parent
    (folder / "self" / "mountinfo").write_text(
        f"1 1 0:5 / {folder} rw - proc proc {options}\n"
    )
    monkeypatch.setattr(os, "getegid", lambda: 1)
    monkeypatch.setattr(os, "getgroups", lambda: [12, 1234])
    assert _processes._is_mounted_to_hide() is hides
