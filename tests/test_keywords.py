# SPDX-License-Identifier: MIT
"""Code that runs within a call, and changes the dict of its keywords."""

import subprocess
import sys

import pytest

CODE = """
import gc, queue, sys
from shmemext import Channel
from shmemext.synchronize import Atomic, Condition

class Found:
    def __float__(self):
        self.used = True
        return 0.01

    def __index__(self):
        return 1

    def __call__(self):
        return 7

class Finder:
    def find(self):
        for found in gc.get_objects():
            if type(found) is dict and found.keys() == names:
                found.clear()
        self.filled = [bytes(n) for n in range(16, 256) for _ in range(50)]

    def __index__(self):
        self.find()
        return int("max" in names)

    def __float__(self):
        self.find()
        return 0.01

    def __bool__(self):
        self.find()
        return False

def get_many(first, second):
    with Channel(create=True, size=4096) as channel:
        channel.unlink()
        try:
            channel.get_many(**{first: Finder(), second: Found()})
        except queue.Empty:
            return True

def wait_for(first, second):
    condition = Condition()
    with condition:
        return condition.wait_for(**{first: Found(), second: Finder()}) == 7

def wait(first, second):
    return Atomic().wait(**{first: Finder(), second: Found()}) is False

call, names = sys.argv[1], set(sys.argv[2:])
assert globals()[call](*sys.argv[2:])
"""


@pytest.mark.parametrize(
    "call",
    [
        ("get_many", "max", "timeout"),
        ("get_many", "block", "max"),
        ("wait_for", "predicate", "timeout"),
        ("wait", "value", "timeout"),
    ],
)
def test_call_keeps_what_it_was_given(call):
    command = [sys.executable, "-c", CODE, *call]
    subprocess.run(command, check=True, timeout=60)
