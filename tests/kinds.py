# SPDX-License-Identifier: MIT
"""The three kinds of memory, for tests that are true of each of them.

What runs in other processes is here too: importable there by name.
"""

import multiprocessing
import os
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from shmemext import AnonymousMemory, MappedFile, SharedMemory

KINDS = ["SharedMemory", "MappedFile", "AnonymousMemory"]
METHODS = ["fork", "spawn", "forkserver"]
PATIENCE = 300  # seconds, for the other side to do its part
PAGE = os.sysconf("SC_PAGESIZE")

# The environment of scripts that import from here.
HERE = {
    "PYTHONPATH": os.pathsep.join(
        [str(Path(__file__).parent)]
        + [p for p in [os.environ.get("PYTHONPATH")] if p]
    )
}


class Kind:
    """Makes memory of one kind, and takes all of it away at the end."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = Path(directory)
        self.made = []

    def create(self, size=5000, **options):
        unique = f"shmemext-test-kind-{uuid.uuid4().hex[:12]}"
        if self.name == "SharedMemory":
            memory = SharedMemory(unique, create=True, size=size, **options)
        elif self.name == "MappedFile":
            path = self.directory / unique
            memory = MappedFile(path, create=True, size=size, **options)
        else:
            memory = AnonymousMemory(size, **options)
        self.made.append(memory)
        return memory

    def again(self, memory, readonly=False):
        """Another object on the same memory, as another process would have
        it."""
        if self.name == "SharedMemory":
            peer = SharedMemory(memory.name, readonly=readonly)
        elif self.name == "MappedFile":
            peer = MappedFile(memory.path, readonly=readonly)
        else:
            how = os.O_RDONLY if readonly else os.O_RDWR
            fd = os.open(f"/proc/self/fd/{memory.fileno()}", how)
            peer = AnonymousMemory.from_fd(fd)
        self.made.append(peer)
        return peer

    def stat(self, memory):
        """Without a descriptor that was not there before."""
        return Path(self.path(memory)).stat()

    def path(self, memory):
        if self.name == "SharedMemory":
            return f"/dev/shm/{memory.name}"
        if self.name == "MappedFile":
            return memory.path
        return f"/proc/self/fd/{memory.fileno()}"

    def mappings(self, memory):
        """Lines of this process's map that are of the very file: the creator's
        may not have its name."""
        number = str(self.stat(memory).st_ino)
        text = Path("/proc/self/maps").read_text()
        lines = [line.split(maxsplit=5) for line in text.splitlines()]
        where = "/memfd:" if self.name == "AnonymousMemory" else "/"
        return [
            line
            for line in lines
            if line[4] == number and line[-1].startswith(where)
        ]

    def clean(self):
        for memory in self.made:
            if self.name == "SharedMemory":
                memory.unlink(missing_ok=True)
            elif self.name == "MappedFile":
                Path(memory.path).unlink(missing_ok=True)
            memory.close()


@contextmanager
def kind_of(name, directory):
    kind = Kind(name, directory)
    try:
        yield kind
    finally:
        kind.clean()


def maps(part):
    """The lines of this process's map that have the part in their name."""
    text = Path("/proc/self/maps").read_text()
    return [line for line in text.splitlines() if part in line]


def is_mapped(inode):
    """Is any file with this number mapped in this process?"""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return str(inode) in [line.split()[4] for line in lines]


def memfds():
    """Mappings and descriptors of anonymous memory in this process."""
    found = maps("/memfd:")
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        except FileNotFoundError:
            continue
        if target.startswith("/memfd:"):
            found.append(number)
    return found


def wait_until(condition, *arguments):
    deadline = time.monotonic() + PATIENCE
    while not condition(*arguments):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def is_blocked(pid):
    """Does its main thread wait for something?"""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2] == "S"


def watches(pid):
    """Has it asked the kernel to be told of changes in a directory?"""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "inotify" in str(fd.readlink()):
                return True
        except FileNotFoundError:
            pass
    return False


# --- What children do


def run(method, target, *args):
    """Runs a function in a child, to its end."""
    child = multiprocessing.get_context(method).Process(
        target=target, args=args
    )
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0, child.exitcode


def add_one(memory):
    memory.buf[0] += 1
    memory.close()


def report(memory, connection):
    """What it looks like from here; then it is closed."""
    connection.send(
        (
            type(memory).__name__,
            memory.size,
            memory.readonly,
            bytes(memory.buf[:5]),
        )
    )
    memory.close()
    connection.close()


def hold(memory, connection):
    """Has it open until told to let go."""
    connection.send(memory.readonly)
    connection.recv()
    memory.close()
    connection.send("closed")
    connection.recv()


def serve(requests, replies):
    """Adds one to each memory that comes, and sends it back."""
    for memory in iter(requests.get, None):
        memory.buf[0] += 1
        replies.send(memory)
        replies.recv()  # it has arrived: now it may go here
        memory.close()


def grow_to(memory, size, mark):
    """In a child: the last byte says who has been there."""
    memory.grow(size)
    memory.buf[size - 1] = mark
    memory.close()


def refresh_and_add(memory, connection):
    connection.send(memory.size)
    connection.recv()
    changed = memory.refresh()
    memory.buf[memory.size - 1] += 1
    connection.send((changed, memory.size, bytes(memory.buf[:5])))
    memory.close()
