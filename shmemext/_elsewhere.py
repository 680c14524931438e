# SPDX-License-Identifier: MIT
"""Memory of ours that is not in /dev/shm: /proc says who has which."""

import os
import re
from dataclasses import dataclass, field
from typing import Literal

from ._ledgers import user_name
from ._processes import (
    DELETED,
    Glimpse,
    Holders,
    Process,
    lines_of,
    path_in,
    reach_of,
)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A MappedFile or an AnonymousMemory that some process has open."""

    kind: Literal["file", "anonymous"]
    name: str
    """A file's path, as its process has it, and " (deleted)" behind it where
    it has none any more. Of anonymous memory, what it was created as."""
    size: int
    """Bytes; whole pages where no descriptor tells, as far as mapped."""
    held: int | None
    """Bytes of memory and swap that its pages take. None: nobody has a
    descriptor that tells, or it is a file's, whose pages are the system's."""
    inode: int
    uid: int | None
    owner: str | None
    """Whose it is, and None as above."""
    processes: tuple[Process, ...]
    """Who has it open, by pid, as far as we may look."""


_MEMORY = "/memfd:shmemext" + DELETED  # see os_linux_memory.c
_MEMORY_LINE = lines_of(rb"\S+", rb"\S+", re.escape(_MEMORY.encode()))
# Of a process that has loaded us, in whichever build.
_US = re.compile(rb"/_shmemext\.[^/\n]*so(?: \(deleted\))?$", re.MULTILINE)
_FILE_LINE = lines_of(rb"\S+", rb"\S\S\Ss", rb"/.*")
# What is mapped and no file: other shared memory, devices, and buffers of the
# kernel. And files that the C library maps by itself, for iconv(3).
_NO_FILE = re.compile(
    r"/dev/|/SYSV|/memfd:|/anon_hugepage|/\[|/dmabuf:|/i915|/drm mm|"
    r".*/gconv-modules\.cache",
    re.DOTALL,
)

_Key = tuple[int, int]  # device and inode


@dataclass(slots=True)
class _Found:
    kind: Literal["file", "anonymous"]
    names: set[str] = field(default_factory=set)
    size: int = 0
    status: os.stat_result | None = None


class Others:
    """Collects it, from what /proc says of each process.

    Anonymous memory is told by what it was created as, in whatever process.
    A file is told by its mapping, which is shared, as a library's is not, in
    a process that has loaded us: so one that the program maps by other means
    is among them. Neither is seen while nobody but a queue or a socket has
    its descriptor."""

    def __init__(self, device: int) -> None:
        self._device = device  # of /dev/shm, which is not elsewhere
        self._found: dict[_Key, _Found] = {}
        self._holders = Holders[_Key]()

    def look(self, glimpse: Glimpse) -> None:
        mapped: set[_Key] = set()
        paths: dict[str, _Key] = {}
        if _MEMORY.encode() in glimpse.maps:
            for line in _MEMORY_LINE.finditer(glimpse.maps):
                mapped.add(self._note("anonymous", line))
        if _US.search(glimpse.maps):
            for line in _FILE_LINE.finditer(glimpse.maps):
                path = path_in(line)
                if not _NO_FILE.match(path):
                    key = _key(line)
                    if key[0] != self._device:
                        paths[path] = self._note("file", line)
        mapped.update(paths.values())
        self._holders.note(glimpse, mapped, self._opened(glimpse, paths))

    def _note(
        self, kind: Literal["file", "anonymous"], line: re.Match[bytes]
    ) -> _Key:
        key = _key(line)
        found = self._found.setdefault(key, _Found(kind))
        found.names.add(path_in(line))
        found.size = max(found.size, reach_of(line))
        return key

    def _opened(self, glimpse: Glimpse, paths: dict[str, _Key]) -> set[_Key]:
        opened = set()
        for number, path in glimpse.links:
            if path in paths:
                opened.add(paths[path])
            elif path == _MEMORY:
                status = glimpse.status(number)
                if status is not None:
                    key = (status.st_dev, status.st_ino)
                    found = self._found.setdefault(key, _Found("anonymous"))
                    found.status = status
                    opened.add(key)
        return opened

    def found(self) -> list[Elsewhere]:
        found = [self._elsewhere(key, one) for key, one in self._found.items()]
        return sorted(found, key=lambda one: (one.kind, one.name, one.inode))

    def _elsewhere(self, key: _Key, found: _Found) -> Elsewhere:
        status = found.status
        return Elsewhere(
            kind=found.kind,
            name="shmemext" if found.kind == "anonymous" else min(found.names),
            size=found.size if status is None else status.st_size,
            held=None if status is None else status.st_blocks * 512,
            inode=key[1],
            uid=None if status is None else status.st_uid,
            owner=None if status is None else user_name(status.st_uid),
            processes=self._holders.of(key),
        )


def _key(line: re.Match[bytes]) -> _Key:
    major, _, minor = line["device"].partition(b":")
    return os.makedev(int(major, 16), int(minor, 16)), int(line["inode"])
