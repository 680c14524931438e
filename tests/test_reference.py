# SPDX-License-Identifier: MIT
"""Docstrings say each argument and each error of what users call, in the form
that docs/docstrings.py reads, and the site typesets."""

import errno
import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))

import callables
import docstrings

CALLABLES = callables.public()

# What raises nothing of its own. In all: close().
NEVER = {
    *("Atomic.load", "Atomic.notify_all", "Barrier.abort", "Barrier.reset"),
    *("BoundedSemaphore.get_value", "BoundedSemaphore.locked"),
    *("Condition.locked", "Event.size_of", "Lock.locked", "Lock.size_of"),
    *("Queue.cancel_join_thread", "Queue.join_thread"),
    *("RLock.locked", "RLock.size_of", "Semaphore.get_value"),
    *("Semaphore.locked", "Semaphore.size_of", "ShareableList.count"),
    *("handoff.disable", "handoff.stats", "uninstall"),
}

# A docstring of read(size, name, create).
TEXT = """Read it.

Writers come first: they do. It begins with
all that is there.

size: bytes; None: all
    of them
name, create: as ever
Other arguments are SharedMemory's.

FileExistsError, KeyError: it is there. OSError ENOSPC (late): it is
full. So it is. queue.Full: none. Other errors are put()'s, but for
queue.Empty. Audit event: shmemext.read with size. See mmap(2)."""


def read(text):
    return docstrings.parse(text, ["size", "name", "create"])


def test_each_argument_is_described_and_has_a_type():
    wrong = {}
    for name in CALLABLES:
        signature = callables.entry(name).signature
        told = callables.arguments(name)
        left = [one for one in signature.names if not told.get(one)]
        left += [one for one in signature.names if one not in signature.types]
        if left:
            wrong[name] = left
    assert not wrong


def test_each_error_is_a_class():
    wrong = [
        (name, error)
        for name in CALLABLES
        for error in callables.errors(name)
        if not all(map(callables.exception, error.names))
        or not hasattr(errno, error.errno or "EPERM")
        or not error.when
    ]
    assert not wrong


def test_errors_are_named():
    silent = {name for name in CALLABLES if not callables.errors(name)}
    assert {
        name.removeprefix("shmemext.")
        for name in silent
        if not name.endswith(".close")
    } == NEVER


def test_arguments_are_those_that_there_are():
    """Those of the stub, or the source, and of the C code."""
    wrong = {}
    for name in CALLABLES:
        real = inspect.signature(callables.find(name)).parameters
        names = [one for one in real if one != "self"]
        if (
            "kwargs" not in real
            and names != callables.entry(name).signature.names
        ):
            wrong[name] = names
    assert not wrong
    assert len(CALLABLES) > 150


def test_form_is_read():
    doc = read(TEXT)
    assert doc.prose == TEXT.split("\n\n")[:2]
    assert doc.arguments == {
        "size": "bytes; None: all of them",
        "name": "as ever",
        "create": "as ever",
    }
    first, second, third = doc.errors
    assert first.names == ("FileExistsError", "KeyError")
    assert first.when == "it is there."
    assert (second.errno, second.aside) == ("ENOSPC", "late")
    assert second.when == "it is full. So it is."
    assert third.names == ("queue.Full",)
    assert doc.notes == [
        "Audit event: shmemext.read with size.",
        "See mmap(2).",
    ]
    assert doc.references == [
        docstrings.Reference("SharedMemory", True, False, False, ()),
        docstrings.Reference("put", False, True, True, ("queue.Empty",)),
    ]


@pytest.mark.parametrize(
    "there, instead",
    [
        ("size: bytes; None: all\n    of them\n", ""),
        ("size:", "siez:"),
        ("name, create:", "name, craete:"),
        ("    of them", "of them"),
        ("are SharedMemory's", "as of SharedMemory"),
        ("KeyError", "KeyErorr"),
        ("ENOSPC", "ENOROOM"),
        ("put()'s, but", "puts, but"),
    ],
)
def test_slip_is_noticed(there, instead):
    assert TEXT.count(there) == 1
    try:
        doc = read(TEXT.replace(there, instead))
    except ValueError:
        return
    assert (
        {*doc.arguments} < {"size", "name", "create"}
        or len(doc.references) < 2
        or not all(callables.exception(n) for e in doc.errors for n in e.names)
        or not all(hasattr(errno, e.errno or "EPERM") for e in doc.errors)
    )


def test_others_are_read_where_they_are_said():
    told = callables.arguments("shmemext.Channel")
    theirs = callables.arguments("shmemext.SharedMemory")
    assert told["mode"] == theirs["mode"] and told["size"] != theirs["size"]
    some = callables.errors("shmemext.Channel.put_async")
    assert "queue.Full" not in {name for one in some for name in one.names}
    assert len(some) == len(callables.errors("shmemext.Channel.put")) - 1


@pytest.mark.parametrize(
    "name, argument, kind",
    [
        ("Channel.put", "data", "~collections.abc.Buffer | ~numpy.ndarray"),
        ("Lock", "where", "Memory | str | None"),
        ("Memory.ndarray", "shape", "int | ~collections.abc.Sequence[int]"),
        ("arrays.zeros", "dtype", "~numpy.typing.DTypeLike"),
        ("arrays.linspace", "retstep", "bool"),
        ("Queue", "maxsize", "int"),
    ],
)
def test_types_are_those_of_all_callers(name, argument, kind):
    types = callables.entry(f"shmemext.{name}").signature.types
    assert types[argument] == kind
