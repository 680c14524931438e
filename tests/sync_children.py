# SPDX-License-Identifier: MIT
"""What the tests of named synchronizers and of those without a place run in
other processes."""

import os
import sys
from pathlib import Path

from shmemext._named import PREFIX
from shmemext.synchronize import Lock, OwnerDied, RLock

DEV_SHM = Path("/dev/shm")
kept = []  # until the process ends


def file_of(name):
    return DEV_SHM / f"{PREFIX}{name}"


def there(name):
    return os.path.lexists(file_of(name))


def say(*words):
    print(*words, flush=True)


def stay():
    """Until somebody writes a line, or is gone."""
    sys.stdin.readline()


def acquired(lock, timeout):
    """True, False, or what was raised."""
    try:
        return lock.acquire(timeout=timeout)
    except OwnerDied:
        return "OwnerDied"


def hold_for_good(name):
    """A worker that ends normally with it held, as a global."""
    lock = Lock(name)
    lock.acquire()
    kept.append(lock)


def use_given(connection, lock):
    """Says what it finds, once its parent has let go."""
    connection.recv()
    inode = file_of(lock.name).stat().st_ino if there(lock.name) else None
    connection.send((inode, lock.acquire(timeout=10)))
    connection.recv()


def count_up(lock, memory, rounds):
    """Only under a lock that is one is nothing lost."""
    for _ in range(rounds):
        with lock:
            count = int.from_bytes(memory.buf[:8], "little") + 1
            memory.buf[:8] = count.to_bytes(8, "little")


def places(locks):
    """How many memories these are in, and how many mappings and descriptors
    the process has of such."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    ours = [line for line in maps if "memfd:shmemext" in line]
    whole = [line for line in ours if "rw-s" in line]
    memories = {id(lock.memory) for lock in locks}
    files = [
        os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        for number in os.listdir("/proc/self/fd")  # noqa: PTH208
        if os.path.lexists(f"/proc/self/fd/{number}")
    ]
    ours = [file for file in files if "memfd:shmemext" in file]
    return len(memories), len(whole), len(ours)


def say_places(connection, locks):
    """What a child makes of many."""
    connection.send(places(locks))
    connection.recv()


def take_places(connection, count):
    made = [Lock() for _ in range(count)]
    kept.extend(made)
    connection.send([one.offset for one in made])


__all__ = [name for name in dir() if name[:1] != "_"]
assert RLock
