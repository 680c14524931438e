# SPDX-License-Identifier: MIT
"""What lifetime.survey() tells beside segments: the room there is, memory
elsewhere, who has it; and what it makes of /proc, whatever is in it."""

import json
import mmap
import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import machine as machines
import pytest
from conftest import DEV_SHM
from machine import NOBODY

import shmemext
from shmemext import (
    AnonymousMemory,
    MappedFile,
    SharedMemory,
    _processes,
    _survey,
    lifetime,
)

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="module")
def computer():
    yield from machines.boot.__wrapped__()


@pytest.fixture
def private(computer):
    if not computer.private:
        pytest.skip("no /dev/shm of our own: no right to make namespaces")
    yield computer
    computer.clean()


def within(machine, mount):
    """That machine, after such commands of a shell have changed what is
    mounted, for what runs on it alone."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    enter = [*machine.enter, *unshare, "sh", "-c", f'{mount} && exec "$@"']
    return machines.Machine([*enter, "sh"], machine.shm, private=True)


def told(machine, expression, **options):
    """Of a survey, made there."""
    done = machine.run(
        "-c",
        "import json\n"
        "from dataclasses import asdict\n"
        "from shmemext import lifetime\n"
        "found = lifetime.survey()\n"
        f"print(json.dumps({expression}))",
        **options,
    )
    return json.loads(done.stdout)


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
    small = within(
        private, "mount -t tmpfs -o size=1m,nr_inodes=50 tmpfs /dev/shm"
    )
    room = told(small, "asdict(found.room)")
    assert room.pop("free") in range((1 << 20) - 8 * PAGE, 1 << 20 | 1)
    assert room.pop("inodes_free") in range(40, 51)
    assert room == {"total": 1 << 20, "inodes_total": 50}


def test_room_without_a_limit(private):
    endless = within(
        private, "mount -t tmpfs -o size=0,nr_inodes=0 tmpfs /dev/shm"
    )
    room = told(endless, "asdict(found.room)")
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
    done = within(private, mount).run(
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


# --- memory elsewhere


def elsewhere(**options):
    options = {"everywhere": True, **options}
    return lifetime.survey(**options).elsewhere


def of_inode(inode):
    return [one for one in elsewhere() if one.inode == inode]


@contextmanager
def forked():
    """A child that has what we have."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    try:
        yield child
    finally:
        os.close(theirs)
        os.waitpid(child, 0)


def test_nothing_is_elsewhere_unless_asked():
    with closing(AnonymousMemory(10)):
        assert elsewhere(everywhere=False) == []


def test_anonymous_memory():
    with closing(AnonymousMemory(5000)) as memory, forked() as child:
        inode = os.fstat(memory.fileno()).st_ino
        (one,) = of_inode(inode)
        assert (one.kind, one.name) == ("anonymous", "shmemext")
        assert (one.size, one.held) == (5000, 2 * PAGE)
        assert one.uid == os.geteuid()
        assert one.owner
        assert [p.pid for p in one.processes] == sorted([os.getpid(), child])
        assert all(p.mapped and p.open for p in one.processes)
    assert of_inode(inode) == []


def test_anonymous_memory_without_a_descriptor():
    memory = AnonymousMemory(5000)
    inode = os.fstat(memory.fileno()).st_ino
    view = memory.buf[:1]
    memory.close()
    (one,) = of_inode(inode)
    assert (one.size, one.held, one.uid, one.owner) == (
        2 * PAGE,
        None,
        None,
        None,
    )
    assert [(p.mapped, p.open) for p in one.processes] == [(True, False)]
    view.release()


def test_anonymous_memory_of_other_programs_is_not_ours():
    file = os.memfd_create("shmemext2")
    try:
        assert of_inode(os.fstat(file).st_ino) == []
    finally:
        os.close(file)


@pytest.mark.parametrize("file", ["plain", "new\nline", "cr\rhere", b"\xff"])
def test_mapped_file(tmp_path, file):
    path = str(tmp_path / os.fsdecode(file))
    with (
        closing(MappedFile(path, create=True, size=5000)) as mapped,
        forked() as child,
    ):
        status = Path(path).stat()
        (one,) = of_inode(status.st_ino)
        # To its creator alone it is # and its inode.
        assert (one.kind, one.name) == ("file", path)
        assert one.size == 5000
        assert one.held == status.st_blocks * 512
        assert one.uid == status.st_uid
        assert [p.pid for p in one.processes] == sorted([os.getpid(), child])
        assert not any(p.open for p in one.processes)
        mapped.fileno()
        (one,) = of_inode(status.st_ino)
        assert [p.open for p in one.processes if p.pid == os.getpid()] == [
            True
        ]


def test_mapped_file_by_those_that_attach(tmp_path):
    path = tmp_path / "file"
    with closing(MappedFile(path, create=True, size=5000)):
        pass
    with closing(MappedFile(path, readonly=True)):
        inode = path.stat().st_ino
        (one,) = of_inode(inode)
        assert (one.name, one.size) == (str(path), 5000)
        path.unlink()
        (one,) = of_inode(inode)
        assert one.name == f"{path} (deleted)"
        assert (one.size, one.held, one.owner) == (2 * PAGE, None, None)
        path.write_bytes(b"another")
        assert of_inode(inode) == [one]


def test_mapped_file_that_only_its_creator_had(tmp_path):
    path = tmp_path / "file"
    with closing(MappedFile(path, create=True, size=5000)):
        inode = path.stat().st_ino
        path.unlink()
        (one,) = of_inode(inode)
        assert one.name == f"{tmp_path}/#{inode} (deleted)"


def test_what_is_mapped_and_no_mapped_file(tmp_path):
    """A mapping that is private, as a library's; and one of a process that
    has never heard of us."""
    path = tmp_path / "file"
    path.write_bytes(b"1" * 5000)
    inode = path.stat().st_ino
    code = (
        "import mmap, sys; file = open(sys.argv[1], 'r+b')\n"
        "view = mmap.mmap(file.fileno(), 0); print(flush=True); input()"
    )
    with (
        path.open("r+b") as file,
        mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE),
        mmap.mmap(-1, 5000),
        SharedMemory(create=True, size=1) as segment,
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as stranger,
    ):
        stranger.stdout.readline()
        mapped = (DEV_SHM / segment.name).stat().st_ino
        found = elsewhere()
        stranger.communicate(b"\n")
        segment.unlink()
    assert not {one.inode for one in found} & {inode, mapped}
    assert not [one for one in found if "/dev/" in one.name]


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
        assert told(private, "[asdict(one) for one in found.deleted]") == []
        assert private.cli("ls").stdout.count("\n") == 1


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
        assert len(told(private, "[one.name for one in found.deleted]")) == (
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
    assert told(private, "[s.kind for s in found.segments]") == [kind]


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
            assert told(
                private,
                "[[s.name, [p.pid for p in s.processes]]"
                " for s in found.segments]",
            ) == [[name, [child.pid]]]
            inode = (private.shm / name).stat().st_ino
            (private.shm / name).unlink()
            assert told(private, "[one.name for one in found.deleted]") == [
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
        assert told(private, there) == [[name, child.pid]]
        path.unlink()
        # A map has an escape for the newline, and none for the escape.
        assert told(private, "[one.name for one in found.deleted]") in (
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
    proc(7, maps=None)
    proc(8, maps=None)
    proc(9, maps=None, cmdline="")  # a thread of the kernel
    assert lifetime.survey().hidden == 2
    # Of which nobody can say whether they are any: there is one at least.
    proc(10, maps=None, cmdline=None)
    proc(11, maps=None, cmdline=None)
    assert lifetime.survey().hidden == 3


def test_processes_that_end_while_we_look(proc):
    (proc(7) / "maps").unlink()
    (proc(8) / "fd").rmdir()
    proc(9, links=["/dev/shm/gone"])
    process = proc(10, maps=a_line("/dev/shm/gone (deleted)", inode=5))
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
    chroot = within(private, f"mount --bind /dev/shm {shm}")
    code = "import sys; file = open(sys.argv[1]); print('on')"
    with chroot.running(code, shm / "here") as (child, _):
        there = (
            "[[p.pid, p.open] for s in found.segments for p in s.processes]"
        )
        assert told(private, there) == [[child.pid, True]]


def test_file_systems_that_may_not_answer_are_not_asked(tmp_path, monkeypatch):
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    asked = []

    def status(glimpse, number):
        if glimpse.pid == os.getpid():
            asked.append(number)

    monkeypatch.setattr(_processes.Glimpse, "status", status)
    with (tmp_path / "dev" / "shm" / "file").open("w"):
        lifetime.survey(everywhere=True)
    assert asked == []


def test_thousands_of_mappings(proc):
    first = 1 << 40
    lines = [
        a_line(f"/dev/shm/{i} (deleted)", first + i) for i in range(60000)
    ]
    proc(7, maps="".join(lines), command="many\n")
    found = lifetime.survey()
    assert len(found.deleted) == 60000
    assert found.deleted[-1].processes == (
        shmemext.Process(7, "many", True, False),
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
