# SPDX-License-Identifier: MIT
"""What is in /dev/shm, whose it is, and what nobody will miss.

Families and their ledgers are explained in csrc/core/family.h and ledger.h.
Nothing here disturbs what it looks at, with two exceptions that last
microseconds: whether a family is alive is asked by trying to lock its .lock,
and whether any process at all has a segment open, by asking for a lease.
"""

import errno
import fcntl
import os
import pwd
import re
import signal
import stat
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import process as _process
from pathlib import Path
from typing import Literal

from ._family import family_id
from ._shmemext import _sweep

__all__ = ["Collected", "Family", "Process", "Segment", "collect", "segments"]

DIRECTORY = Path("/dev/shm")
FAMILY_PREFIX = ".shmemext-"
_STDLIB_PREFIX = "psm_"
_SEMAPHORE_PREFIX = "sem."

_LEDGER = re.compile(r"l.{16}", re.DOTALL)
_RECORD = struct.Struct("=Q256s")


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


@dataclass(frozen=True, slots=True)
class Process:
    """A process that has a segment open."""

    pid: int
    command: str
    """At most 15 characters, as in ps -o comm."""
    mapped: bool
    """In its memory."""
    open: bool
    """By a descriptor."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A name in /dev/shm, as it was when it was looked at."""

    name: str
    """Without a slash; undecodable bytes as os.fsdecode() has them."""
    size: int
    """Bytes."""
    held: int
    """Bytes of memory and swap that its pages really take."""
    mode: int
    """Permission bits."""
    uid: int
    owner: str
    """Whose it is: the user's name, or the uid where it has none."""
    inode: int
    changed: float
    """Unix time of its creation, or of a later resize, chmod or chown: what
    is written to the memory does not count."""
    age: float
    """Seconds from then until it was looked at."""
    kind: Literal["tracked", "untracked", "stdlib", "semaphore", "unknown"]
    """What it is, and who removes it.

    tracked: its family does. untracked: somebody has to call unlink(), or a
    tracker of the stdlib does. stdlib: the same, under a name that
    multiprocessing makes up. semaphore: it is one, of sem_open(3). unknown:
    another user's, and so are the ledgers that would say."""
    family: Family | None
    """Who owns it, where kind is "tracked"."""
    processes: tuple[Process, ...]
    """Who has it open, by pid: the processes that we may look into, in this
    pid namespace."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A name that collect() removed, would remove, or could not remove."""

    name: str
    held: int
    """Bytes, given back unless a process still has the segment open."""
    reason: Literal["dead family", "orphan"]
    processes: tuple[Process, ...]
    """Who still had it open: the memory goes when the last of them is done
    with it."""
    error: OSError | None
    """Why the name is still there; None if it is gone, or would be."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Memory without a name, which goes when its last process does."""

    name: str
    """What it was called; # and the inode if that is not known."""
    size: int
    """Bytes, as far as they are mapped."""
    processes: tuple[Process, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """All that there is to see."""

    segments: list[Segment]
    deleted: list[Deleted]
    hidden: int
    """How many processes could not be looked into: any may have any segment
    open that its user may open."""


def segments() -> list[Segment]:
    """The machine's shared memory segments and semaphores, by name.

    Reads all of /proc: some 0.1 ms for each process on the machine. What
    comes or goes meanwhile may be missing. OSError: no /dev/shm."""
    return survey().segments


def collect(
    *,
    dry_run: bool = False,
    orphans: bool = False,
    older_than: float | timedelta | None = None,
) -> list[Collected]:
    """Remove what dead families of this user left, and return what it was.

    orphans=True also removes this user's segments that no living family owns
    and no process on the machine has open or mapped, whatever program made
    them, but no semaphores; older_than, seconds or a timedelta, spares the
    younger of them. A program may mean to come back to such a segment: look
    at what dry_run=True returns, which removes nothing.

    What cannot be removed is returned with its error. ValueError: older_than
    is negative, or without orphans. OSError: a family's directory cannot be
    read. Audit event: shmemext.unlink with name and size, for each orphan."""
    seconds = _seconds(older_than)
    if older_than is not None and not orphans:
        raise ValueError("older_than is for orphans=True only")
    found = survey()
    collected = sweep(found, dry_run=dry_run)
    if orphans:
        offered = find_orphans(found, seconds)
        collected += offered if dry_run else remove_orphans(found, offered)
    return collected


def _seconds(older_than: float | timedelta | None) -> float:
    if isinstance(older_than, timedelta):
        older_than = older_than.total_seconds()
    seconds = 0.0 if older_than is None else older_than
    if not seconds >= 0:
        raise ValueError("older_than must not be negative")
    return seconds


# What there is


def survey() -> Survey:
    """Names first, ledgers second, and what no ledger has once more.

    A record is written before its name appears and struck out after it is
    gone, so the ledgers have every name that was there while they were read.
    A name that was listed before may have gone, record and all, by then: only
    what still stands for the same inode afterwards was there all the time,
    and has no owner. Inodes of tmpfs are counted up, so another file that is
    given the name has another one. What came and went is left out."""
    device = DIRECTORY.stat().st_dev
    names = dict(_names())
    families = _Families(names)
    names = {
        name: status
        for name, status in sorted(names.items())
        if families.owner_of(name, status) is not None
        or _stands_for(name, status.st_ino)
    }
    users = _Users(device, {status.st_ino for status in names.values()})
    now = time.time()
    found = [
        _segment(name, status, families, users, now)
        for name, status in names.items()
    ]
    return Survey(found, users.deleted(), users.hidden)


def _stands_for(name: str, inode: int) -> bool:
    try:
        return (DIRECTORY / name).lstat().st_ino == inode
    except FileNotFoundError:
        return False


def _names() -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(DIRECTORY) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield entry.name, status


def _segment(
    name: str,
    status: os.stat_result,
    families: "_Families",
    users: "_Users",
    now: float,
) -> Segment:
    family = families.owner_of(name, status)
    return Segment(
        name=name,
        size=status.st_size,
        held=status.st_blocks * 512,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        owner=_user(status.st_uid),
        inode=status.st_ino,
        changed=status.st_ctime,
        age=max(0.0, now - status.st_ctime),
        kind=(
            "tracked"
            if family is not None
            else "semaphore"
            if name.startswith(_SEMAPHORE_PREFIX)
            else "unknown"
            if status.st_uid in families.unreadable
            else "stdlib"
            if name.startswith(_STDLIB_PREFIX)
            else "untracked"
        ),
        family=family,
        processes=users.of(status.st_ino),
    )


def _user(uid: int) -> str:
    if uid not in _user_names:
        try:
            _user_names[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            _user_names[uid] = str(uid)
    return _user_names[uid]


_user_names: dict[int, str] = {}


# Whose it is


class _Families:
    """The families that own any of the names, as far as we may read."""

    def __init__(self, names: dict[str, os.stat_result]) -> None:
        self.unreadable: set[int] = set()  # uids with a directory that is
        self._owners: dict[tuple[str, int], Family] = {}
        authkey = _process.current_process().authkey
        self._own = family_id(authkey, os.geteuid())
        with os.scandir(DIRECTORY) as entries:
            for entry in entries:
                if entry.name.startswith(FAMILY_PREFIX):
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
            directory = _open(entry.path, os.O_DIRECTORY)
        except PermissionError:
            self.unreadable.add(status.st_uid)
            return
        try:
            uid = os.fstat(directory).st_uid
            owned = [
                (name, inode)
                for name, inode in _records(directory)
                if name in names
                and names[name].st_ino == inode
                # What another user's family claims need not be true.
                and uid in (0, names[name].st_uid)
            ]
            if owned:
                family = self._family(entry.name, uid, directory)
                self._owners.update(dict.fromkeys(owned, family))
        finally:
            os.close(directory)

    def _family(self, directory_name: str, uid: int, directory: int) -> Family:
        id = directory_name.removeprefix(FAMILY_PREFIX)
        own = id == self._own
        return Family(
            id=id,
            uid=uid,
            owner=_user(uid),
            alive=own or _is_alive(directory),
            own=own,
        )


def _open(path: str, flags: int = 0, directory: int | None = None) -> int:
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(path, flags, dir_fd=directory)


def _records(directory: int) -> Iterator[tuple[str, int]]:
    for file in os.listdir(directory):
        if not _LEDGER.fullmatch(file):
            continue
        with suppress(OSError):
            descriptor = _open(file, directory=directory)
            try:
                size = os.fstat(descriptor).st_size
                content = os.pread(descriptor, size, 0)
            finally:
                os.close(descriptor)
            whole = len(content) // _RECORD.size * _RECORD.size
            for inode, name in _RECORD.iter_unpack(content[:whole]):
                if inode != 0:
                    yield os.fsdecode(name.partition(b"\0")[0]), inode


def _is_alive(directory: int) -> bool:
    """Is the exclusive lock refused? Also for more than a moment, so that it
    was not another who asked."""
    try:
        lock = _open(".lock", directory=directory)
    except FileNotFoundError:
        return False
    try:
        for wait in (0, 0.001, 0.002):
            time.sleep(wait)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
        return True
    finally:
        os.close(lock)


# Who has it open


@dataclass(slots=True)
class _Use:
    command: str
    mapped: bool = False
    open: bool = False


@dataclass(slots=True)
class _Nameless:
    names: set[str] = field(default_factory=set)
    size: int = 0


class _Users:
    """Which processes have which files of the device open: /proc says."""

    def __init__(self, device: int, named: set[int]) -> None:
        self.hidden = 0
        self._device = device
        self._named = named
        self._uses: dict[int, dict[int, _Use]] = {}
        self._nameless: dict[int, _Nameless] = {}
        # As the maps have it, between blanks.
        major, minor = os.major(device), os.minor(device)
        self._mark = b" %02x:%02x " % (major, minor)
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                self._look_into(entry)

    def of(self, inode: int) -> tuple[Process, ...]:
        return tuple(
            Process(pid, use.command, use.mapped, use.open)
            for pid, use in sorted(self._uses.get(inode, {}).items())
        )

    def deleted(self) -> list[Deleted]:
        """Who had no name at the time may have one since."""
        named = {status.st_ino for _, status in _names()}
        return [
            Deleted(
                min(nameless.names, default=f"#{inode}"),
                nameless.size,
                self.of(inode),
            )
            for inode, nameless in sorted(self._nameless.items())
            if inode not in named
        ]

    def _look_into(self, process: Path) -> None:
        try:
            maps = (process / "maps").read_bytes()
            if self._mark in maps:
                self._read_maps(process, maps)
            self._read_descriptors(process)
        except PermissionError:
            # A thread of the kernel shows an empty map, and no descriptors.
            with suppress(OSError):
                self.hidden += (process / "cmdline").read_bytes() != b""
        except (FileNotFoundError, ProcessLookupError):
            pass

    def _read_maps(self, process: Path, maps: bytes) -> None:
        for line in maps.splitlines():
            if self._mark in line:
                area, _, offset, _, inode, *path = line.split(None, 5)
                start, _, end = area.partition(b"-")
                self._note(
                    process,
                    int(inode),
                    os.fsdecode(path[0]) if path else "",
                    int(offset, 16) + int(end, 16) - int(start, 16),
                ).mapped = True

    def _read_descriptors(self, process: Path) -> None:
        for link in (process / "fd").iterdir():
            with suppress(FileNotFoundError):
                path = str(link.readlink())
                # Others may be on a file system that does not answer.
                if "/dev/shm/" not in path:
                    continue
                status = link.stat()
                if status.st_dev == self._device:
                    self._note(
                        process, status.st_ino, path, status.st_size
                    ).open = True

    def _note(self, process: Path, inode: int, path: str, size: int) -> _Use:
        if inode not in self._named and path.endswith(" (deleted)"):
            self._note_nameless(inode, path, size)
        uses = self._uses.setdefault(inode, {})
        pid = int(process.name)
        if pid not in uses:
            command = (process / "comm").read_bytes().rstrip(b"\n")
            uses[pid] = _Use(os.fsdecode(command))
        return uses[pid]

    def _note_nameless(self, inode: int, path: str, size: int) -> None:
        folder, _, name = path.removesuffix(" (deleted)").rpartition("/")
        if Path(folder).name.startswith(FAMILY_PREFIX):
            return
        nameless = self._nameless.setdefault(inode, _Nameless())
        nameless.size = max(nameless.size, size)
        # A file that was created without a name is # and its inode for ever
        # to the process that did.
        if not name.startswith("#"):
            nameless.names.add(name)


# What may go


def sweep(found: Survey, *, dry_run: bool) -> list[Collected]:
    """What dead families left."""
    processes = {one.name: one.processes for one in found.segments}
    return [
        Collected(
            name=name,
            held=held,
            reason="dead family",
            processes=processes.get(name, ()),
            error=OSError(code, os.strerror(code), name) if code else None,
        )
        for name, held, code in sorted(_sweep(dry_run))
    ]


def find_orphans(found: Survey, older_than: float = 0.0) -> list[Collected]:
    """What no family owns and nobody has open. What could not be looked at
    has an error."""
    offered = [
        _if_orphan(segment, remove=False)
        for segment in found.segments
        if segment.uid == os.geteuid()
        and segment.kind in ("untracked", "stdlib")
        and not segment.name.startswith(FAMILY_PREFIX)
        and not segment.processes
        and segment.age >= older_than
    ]
    return [one for one in offered if one is not None]


def remove_orphans(
    found: Survey, offered: list[Collected]
) -> Iterator[Collected]:
    """Removes those that still are. What is gone, or in use again, is passed
    over."""
    by_name = {segment.name: segment for segment in found.segments}
    for one in offered:
        if one.error is None:
            removed = _if_orphan(by_name[one.name], remove=True)
            if removed is not None:
                yield removed
        else:
            yield one


def _if_orphan(segment: Segment, *, remove: bool) -> Collected | None:
    path = DIRECTORY / segment.name
    error = None
    try:
        with _lease(path, segment.inode) as granted:
            if not granted:
                return None
            if remove:
                unlink(segment)
    except FileNotFoundError:
        return None
    except OSError as failed:
        error = failed
    return Collected(segment.name, segment.held, "orphan", (), error)


def unlink(segment: Segment) -> None:
    """The name goes, whosever it is."""
    sys.audit("shmemext.unlink", segment.name, segment.size)
    (DIRECTORY / segment.name).unlink()


@contextmanager
def _lease(path: Path, inode: int) -> Iterator[bool]:
    """A write lease, which the kernel grants only while no other process has
    the file open or mapped, in whichever namespace."""
    try:
        file = _open(str(path))
    except BlockingIOError:  # somebody else has a lease
        yield False
        return
    try:
        # Who opens the file meanwhile has us told by a signal: of all that
        # there are, by one that is ignored unless somebody asks for it.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        granted = os.fstat(file).st_ino == inode == path.lstat().st_ino
        if granted:
            try:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise OSError(
                        error.errno,
                        "the system does not tell whether it is open",
                        str(path),
                    ) from None
                granted = False
        yield granted
    finally:
        os.close(file)
