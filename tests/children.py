# SPDX-License-Identifier: MIT
"""What the tests run in other processes: importable there by name."""

import time
from importlib import import_module

PATIENCE = 120  # seconds, for the other side to do its part


def use(shm, value):
    """Puts value in, and says what was there and how it was opened."""
    seen = shm.buf[0]
    shm.buf[0] = value
    report = seen, shm.name, shm.size, shm._track
    shm.close()
    return report


def use_and_send(shm, value, connection):
    connection.send(use(shm, value))
    connection.close()


def serve(requests, replies, cls):
    """Uses each object that comes, and sends one of its own back."""
    for shm in iter(requests.get, None):
        use(shm, 7)
        mine = cls(create=True, size=20, track=False)
        mine.buf[0] = 8
        replies.send(mine)
        mine.close()


def wait_for(memory, value):
    deadline = time.monotonic() + PATIENCE
    while memory[0] != value:
        if time.monotonic() > deadline:
            raise TimeoutError(f"byte 0 is {memory[0]}, not {value}")
        time.sleep(0)


def alternate(memory, first, turns):
    """Byte 0 goes up in turns: one side makes it odd, the other even."""
    for turn in range(turns):
        wait_for(memory, 2 * turn + first)
        memory[1 + first] = turn
        memory[0] = 2 * turn + first + 1


def attach_and_alternate(module, name, first, turns):
    shm = import_module(module).SharedMemory(name)
    alternate(shm.buf, first, turns)
    shm.close()
