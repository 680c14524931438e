# SPDX-License-Identifier: MIT
"""What the tests of lifetime="users" run in other processes."""

import os
import sys
import threading
import time
from pathlib import Path

from shmemext import SharedMemory

DEV_SHM = Path("/dev/shm")
PATIENCE = 60  # seconds: what is to happen soon takes longer under load

kept = []  # segments that stay mapped until the process ends


def there(name):
    return os.path.lexists(DEV_SHM / name)


def wait_until(condition, seconds=PATIENCE):
    """Was it so in time?"""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def create(name=None, **options):
    segment = SharedMemory(
        name, create=True, size=100, lifetime="users", **options
    )
    kept.append(segment)
    return segment


def attach(name, **options):
    segment = SharedMemory(name, **options)
    kept.append(segment)
    return segment


def say(*words):
    print(*words, flush=True)


def stay():
    """Until somebody writes a line, or is gone."""
    sys.stdin.readline()


def touch_for_ever(segment):
    """In a daemon thread, which goes on while the process ends."""

    def touch(buf=segment.buf):
        while True:
            buf[0] = buf[1]

    threading.Thread(target=touch, daemon=True).start()


def use_given(connection, *segments):
    """A worker's part: says what it was given, once its parent has closed."""
    kept.extend(segments)
    connection.recv()
    names = [getattr(one, "shm", one).name for one in segments]
    connection.send([there(name) for name in names])
    connection.recv()


def create_and_send(connection):
    """A worker that ends normally, with the segment mapped and in use."""
    segment = create()
    touch_for_ever(segment)
    connection.send(segment.name)
    connection.recv()


class Renamed(SharedMemory):
    """Pickled in a way of its own, made of what it inherits."""

    def __reduce__(self):
        maker, args = super().__reduce__()
        return maker, (*args,)
