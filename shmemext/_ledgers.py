# SPDX-License-Identifier: MIT
"""Whose a name is: families and their ledgers, as one sees them from outside.

They are explained in csrc/core/life/family.h and ledger.h. Only asking whether
a family is alive disturbs it, for microseconds: by trying to lock its .lock.
"""

import fcntl
import os
import pwd
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import _shmemext

DIRECTORY = Path(_shmemext.DIRECTORY)
FAMILY_PREFIX = ".shmemext-"
_VERSION = "2-"  # of all that is in a family's directory

_LEDGER = re.compile(r"l.{16}", re.DOTALL)
_FLOCK = struct.Struct("hhqqi4x")
_WHOLE = (os.SEEK_SET, 0, 0, 0)
_RECORD = struct.Struct("=QQ256s")


@dataclass(frozen=True, slots=True)
class Family:
    """A process and all that multiprocessing started from it, or it forked."""

    id: str
    """32 hexadecimal digits, as in the name of its directory."""
    uid: int
    owner: str
    """Whose it is: the user's name, or the uid where it has none."""
    alive: bool
    """False: every process of it is gone, and what it owns may go."""
    own: bool
    """The caller's own."""


# Where programs import it from, and pickles look for it.
Family.__module__ = "shmemext.lifetime"


class Families:
    """The families that own any of the names, as far as we may read."""

    def __init__(self, names: dict[str, os.stat_result]) -> None:
        self.unreadable: set[int] = set()  # uids with a directory that is
        # What inodes were called that have lost their name: the creator's
        # mapping does not say.
        self.gone: dict[int, str] = {}
        self._owners: dict[tuple[str, int], Family] = {}
        self._own = _shmemext._own()
        with os.scandir(DIRECTORY) as entries:
            for entry in entries:
                if entry.name.startswith(FAMILY_PREFIX + _VERSION):
                    with suppress(FileNotFoundError):
                        self._read(entry, names)

    def owner_of(self, name: str, status: os.stat_result) -> Family | None:
        return self._owners.get((name, status.st_ino))

    def _read(
        self,
        entry: "os.DirEntry[str]",
        names: dict[str, os.stat_result],
    ) -> None:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o077:
            return
        try:
            directory = open_to_read(entry.path, os.O_DIRECTORY)
        except PermissionError:
            self.unreadable.add(status.st_uid)
            return
        try:
            uid = os.fstat(directory).st_uid
            owned = []
            for name, inode in _records(directory):
                # What another user's family claims need not be true.
                if name in names and names[name].st_ino == inode:
                    if uid in (0, names[name].st_uid):
                        owned.append((name, inode))
                elif uid in (0, os.geteuid()):
                    self.gone[inode] = name
            if owned:
                family = self._family(entry.name, uid, directory)
                self._owners.update(dict.fromkeys(owned, family))
        finally:
            os.close(directory)

    def _family(self, directory_name: str, uid: int, directory: int) -> Family:
        id = directory_name.removeprefix(FAMILY_PREFIX + _VERSION)
        own = id == self._own
        return Family(
            id=id,
            uid=uid,
            owner=user_name(uid),
            alive=own or _is_alive(directory),
            own=own,
        )


def open_to_read(
    path: str, flags: int = 0, directory: int | None = None
) -> int:
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(path, flags, dir_fd=directory)


def _records(directory: int) -> Iterator[tuple[str, int]]:
    for file in os.listdir(directory):
        if not _LEDGER.fullmatch(file):
            continue
        with suppress(OSError):
            descriptor = open_to_read(file, directory=directory)
            try:
                size = os.fstat(descriptor).st_size
                content = os.pread(descriptor, size, 0)
            finally:
                os.close(descriptor)
            whole = len(content) // _RECORD.size * _RECORD.size
            for inode, _, name in _RECORD.iter_unpack(content[:whole]):
                if inode != 0:
                    yield os.fsdecode(name.partition(b"\0")[0]), inode


def _is_alive(directory: int) -> bool:
    """Does anybody share .lock? Asking disturbs nobody, see F_OFD_GETLK in
    fcntl(2)."""
    try:
        lock = open_to_read(".lock", directory=directory)
    except FileNotFoundError:
        return False
    try:
        flock = fcntl.fcntl(
            lock, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, *_WHOLE)
        )
        return bool(_FLOCK.unpack(flock)[0] == fcntl.F_RDLCK)
    finally:
        os.close(lock)


def user_name(uid: int) -> str:
    if uid not in _user_names:
        try:
            _user_names[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            _user_names[uid] = str(uid)
    return _user_names[uid]


_user_names: dict[int, str] = {}
