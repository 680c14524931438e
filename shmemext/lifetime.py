# SPDX-License-Identifier: MIT
"""What is in /dev/shm, whose it is, and what nobody will miss.

Nothing here disturbs what it looks at, but for one thing that lasts
microseconds: whether any process at all has a segment open is asked by taking
a lease.
"""

import errno
import fcntl
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from ._elsewhere import Elsewhere as Elsewhere
from ._ledgers import DIRECTORY, FAMILY_PREFIX, Family, open_to_read
from ._processes import Deleted as Deleted
from ._processes import Process
from ._segment import Segment
from ._shmemext import _remove_unused, _sweep
from ._survey import Room as Room
from ._survey import Survey as Survey
from ._survey import survey as survey

__all__ = ["Collected", "Family", "Process", "Segment", "collect", "segments"]


@dataclass(frozen=True, slots=True)
class Collected:
    """A name that collect() removed, would remove, or could not remove."""

    name: str
    held: int
    """Bytes, given back unless a process still has the segment open."""
    reason: Literal["dead family", "orphan", "unused"]
    """Who owns it: a family that is dead; nobody; a family that lives, but no
    process has it open."""
    processes: tuple[Process, ...]
    """Who still had it open: the memory goes when the last of them is done
    with it."""
    error: OSError | None
    """Why the name is still there; None if it is gone, or would be."""


def segments() -> list[Segment]:
    """The machine's shared memory segments and semaphores, by name.

    Reads all of /proc: some 0.1 ms for each process on the machine. What
    comes or goes meanwhile may be missing.

    OSError: no /dev/shm."""
    return survey().segments


def collect(
    *,
    dry_run: bool = False,
    orphans: bool = False,
    unused: bool = False,
    older_than: float | timedelta | None = None,
) -> list[Collected]:
    """Remove what dead families of this user left, and its segments that go
    with their last user but were left by it; return what it was.

    A program may mean to come back to an orphan, or to what is unused: look
    at what dry_run=True returns. What cannot be removed is returned with its
    error; so is each orphan while there is a directory of another version of
    the library, which may own it.

    dry_run: True removes nothing
    orphans: also this user's segments that no living family owns and no
        process on the machine has open or mapped, whatever program made them,
        but no semaphores
    unused: also those that a living family of this user owns and no process
        has open or mapped: what killed workers of a server left, for one
    older_than: seconds or a timedelta: spares the younger of both

    ValueError: older_than is negative, or without orphans and unused. OSError:
    what is there cannot be read. Audit event: shmemext.unlink with name and
    size, for each that no dead family left."""
    seconds = _seconds(older_than)
    if older_than is not None and not (orphans or unused):
        raise ValueError("older_than is for orphans=True or unused=True only")
    found = survey()
    collected = sweep(found, dry_run=dry_run)
    offered = find_without_users(found)
    if orphans:
        offered += find_orphans(found, seconds)
    if unused:
        offered += find_unused(found, seconds)
    return collected + (
        offered if dry_run else list(remove_offered(found, offered))
    )


def _seconds(older_than: float | timedelta | None) -> float:
    if isinstance(older_than, timedelta):
        older_than = older_than.total_seconds()
    seconds = 0.0 if older_than is None else older_than
    if not seconds >= 0:
        raise ValueError("older_than must not be negative")
    return seconds


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


def find_without_users(found: Survey) -> list[Collected]:
    """Of living families, what was to go with its last user, who was killed.
    What dead ones left, their sweep removes."""
    return _offer(
        segment
        for segment in found.segments
        if segment.kind == "users" and _is_of_ours(segment.family)
    )


def find_orphans(found: Survey, older_than: float = 0.0) -> list[Collected]:
    """What no family owns and nobody has open. What could not be looked at,
    or may be a family's that could not be read, has an error."""
    offered = _offer(
        segment
        for segment in found.segments
        if segment.kind in ("untracked", "stdlib")
        and not segment.name.startswith(FAMILY_PREFIX)
        and not segment.processes
        and segment.age >= older_than
    )
    if not found.other_versions:
        return offered
    text = "a family of another version of shmemext may own it"
    return [
        replace(one, error=one.error or OSError(errno.EBUSY, text, one.name))
        for one in offered
    ]


def find_unused(found: Survey, older_than: float = 0.0) -> list[Collected]:
    """What a living family owns and nobody has open."""
    return _offer(
        segment
        for segment in found.segments
        if segment.kind == "family"
        and _is_of_ours(segment.family)
        and not segment.processes
        and segment.age >= older_than
    )


def _is_of_ours(family: Family | None) -> bool:
    """A living one of this user."""
    return family is not None and family.alive and family.uid == os.geteuid()


def _offer(candidates: Iterable[Segment]) -> list[Collected]:
    offered = [
        _if_unused(segment, remove=False)
        for segment in candidates
        if segment.uid == os.geteuid()
    ]
    return [one for one in offered if one is not None]


def remove_offered(
    found: Survey, offered: list[Collected]
) -> Iterator[Collected]:
    """Removes those that still are what they were. What is gone, or in use
    again, is passed over."""
    by_name = {segment.name: segment for segment in found.segments}
    for one in offered:
        if one.error is None:
            removed = _if_unused(by_name[one.name], remove=True)
            if removed is not None:
                yield removed
        else:
            yield one


def _if_unused(segment: Segment, *, remove: bool) -> Collected | None:
    error = None
    try:
        if not _is_unused(segment, remove=remove):
            return None
    except FileNotFoundError:
        return None
    except OSError as failed:
        error = failed
    return Collected(
        name=segment.name,
        held=segment.held,
        reason="orphan" if segment.family is None else "unused",
        processes=(),
        error=error,
    )


def _is_unused(segment: Segment, *, remove: bool) -> bool:
    if segment.kind == "users":
        if remove:
            sys.audit("shmemext.unlink", segment.name, segment.size)
        return _remove_unused(segment.name, segment.inode, not remove)
    with _lease(_path(segment), segment.inode) as granted:
        if granted and remove:
            unlink(segment)
        return granted


def unlink(segment: Segment) -> None:
    """The name goes, whosever it is."""
    sys.audit("shmemext.unlink", segment.name, segment.size)
    os.unlink(_path(segment))  # noqa: PTH108


def _path(segment: Segment) -> str:
    return f"{DIRECTORY}/{segment.name}"


@contextmanager
def _lease(path: str, inode: int) -> Iterator[bool]:
    """A write lease, which the kernel grants only while no other process has
    the file open or mapped, in whichever namespace."""
    try:
        file = open_to_read(path)
    except BlockingIOError:  # somebody else has a lease
        yield False
        return
    try:
        # Who opens the file meanwhile has us told by a signal: of all that
        # there are, by one that is ignored unless somebody asks for it.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        granted = os.fstat(file).st_ino == inode == os.lstat(path).st_ino
        if granted:
            try:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise OSError(
                        error.errno,
                        "the system does not tell whether it is open",
                        path,
                    ) from None
                granted = False
        yield granted
    finally:
        # A child that another thread has forked meanwhile has the file, too.
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(file)
