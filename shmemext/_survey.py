# SPDX-License-Identifier: MIT
"""All that there is to see in /dev/shm, looked at once.

Nothing here takes a lock, or disturbs what it looks at.
"""

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ._elsewhere import Elsewhere, Others
from ._ledgers import DIRECTORY, Families, user_name
from ._processes import Deleted, Users, look_into_all
from ._segment import Segment, kind_of

_Names = dict[str, os.stat_result]

# What is said of the directory itself, where the system says little.
_NOT_THERE = {
    errno.ENOENT: "there is none here, and names of shared memory are in it: "
    f"mount -t tmpfs -o mode=1777 tmpfs {DIRECTORY}",
    errno.ENOTDIR: "it is no directory, and names of shared memory are in "
    "one: put one there, and mount a tmpfs on it",
    errno.EACCES: "this user may not list it, and names of shared memory are "
    f"in it: chmod 1777 {DIRECTORY}",
}


@dataclass(frozen=True, slots=True)
class Room:
    """What the file system at /dev/shm has room for."""

    total: int | None
    """Bytes. None: it was mounted without a limit, and may take what memory
    the machine has."""
    free: int | None
    """Bytes, for this user; None as above."""
    inodes_total: int | None
    """How many names and directories there may be; None: any number."""
    inodes_free: int | None


@dataclass(frozen=True, slots=True)
class Survey:
    """All that there is to see."""

    segments: list[Segment]
    """By name."""
    deleted: list[Deleted]
    elsewhere: list[Elsewhere]
    """Memory that is not in /dev/shm, where that was asked for."""
    room: Room
    hidden: int
    """How many processes, at least, could not be looked into: any may have
    any segment open that its user may open. 1 where none was to be."""
    other_versions: list[str]
    """Directories of this user's families that another version of the library
    made. What they own cannot be known."""


def survey(
    names: Iterable[str] | None = None,
    *,
    everywhere: bool = False,
    processes: bool = True,
) -> Survey:
    """Names first, ledgers second, and what no ledger has once more.

    A record is written before its name appears and struck out after it is
    gone, so the ledgers have every name that was there while they were read.
    A name that was listed before may have gone, record and all, by then: only
    what still stands for the same inode afterwards was there all the time,
    and has no owner. Inodes of tmpfs are counted up, so another file that is
    given the name has another one. What came and went is left out.

    With `names`, bare ones, nothing is looked at but these, and memory that
    was called so; what cannot be a name is none. everywhere=True finds memory
    elsewhere too. processes=False leaves /proc alone, and finds nobody who
    has anything open. OSError: no /dev/shm, or what is in it cannot be
    listed."""
    asked = None if names is None else set(names)
    with _explaining():
        room = _room()
        device = os.stat(DIRECTORY).st_dev  # noqa: PTH116
        there = dict(_listed() if asked is None else _looked_up(asked))
        families = Families(there)
    there = {
        name: status
        for name, status in sorted(there.items())
        if families.owner_of(name, status) is not None
        or _stands_for(name, status.st_ino)
    }
    users = Users(device, {status.st_ino for status in there.values()})
    others = Others(device)
    hidden = 1
    if processes:
        lookers = [users.look, others.look] if everywhere else [users.look]
        hidden = look_into_all(lookers)
    deleted = users.deleted(
        _named(users.nameless) if users.nameless else set(), families.gone
    )
    return Survey(
        segments=_segments(there, families, users),
        deleted=[one for one in deleted if asked is None or one.name in asked],
        elsewhere=others.found(),
        room=room,
        hidden=hidden,
        other_versions=families.other_versions,
    )


@contextmanager
def _explaining() -> Iterator[None]:
    """What is the matter with the directory, in a sentence."""
    try:
        yield
    except OSError as error:
        text = _NOT_THERE.get(error.errno or 0)
        if text is not None and str(error.filename).startswith(DIRECTORY):
            raise OSError(error.errno, text, DIRECTORY) from None
        raise


def _room() -> Room:
    """A tmpfs that has no limit has no blocks, or inodes, at all."""
    told = os.statvfs(DIRECTORY)
    total, free = None, None
    if told.f_blocks != 0:
        total = told.f_blocks * told.f_frsize
        free = told.f_bavail * told.f_frsize
    inodes_total, inodes_free = None, None
    if told.f_files != 0:
        inodes_total, inodes_free = told.f_files, told.f_favail
    return Room(total, free, inodes_total, inodes_free)


def _listed() -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(DIRECTORY) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield entry.name, status


def _looked_up(names: set[str]) -> Iterator[tuple[str, os.stat_result]]:
    for name in names:
        status = _status(name) if "/" not in name else None
        if status is not None and stat.S_ISREG(status.st_mode):
            yield name, status


def _status(name: str) -> os.stat_result | None:
    """None: there is no such name, or it can be none: it has a NUL, or no
    bytes at all, or too many."""
    try:
        return os.lstat(f"{DIRECTORY}/{name}")
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise


def _stands_for(name: str, inode: int) -> bool:
    status = _status(name)
    return status is not None and status.st_ino == inode


def _named(inodes: Iterable[int]) -> set[int]:
    """Those that have a name by now."""
    with os.scandir(DIRECTORY) as entries:
        return {entry.inode() for entry in entries}.intersection(inodes)


def _segments(
    names: _Names, families: Families, users: Users
) -> list[Segment]:
    now = time.time()
    found = []
    for name, status in names.items():
        family = families.owner_of(name, status)
        found.append(
            Segment(
                name=name,
                size=status.st_size,
                held=status.st_blocks * 512,
                mode=stat.S_IMODE(status.st_mode) & ~stat.S_ISVTX,
                uid=status.st_uid,
                owner=user_name(status.st_uid),
                inode=status.st_ino,
                changed=status.st_ctime,
                age=max(0.0, now - status.st_ctime),
                kind=kind_of(
                    name,
                    status.st_size,
                    family,
                    users=status.st_mode & stat.S_ISVTX != 0,
                    unreadable=status.st_uid in families.unreadable,
                ),
                family=family,
                processes=users.of(status.st_ino),
            )
        )
    return found
