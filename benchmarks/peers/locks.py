# SPDX-License-Identifier: MIT
"""What the peers have of locks and the like, as crash_locks.py uses them.

    lock(name), rwlock(name), permit(name)   things with take() and give()
    named(name)                              a lock that only needs its name
    event(), condition(), barrier(parties)   with multiprocessing's methods

All can be given to a process that multiprocessing spawns."""

from __future__ import annotations

import errno
import multiprocessing
from contextlib import suppress
from time import monotonic, sleep
from typing import Any, NamedTuple

from . import Peer, key

GOT, NONE, TOLD = "got", "none", "told"


class Taken:
    """What has acquire(block, timeout) and release()."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def take(self, seconds: float) -> str:
        """TOLD: that its holder died."""
        try:
            return GOT if self.made.acquire(True, seconds) else NONE
        except OSError as error:
            if error.errno != errno.EOWNERDEAD:
                raise
            return TOLD

    def give(self) -> None:
        self.made.release()


class ByName:
    """Opened by each process itself."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.made = self.open(*args)

    def __reduce__(self) -> Any:
        return type(self), self.args

    def open(self, *args: Any) -> Any:
        raise NotImplementedError

    def give(self) -> None:
        self.made.release()


class Sides(NamedTuple):
    read: Any
    write: Any


class _Kinds:
    """What multiprocessing has, and whoever has the same names."""

    kinds: Any

    def lock(self, name: str) -> Taken:
        return Taken(self.kinds.Lock())

    def permit(self, name: str) -> Taken:
        return Taken(self.kinds.BoundedSemaphore(1))

    def event(self) -> Any:
        return self.kinds.Event()

    def condition(self) -> Any:
        return self.kinds.Condition()

    def barrier(self, parties: int) -> Any:
        return self.kinds.Barrier(parties)


class ShmemextLocks(_Kinds):
    def __init__(self) -> None:
        super().__init__()
        from shmemext import synchronize

        self.kinds = synchronize

    def named(self, name: str) -> Taken:
        return Taken(self.kinds.Lock(name))

    def rwlock(self, name: str) -> Sides:
        made = self.kinds.RWLock()
        return Sides(Taken(made.read), Taken(made.write))


class Multiprocessing(_Kinds, Peer):
    """For children only."""

    def __init__(self) -> None:
        self.kinds = multiprocessing.get_context("spawn")


class Manager(Multiprocessing):
    """A server process has them."""

    def __init__(self) -> None:
        self.kinds = multiprocessing.Manager()


class PosixSemaphore(ByName):
    def open(self, name: str) -> Any:
        import posix_ipc

        self.busy = posix_ipc.BusyError
        return posix_ipc.Semaphore(
            "/" + name, posix_ipc.O_CREAT, initial_value=1
        )

    def take(self, seconds: float) -> str:
        try:
            self.made.acquire(seconds)
        except self.busy:
            return NONE
        return GOT


class SysvSemaphore(ByName):
    """With SEM_UNDO, which is its way to survive a holder."""

    def open(self, name: str) -> Any:
        import sysv_ipc

        self.busy = sysv_ipc.BusyError
        with suppress(sysv_ipc.ExistentialError):
            sysv_ipc.Semaphore(key(name), sysv_ipc.IPC_CREX, initial_value=1)
        made = sysv_ipc.Semaphore(key(name))
        made.undo = True
        made.block = False  # not every build knows timeouts
        return made

    def take(self, seconds: float) -> str:
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            try:
                self.made.acquire()
            except self.busy:
                sleep(0.01)
            else:
                return GOT
        return NONE


class UltraLock(ByName):
    def open(self, name: str) -> Any:
        from UltraDict import UltraDict
        from UltraDict.Exceptions import CannotAcquireLock

        self.busy = CannotAcquireLock
        self.dict = UltraDict(name=name, shared_lock=True, auto_unlink=False)
        return self.dict.lock

    def take(self, seconds: float) -> str:
        try:
            self.made.acquire(timeout=seconds)
        except self.busy:
            return NONE
        return GOT


def path_of(name: str) -> str:
    return f"/dev/shm/{name}.lock"


class FileLocked(ByName):
    def open(self, name: str) -> Any:
        import filelock

        self.busy = filelock.Timeout
        return filelock.FileLock(path_of(name))

    def take(self, seconds: float) -> str:
        try:
            self.made.acquire(timeout=seconds)
        except self.busy:
            return NONE
        return GOT


class FileLock(Peer):
    def lock(self, name: str) -> FileLocked:
        return FileLocked(name)

    named = lock


class Portalocked(ByName):
    def open(self, name: str) -> Any:
        import portalocker

        self.busy = portalocker.LockException
        return portalocker.Lock(path_of(name), timeout=None)

    def take(self, seconds: float) -> str:
        try:
            self.made.acquire(timeout=seconds)
        except self.busy:
            return NONE
        return GOT


class Portalocker(Peer):
    def lock(self, name: str) -> Portalocked:
        return Portalocked(name)

    named = lock


class Fastened(ByName):
    def open(self, name: str, kind: str) -> Any:
        import fasteners

        if kind == "lock":
            made = fasteners.InterProcessLock(path_of(name))
            self.take_it, self.give = made.acquire, made.release
        else:
            made = fasteners.InterProcessReaderWriterLock(path_of(name))
            self.take_it = getattr(made, f"acquire_{kind}_lock")
            self.give = getattr(made, f"release_{kind}_lock")
        return made

    def take(self, seconds: float) -> str:
        return GOT if self.take_it(timeout=seconds) else NONE


class Fasteners(Peer):
    def lock(self, name: str) -> Fastened:
        return Fastened(name, "lock")

    named = lock

    def rwlock(self, name: str) -> Sides:
        return Sides(Fastened(name, "read"), Fastened(name, "write"))
