# SPDX-License-Identifier: MIT
"""Where a connection of multiprocessing leads: to somebody who sees the same
/dev/shm, or anywhere else."""

import os
import socket
import stat
import struct
from typing import Any

from . import _shmemext

# Kept in a connection: where it leads.
_WAY = "_shmemext_way"
AWAY, PIPE, SOCKET, FAMILY = range(4)

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: see unix(7)
_CHUNK = 1 << 16


def is_near(connection: Any) -> bool:
    """May it lead to a process of this machine? Is asked for each message, so
    the answer stays with the connection, whose descriptor does."""
    try:
        return bool(connection._shmemext_way)
    except AttributeError:
        return _find_out(connection) != AWAY


def see_us(connection: Any) -> bool:
    """Does whoever is at its other end see our /dev/shm, as long as we do?

    Who holds a pipe's other end cannot be asked: those who have inherited it
    are of our family. A socket says who connected, or listened, or made the
    pair: that must be a process of ours that sees what we see."""
    way = getattr(connection, _WAY, None)
    if way is None:
        way = _find_out(connection)
    if way == SOCKET:
        try:
            near = _is_of_us(*_peer(connection.fileno()))
        except OSError:
            near = False
        way = FAMILY if near else AWAY
        setattr(connection, _WAY, way)
    return bool(way != AWAY)


def _find_out(connection: Any) -> int:
    way = AWAY
    try:
        way = _way_of(connection.fileno())
        setattr(connection, _WAY, way)
    except (OSError, AttributeError):
        pass  # closed, or of a class that keeps nothing
    return way


def _way_of(number: int) -> int:
    mode = os.fstat(number).st_mode
    if stat.S_ISFIFO(mode):
        # One that has a name may be anybody's.
        target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        return PIPE if target.startswith("pipe:") else AWAY
    if stat.S_ISSOCK(mode):
        with socket.fromfd(number, socket.AF_UNIX, socket.SOCK_STREAM) as one:
            domain = one.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
            kind = one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        if (domain, kind) == (socket.AF_UNIX, socket.SOCK_STREAM):
            return SOCKET
    return AWAY


def _peer(number: int) -> tuple[int, int]:
    """Its pid here, 0 if it has none, and its user."""
    with socket.fromfd(number, socket.AF_UNIX, socket.SOCK_STREAM) as one:
        told = one.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
    pid, uid, _ = _CREDENTIALS.unpack(told)
    return pid, uid


def _is_of_us(pid: int, uid: int) -> bool:
    if pid == os.getpid():
        return True
    family = _shmemext._own()
    if pid == 0 or uid != os.geteuid() or family is None:
        return False
    theirs = os.stat(f"/proc/{pid}/root{_shmemext.DIRECTORY}")  # noqa: PTH116
    ours = os.stat(_shmemext.DIRECTORY)  # noqa: PTH116
    if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
        return False
    return _is_of_family(pid, family)


def _is_of_family(pid: int, family: str) -> bool:
    """A member has a file of the family's mapped, or open, if it has only just
    been started: csrc/core/life/family.h. Its name is drawn by chance."""
    name = os.fsencode(f"-{family}/")
    last = b""
    with open(f"/proc/{pid}/maps", "rb", buffering=0) as maps:  # noqa: PTH123
        while chunk := maps.read(_CHUNK):
            if name in last + chunk:
                return True
            last = chunk[-len(name) :]
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):  # noqa: PTH208
        try:
            link = os.readlink(f"{folder}/{number}")  # noqa: PTH115
        except FileNotFoundError:
            continue
        if name in os.fsencode(link):
            return True
    return False
