# SPDX-License-Identifier: MIT
"""Memory of ours that is not in /dev/shm: /proc says who has which."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from ._ledgers import user_name
from ._processes import (
    DELETED,
    PROC,
    Glimpse,
    Holders,
    Process,
    device_of,
    lines_of,
    mounts,
    path_in,
    reach_of,
)

_Kind = Literal["file", "anonymous"]
_File = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A MappedFile or an AnonymousMemory that some process has open.

    Anonymous memory is told by what it was created as, in whatever process.
    A file is told by its mapping, which is shared, as a library's is not, in
    a process that has loaded us: so one that the program maps by other means
    is among them. Neither is seen while nobody but a queue or a socket has
    its descriptor."""

    kind: Literal["file", "anonymous"]
    name: str
    """A file's path, as its process has it, and " (deleted)" behind it where
    it has none any more. Of anonymous memory, what it was created as."""
    size: int
    """Bytes. Whole pages, as far as they are mapped, where nothing tells:
    anonymous memory of which nobody has a descriptor, and files on what may
    be another machine, which might not answer."""
    held: int | None
    """Bytes that are taken for it: of memory and swap, or of the disk. None
    where nothing tells."""
    inode: int
    uid: int | None
    owner: str | None
    """Whose it is: the user's name, or the uid where it has none; or None, as
    above."""
    processes: tuple[Process, ...]
    """Who has it open, by pid, as far as we may look."""


_MEMORY = "/memfd:shmemext" + DELETED  # see os_linux_memory.c
_MEMORY_LINE = lines_of(rb"\S+", rb"\S+", re.escape(_MEMORY.encode()))
# Of a process that has loaded us, in whichever build.
_US = re.compile(rb"/_shmemext\.[^/\n]*so(?: \(deleted\))?$", re.MULTILINE)
_FILE_LINE = lines_of(rb"\S+", rb"\S\S\Ss", rb"/.*")
# What is mapped and no file: other shared memory, devices, and buffers of the
# kernel. And what the C library maps by itself, for iconv(3).
_NO_FILE = re.compile(
    r"/dev/|/SYSV|/memfd:|/anon_hugepage|/\[|/dmabuf:|/i915|/drm mm|"
    r".*/gconv-modules\.cache",
    re.DOTALL,
)
# Without a block device, and yet of this machine.
_LOCAL = {"bcachefs", "btrfs", "overlay", "tmpfs", "zfs"}


@dataclass(slots=True)
class _Found:
    kind: _Kind
    paths: set[tuple[str, int]] = field(default_factory=set)  # with whose pid
    size: int = 0
    status: os.stat_result | None = None


class Others:
    """Collects it, from what /proc says of each process."""

    def __init__(self, device: int) -> None:
        self._device = device  # of /dev/shm, which is not elsewhere
        self._found: dict[_File, _Found] = {}
        self._holders = Holders[_File]()

    def look(self, glimpse: Glimpse) -> None:
        mapped: set[_File] = set()
        paths: dict[str, _File] = {}
        if _MEMORY.encode() in glimpse.maps:
            for line in _MEMORY_LINE.finditer(glimpse.maps):
                mapped.add(self._note("anonymous", line, glimpse.pid))
        if _US.search(glimpse.maps):
            for line in _FILE_LINE.finditer(glimpse.maps):
                path = path_in(line)
                if _NO_FILE.match(path) or _file(line)[0] == self._device:
                    continue
                paths[path] = self._note("file", line, glimpse.pid)
        mapped.update(paths.values())
        self._holders.note(glimpse, mapped, self._opened(glimpse, paths))

    def _note(self, kind: _Kind, line: re.Match[bytes], pid: int) -> _File:
        file = _file(line)
        found = self._found.setdefault(file, _Found(kind))
        found.paths.add((path_in(line), pid))
        found.size = max(found.size, reach_of(line))
        return file

    def _opened(self, glimpse: Glimpse, paths: dict[str, _File]) -> set[_File]:
        opened = set()
        # In which directory a file was made without a name, and which.
        unnamed = {
            (folder, file[1]): file
            for path, file in paths.items()
            if (folder := _folder_of_unnamed(path, file[1])) is not None
        }
        folders = {folder for folder, _ in unnamed}
        for number, path in glimpse.links:
            if path in paths:
                opened.add(paths[path])
            elif path == _MEMORY:
                status = glimpse.status(number)
                if status is not None:
                    file = (status.st_dev, status.st_ino)
                    found = self._found.setdefault(file, _Found("anonymous"))
                    found.status = status
                    opened.add(file)
            elif (folder := path.rpartition("/")[0]) in folders:
                status = glimpse.status(number)
                if status is not None and (folder, status.st_ino) in unnamed:
                    opened.add(unnamed[folder, status.st_ino])
        return opened

    def found(self) -> list[Elsewhere]:
        files = {
            file: found
            for file, found in self._found.items()
            # Else it has ended, and so has the memory.
            if self._holders.of(file)
        }
        local = _local_devices() if files else set()
        _learn_names(
            (inode, found)
            for (device, inode), found in files.items()
            if _is_local(device, local)
        )
        elsewhere = []
        for (device, inode), found in files.items():
            name = "shmemext"
            if found.kind == "file":
                name, pid = _name(found)
                if _is_local(device, local):
                    found.status = _status(name, pid, inode)
            processes = self._holders.of((device, inode))
            elsewhere.append(_elsewhere(name, inode, found, processes))
        return sorted(
            elsewhere, key=lambda one: (one.kind, one.name, one.inode)
        )


def _elsewhere(
    name: str, inode: int, found: _Found, processes: tuple[Process, ...]
) -> Elsewhere:
    status = found.status
    return Elsewhere(
        kind=found.kind,
        name=name,
        size=found.size if status is None else status.st_size,
        held=None if status is None else status.st_blocks * 512,
        inode=inode,
        uid=None if status is None else status.st_uid,
        owner=None if status is None else user_name(status.st_uid),
        processes=processes,
    )


def _file(line: re.Match[bytes]) -> _File:
    major, _, minor = line["device"].partition(b":")
    return os.makedev(int(major, 16), int(minor, 16)), int(line["inode"])


def _is_local(device: int, local: set[int]) -> bool:
    """On a file system that may be asked: it will answer."""
    return os.major(device) != 0 or device in local


def _local_devices() -> set[int]:
    return {
        device_of(mount)
        for mount, file_system in mounts()
        if file_system[0] in _LOCAL
    }


def _name(found: _Found) -> tuple[str, int]:
    """Of all that it is called, and to whom: what it still is; then what it
    was; then # and its inode."""
    return max(
        found.paths,
        key=lambda one: (DELETED not in one[0], "/#" not in one[0], one),
    )


def _folder_of_unnamed(path: str, inode: int) -> str | None:
    """A file that was created without a name is # and its inode for ever to
    the process that did, in the directory where it has been given one. Such
    file systems are of this machine."""
    folder, _, name = path.rpartition("/")
    return folder if name == f"#{inode}{DELETED}" else None


def _learn_names(files: Iterable[tuple[int, _Found]]) -> None:
    """What has got a name since."""
    unnamed: dict[tuple[str, int], dict[int, _Found]] = defaultdict(dict)
    for inode, found in files:
        for path, pid in found.paths:
            folder = _folder_of_unnamed(path, inode)
            if folder is not None:
                unnamed[folder, pid][inode] = found
    for (folder, pid), inodes in unnamed.items():
        with suppress(OSError), os.scandir(_seen_by(pid, folder)) as entries:
            for entry in entries:
                if entry.inode() in inodes:
                    path = f"{folder}/{entry.name}"
                    inodes[entry.inode()].paths.add((path, pid))


def _status(path: str, pid: int, inode: int) -> os.stat_result | None:
    with suppress(OSError, ValueError):
        status = os.stat(_seen_by(pid, path))  # noqa: PTH116
        if status.st_ino == inode:
            return status
    return None


def _seen_by(pid: int, path: str) -> str:
    """Where it is from here."""
    return f"{PROC}/{pid}/root{path}"
