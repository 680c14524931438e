# SPDX-License-Identifier: MIT
"""Whose a name is: families and their ledgers, as one sees them from outside.

They are explained in csrc/core/life/family.h and ledger.h. Looking disturbs
nobody: no lock is taken, F_OFD_GETLK of fcntl(2) tells who has one.

Anybody may put anything into the directory where names live, and root reads
all of it. So what is not as the library makes it is passed over, nothing is
opened through a link or waited for, and no more of a file is read than a
ledger can have.
"""

import errno
import fcntl
import os
import pwd
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from . import _shmemext

DIRECTORY = _shmemext.DIRECTORY
FAMILY_PREFIX = ".shmemext-"
_FAMILY = re.compile(r"\.shmemext-2-([0-9a-f]{32})")  # of this version
_LEDGER = re.compile(r"l.{16}", re.DOTALL)
_LOCKS = {".lock", ".reaper", ".users"}

_RECORD = struct.Struct("=QQ256s")  # inode, when it was born, name
_MOST_BYTES = 512 * _RECORD.size + os.sysconf("SC_PAGE_SIZE")
_MOST_GONE = 1 << 16  # names that nobody has to be told of

_FLOCK = struct.Struct("hhqqi4x")
_ASK = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # of all the file


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
    reaper: bool
    """A reaper waits for its end. Without one, what it owns stays after a
    kill, until the next sweep."""


# Where programs import it from, and pickles look for it.
Family.__module__ = "shmemext.lifetime"


class Families:
    """The families that own any of the names, as far as we may read."""

    def __init__(self, names: dict[str, os.stat_result]) -> None:
        # uids of whom something cannot be read that may be a ledger.
        self.unreadable: set[int] = set()
        # What inodes were called that have lost their name: the creator's
        # mapping does not say.
        self.gone: dict[int, str] = {}
        # Directories of this user that another version made, or will.
        self.other_versions: list[str] = []
        self._owners: dict[tuple[str, int], Family] = {}
        self._own = _shmemext._own()
        with os.scandir(DIRECTORY) as entries:
            for entry in entries:
                if entry.name.startswith(FAMILY_PREFIX):
                    with suppress(FileNotFoundError):
                        self._look_at(entry, names)
        self.other_versions.sort()

    def owner_of(self, name: str, status: os.stat_result) -> Family | None:
        return self._owners.get((name, status.st_ino))

    def _look_at(
        self, entry: "os.DirEntry[str]", names: dict[str, os.stat_result]
    ) -> None:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            return
        family = _FAMILY.fullmatch(entry.name)
        if family is None:
            if status.st_uid == os.geteuid():
                self.other_versions.append(entry.name)
        elif status.st_mode & 0o077 == 0:
            try:
                self._read(family[1], entry.path, names)
            except OSError as error:
                if _is_unreadable(error):
                    self.unreadable.add(status.st_uid)

    def _read(
        self, id: str, path: str, names: dict[str, os.stat_result]
    ) -> None:
        with _opened(path, os.O_DIRECTORY) as directory:
            status = os.fstat(directory)
            owned: dict[tuple[str, int], None] = {}
            for name, inode in self._records(directory, status.st_uid):
                # What another user's family claims need not be true. When the
                # file was born, os.stat() does not say: the sweep, which
                # knows, compares that too.
                if _is(names.get(name), status.st_dev, inode):
                    if status.st_uid in (0, names[name].st_uid):
                        owned[name, inode] = None
                elif (
                    status.st_uid in (0, os.geteuid())
                    and len(self.gone) < _MOST_GONE
                ):
                    self.gone[inode] = name
            if owned:
                family = self._family(id, status.st_uid, directory)
                self._owners.update(dict.fromkeys(owned, family))

    def _records(self, directory: int, uid: int) -> Iterator[tuple[str, int]]:
        with os.scandir(directory) as files:
            for file in files:
                if not _LEDGER.fullmatch(file.name):
                    continue
                try:
                    content = _content(file.name, directory)
                except OSError as error:
                    if _is_unreadable(error):
                        self.unreadable.add(uid)
                    continue
                whole = len(content) // _RECORD.size * _RECORD.size
                for inode, _, name in _RECORD.iter_unpack(content[:whole]):
                    if inode != 0:
                        yield os.fsdecode(name.partition(b"\0")[0]), inode

    def _family(self, id: str, uid: int, directory: int) -> Family:
        own = id == self._own
        return Family(
            id=id,
            uid=uid,
            owner=user_name(uid),
            alive=own or _is_alive(directory),
            own=own,
            reaper=_is_locked(".reaper", directory),
        )


def is_of_family(file: str) -> bool:
    """In a family's directory: is it no memory, but of the library's own?"""
    return file in _LOCKS or _LEDGER.fullmatch(file) is not None


def _is(status: os.stat_result | None, device: int, inode: int) -> bool:
    return status is not None and (status.st_dev, status.st_ino) == (
        device,
        inode,
    )


def _is_unreadable(error: OSError) -> bool:
    """Or is it nothing of ours, or gone? Raises what is no fault of the
    file's: a name whose owner is not known must not be taken for nobody's."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise error
    return error.errno not in (
        errno.ENOENT,
        errno.ELOOP,  # a link
        errno.ENOTDIR,
        errno.ENXIO,  # a socket
    )


def open_to_read(
    path: str, flags: int = 0, directory: int | None = None
) -> int:
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(path, flags, dir_fd=directory)


@contextmanager
def _opened(
    path: str, flags: int = 0, directory: int | None = None
) -> Iterator[int]:
    descriptor = open_to_read(path, flags, directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _content(file: str, directory: int) -> bytes:
    """Of a ledger; of anything else, nothing."""
    with _opened(file, directory=directory) as descriptor:
        status = os.fstat(descriptor)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_size > _MOST_BYTES
            or status.st_blocks == 0  # only a hole: millions may be made
        ):
            return b""
        return os.pread(descriptor, status.st_size, 0)


def _lock_type(descriptor: int) -> int:
    """How others have locked it: F_RDLCK, F_WRLCK or F_UNLCK."""
    told = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _ASK)
    return int(_FLOCK.unpack(told)[0])


def _is_locked(file: str, directory: int) -> bool:
    """A file that is there, and is one, and is locked, as far as one can
    say."""
    try:
        with _opened(file, directory=directory) as descriptor:
            return (
                stat.S_ISREG(os.fstat(descriptor).st_mode)
                and _lock_type(descriptor) != fcntl.F_UNLCK
            )
    except OSError as error:
        return _is_unreadable(error)


def _is_alive(directory: int) -> bool:
    """As the sweep has it (sweep.c): does anybody share .lock? Where that is
    something else, nobody can say. Where somebody has removed it, a reaper
    or a ledger's writer still shows."""
    try:
        with _opened(".lock", directory=directory) as lock:
            if not stat.S_ISREG(os.fstat(lock).st_mode):
                return True
            return _lock_type(lock) == fcntl.F_RDLCK
    except FileNotFoundError:
        return _is_alive_without_lock(directory)
    except OSError:
        return True


def _is_alive_without_lock(directory: int) -> bool:
    if _is_locked(".reaper", directory):
        return True
    with os.scandir(directory) as files:
        return any(
            _LEDGER.fullmatch(file.name) and _is_locked(file.name, directory)
            for file in files
        )


def user_name(uid: int) -> str:
    if uid not in _user_names:
        try:
            _user_names[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            _user_names[uid] = str(uid)
    return _user_names[uid]


_user_names: dict[int, str] = {}
