# SPDX-License-Identifier: MIT
"""Which MappedFile and AnonymousMemory processes have open."""

import mmap
import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import DEV_SHM

from shmemext import AnonymousMemory, MappedFile, SharedMemory, lifetime

PAGE = mmap.PAGESIZE


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
