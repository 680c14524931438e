# SPDX-License-Identifier: MIT
"""What is in /dev/shm, whose it is, and what nobody will miss.

Nothing here disturbs what it looks at, with two exceptions that last
microseconds: whether a family is alive is asked by trying to lock its .lock
(_ledgers.py), and whether any process at all has a segment open, by asking
for a lease.
"""

import errno
import fcntl
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from ._ledgers import (
    DIRECTORY,
    FAMILY_PREFIX,
    Families,
    Family,
    open_to_read,
    user_name,
)
from ._processes import Deleted, Process, Users
from ._shmemext import _sweep

__all__ = ["Collected", "Family", "Process", "Segment", "collect", "segments"]

_STDLIB_PREFIX = "psm_"
_SEMAPHORE_PREFIX = "sem."


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
    families = Families(names)
    names = {
        name: status
        for name, status in sorted(names.items())
        if families.owner_of(name, status) is not None
        or _stands_for(name, status.st_ino)
    }
    users = Users(device, {status.st_ino for status in names.values()})
    # Who had no name may have been given one since.
    named = {status.st_ino for _, status in _names()}
    deleted = users.deleted(named, families.gone)
    now = time.time()
    found = [
        _segment(name, status, families, users, now)
        for name, status in names.items()
    ]
    return Survey(found, deleted, users.hidden)


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
    families: Families,
    users: Users,
    now: float,
) -> Segment:
    family = families.owner_of(name, status)
    return Segment(
        name=name,
        size=status.st_size,
        held=status.st_blocks * 512,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        owner=user_name(status.st_uid),
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
        file = open_to_read(str(path))
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
