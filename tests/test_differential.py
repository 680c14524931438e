# SPDX-License-Identifier: MIT
"""The same calls on our SharedMemory and on the stdlib's: the same results,
or the same exceptions with the same message, errno and filename.

The stdlib's tracker is patched out, on both sides: what goes to it is the
subject of test_processes.py.
"""

import decimal
import errno
import math
import os
import pickle
import re
import sysconfig
from contextlib import suppress
from fractions import Fraction
from multiprocessing import shared_memory as stdlib
from pathlib import Path
from typing import NamedTuple
from unittest import mock
from uuid import uuid4

import pytest
from arrays import np
from conftest import DEV_SHM
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shmemext import shared_memory as ours

settings.register_profile(
    "differential",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=200,
    database=None,
    derandomize="CI" in os.environ,
)
profile = settings.get_profile("differential")

PREFIX = f"shmemext-diff-{uuid4().hex[:8]}"
TAKEN = PREFIX + "-taken"
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class Raised(NamedTuple):
    type: type
    message: str
    errno: int | None = None
    filename: object = None


# What the stdlib says of a size where words have 32 bits, and files have 64.
NO_NUMBER = re.compile(
    r"(Python )?int too (large to convert to C ssize_t|big .*)"
)


def outcome(call):
    """What the call returns, or a Raised. The argument of shm_open() has a
    name in 3.11 and 3.12 and a number later: that is all one here."""
    try:
        return call()
    except Exception as error:
        return Raised(
            type(error),
            NO_NUMBER.sub(
                "Python int too large to convert to C long",
                str(error).replace("argument 1 must", "argument 'path' must"),
            ),
            getattr(error, "errno", None),
            getattr(error, "filename", None),
        )


class Names:
    """Generated names, the same ones for both sides."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return f"/{PREFIX}-{self.count}"


def clean_up():
    for path in DEV_SHM.glob(PREFIX + "*"):
        path.unlink()


@pytest.fixture(autouse=True, scope="module")
def module_is_clean():
    yield
    clean_up()


def run(module, scenario):
    """Runs the scenario in a fresh world. Returns its outcomes, and the names
    that it left."""
    clean_up()
    (DEV_SHM / TAKEN).write_bytes(bytes(range(50)))
    tracker = "multiprocessing.resource_tracker"
    with (
        mock.patch(f"{module.__name__}._make_filename", Names()),
        mock.patch(f"{tracker}.register"),
        mock.patch(f"{tracker}.unregister"),
    ):
        outcomes = scenario(module)
    names = sorted(path.name for path in DEV_SHM.glob(PREFIX + "*"))
    clean_up()
    return outcomes, names


# --- where the two differ, and why: the stdlib's outcome, and ours


class Difference(NamedTuple):
    why: str
    arguments: object  # whether the arguments are such
    theirs: object  # whether the stdlib's outcome is such
    ours: object


def is_raised(outcome, type_, words=""):
    return (
        isinstance(outcome, Raised)
        and issubclass(outcome.type, type_)
        and re.search(words, outcome.message) is not None
    )


CONSTRUCTOR_DIFFERENCES = [
    Difference(
        "a NUL is ValueError everywhere, and not the end of the name",
        lambda call: isinstance(call["name"], str) and "\0" in call["name"],
        lambda theirs: True,
        lambda ours: is_raised(ours, ValueError, "embedded null character"),
    ),
    Difference(
        "glibc up to 2.36 at least says EINVAL of names beyond its buffer",
        lambda call: isinstance(call["name"], str) and len(call["name"]) > 63,
        lambda theirs: (
            is_raised(theirs, OSError)
            and theirs.errno in {errno.EINVAL, errno.ENAMETOOLONG}
        ),
        lambda ours: (
            is_raised(ours, OSError)
            and ours.errno in {errno.EINVAL, errno.ENAMETOOLONG}
        ),
    ),
]

OPERATION_DIFFERENCES = [
    Difference(
        "close() succeeds under live views",
        lambda operation: operation in {"close", "with"},
        lambda theirs: is_raised(theirs, BufferError),
        lambda ours: ours is None,
    ),
    Difference(
        "a descriptor is opened by name, and the name is gone",
        lambda operation: operation == "fstat",
        lambda theirs: theirs == 60,
        lambda ours: is_raised(ours, FileNotFoundError, "before unlink"),
    ),
    Difference(
        "a descriptor is opened for the mapping, and that was taken out",
        lambda operation: operation == "fstat",
        lambda theirs: theirs == 60,
        lambda ours: is_raised(ours, OSError, "Bad file descriptor"),
    ),
    Difference(
        "unlink() spares another segment that has the name by now",
        lambda operation: operation == "unlink",
        lambda theirs: theirs is None,
        lambda ours: is_raised(ours, FileNotFoundError, "another segment"),
    ),
    Difference(
        "without a GIL .buf outlives close() as other views do",
        lambda operation: FREE_THREADED and operation == "use_kept",
        lambda theirs: is_raised(theirs, ValueError, "released memoryview"),
        lambda ours: isinstance(ours, list),
    ),
]


def differs_on_purpose(table, arguments, theirs, ours):
    return any(
        row.arguments(arguments) and row.theirs(theirs) and row.ours(ours)
        for row in table
    )


# --- the constructor


class OnlyIndex:
    def __index__(self):
        return 3


class OnlyCompares:
    def __ge__(self, other):
        return True


class Both(OnlyIndex, OnlyCompares):
    pass


class Str(str):
    def __radd__(self, other):
        return f"{other}{TAKEN}"


def name_after(prefix, **characters):
    return st.text(st.characters(**characters), max_size=8).map(
        lambda text: prefix + text
    )


names = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "/", "//", "/" + TAKEN, "//" + TAKEN, "a/b", ".", "..", "./x"]
    ),
    st.just(TAKEN),
    st.sampled_from([PREFIX + "-new", "/" + PREFIX + "-new"]),
    name_after(PREFIX, exclude_categories=()),
    name_after("//" + PREFIX, max_codepoint=255),
    st.sampled_from([PREFIX + "/", PREFIX + "/x", PREFIX + "\0x"]),
    st.integers(254, 301).map(lambda length: PREFIX.ljust(length, "x")),
    st.integers(60, 152).map(lambda length: PREFIX.ljust(length, "é")),
    st.sampled_from(
        [b"bytes", 5, 1.5, True, False, [], ("x",), Path("x"), object]
    ),
    st.sampled_from([Str(TAKEN), Str(PREFIX + "-new")]),
)

# Beyond the 47 bits of an address space: nothing is ever reserved.
huge = st.integers(47, 70).map(lambda bits: 1 << bits)

numpys = [None]
if np:
    numpys += [np.int64(9), np.uint8(0), np.float64(9), np.bool_(True)]
    numpys += [np.array([1, 2]), np.array(7), np.array([7])]

sizes = st.one_of(
    st.integers(-5, 10_000),
    st.integers(min_value=1 << 62),
    st.integers(max_value=-(1 << 62)),
    huge,
    huge.map(lambda size: size - 1).filter(lambda size: size >> 47),
    st.booleans(),
    st.floats(-10, 10_000),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf]),
    st.sampled_from(numpys),
    st.sampled_from([Fraction(7), decimal.Decimal(7), decimal.Decimal("NaN")]),
    st.sampled_from([None, "5", b"5", [], (1,), 1j, object, int]),
    st.sampled_from([OnlyIndex(), OnlyCompares(), Both()]),
)

creates = st.sampled_from(
    [True, False, 1, 0, "yes", "", None, [], object, *numpys]
)

calls = st.fixed_dictionaries(
    {"name": names, "create": creates, "size": sizes}
)


def describe(shm):
    """What can be seen of an object, and tried on it."""
    return [
        outcome(lambda: shm.name),
        outcome(lambda: shm._name),
        outcome(lambda: shm.size),
        outcome(lambda: type(shm.size)),
        outcome(lambda: shm._flags),
        outcome(lambda: repr(shm)),
        outcome(lambda: bytes(shm.buf)),
        outcome(lambda: shm.buf.shape),
        outcome(lambda: os.fstat(shm._fd).st_size),
        outcome(shm.close),
        outcome(shm.unlink),
        outcome(shm.unlink),
    ]


def construct(call, as_positions):
    def scenario(module):
        if as_positions:
            args, kwargs = (call["name"], call["create"], call["size"]), {}
        else:
            args, kwargs = (), call
        result = outcome(lambda: module.SharedMemory(*args, **kwargs))
        if isinstance(result, module.SharedMemory):
            return describe(result)
        return result

    return scenario


@profile
@given(call=calls, as_positions=st.booleans())
@example({"name": TAKEN, "create": True, "size": 10.5}, False)
@example({"name": PREFIX, "create": True, "size": 10.5}, False)
@example({"name": PREFIX, "create": True, "size": 1 << 63}, False)
@example({"name": PREFIX, "create": True, "size": 1 << 62}, False)
@example({"name": None, "create": True, "size": 5}, True)
@example({"name": TAKEN, "create": False, "size": math.inf}, True)
@example({"name": PREFIX + "é", "create": True, "size": 5}, False)
def test_constructor_does_as_the_stdlibs(call, as_positions):
    scenario = construct(call, as_positions)
    theirs, left_by_them = run(stdlib, scenario)
    mine, left_by_us = run(ours, scenario)
    if isinstance(mine, Raised):
        assert left_by_us == [TAKEN]
    if differs_on_purpose(CONSTRUCTOR_DIFFERENCES, call, theirs, mine):
        return
    assert mine == theirs
    if not isinstance(mine, Raised):
        assert left_by_us == left_by_them


attributes = st.fixed_dictionaries(
    {},
    optional={
        "_flags": st.sampled_from(
            [os.O_RDWR, os.O_RDONLY, os.O_CREAT | os.O_RDWR, 194]
        ),
        "_mode": st.sampled_from([0o600, 0o400, 0o700]),
        "_prepend_leading_slash": st.sampled_from([True, False, 1, ""]),
        "_track": st.booleans(),
    },
)


@profile
@given(
    attributes=attributes,
    name=st.sampled_from([None, TAKEN, PREFIX + "-new", "", 5]),
    create=st.booleans(),
)
def test_subclass_with_other_defaults_does_as_the_stdlibs(
    attributes, name, create
):
    def scenario(module):
        cls = type("Sub", (module.SharedMemory,), attributes)
        result = outcome(lambda: cls(name, create, 10))
        if not isinstance(result, cls):
            return result
        path = DEV_SHM / result._name.strip("/")
        return [path.stat().st_mode, *describe(result)]

    theirs, _ = run(stdlib, scenario)
    mine, left_by_us = run(ours, scenario)
    if isinstance(mine, Raised):
        assert left_by_us == [TAKEN]
    assert mine == theirs


@profile
@given(
    args=st.lists(st.sampled_from([None, TAKEN, True, 5]), max_size=6),
    kwargs=st.dictionaries(
        st.sampled_from(["name", "create", "size", "names", "é", ""]),
        st.sampled_from([None, TAKEN, True, 5]),
        max_size=4,
    ),
)
def test_constructor_words_wrong_calls_as_the_stdlibs(args, kwargs):
    def scenario(module):
        result = outcome(lambda: module.SharedMemory(*args, **kwargs))
        if isinstance(result, module.SharedMemory):
            return describe(result)
        return result

    assert run(ours, scenario) == run(stdlib, scenario)


# --- what can be done with objects, in any order


class World:
    """Objects that were opened, and the views that are held on them."""

    def __init__(self, module):
        self.module = module
        self.objects = [module.SharedMemory(create=True, size=60)]
        self.views = []
        self.kept = []

    def of(self, index):
        return self.objects[index % len(self.objects)]

    def attach(self, index):
        again = self.module.SharedMemory(self.of(index).name, size=index)
        self.objects.append(again)
        return again.size

    def create(self, index):
        new = self.module.SharedMemory(self.of(index).name, True, 60)
        self.objects.append(new)
        return new.size

    def pickle(self, index):
        self.objects.append(pickle.loads(pickle.dumps(self.of(index))))

    def close(self, index):
        return self.of(index).close()

    def unlink(self, index):
        return self.of(index).unlink()

    def read(self, index):
        return bytes(self.of(index).buf[index : index + 5])

    def write(self, index):
        self.of(index).buf[index] = index

    def write_too_much(self, index):
        self.of(index).buf[index : index + 1] = b"12"

    def read_outside(self, index):
        return self.of(index).buf[60 + index]

    def slice(self, index):
        self.views.append(self.of(index).buf[index:])

    def use_slices(self, index):
        for view in self.views:
            view[0] = index
        return [bytes(view) for view in self.views]

    def drop_slices(self, index):
        self.views.clear()

    def keep(self, index):
        self.kept.append(self.of(index).buf)

    def use_kept(self, index):
        return [None if view is None else view[0] for view in self.kept]

    def release(self, index):
        return self.of(index).buf.release()

    def look(self, index):
        shm = self.of(index)
        is_same = shm.buf is shm.buf is shm._buf
        # Ours says of an object what of it has ended.
        text = re.sub(r"(, closed)?(, unlinked)?\)$", ")", repr(shm))
        return (shm.name, shm.size, text, is_same, shm.__reduce__()[1])

    def is_open(self, index):
        shm = self.of(index)
        return shm.buf is not None, shm._mmap is not None

    def file(self, index):
        mapping = self.of(index)._mmap
        mapping.seek(index)
        read = mapping.read(2), mapping.readline()[:9], mapping.tell()
        return read, len(mapping), mapping.size()

    def write_file(self, index):
        self.of(index)._mmap.seek(50)
        return self.of(index)._mmap.write(bytes(index))

    def fstat(self, index):
        return os.fstat(self.of(index)._fd).st_size

    def disarm(self, index):
        shm = self.of(index)
        self.kept.append(shm.buf)
        self.views.append(shm._mmap and memoryview(shm._mmap))
        shm._buf = shm._mmap = None

    def rename(self, index):
        self.of(index)._name = f"/{PREFIX}-{index}"

    def end(self):
        """Views go before objects: the stdlib's __del__ would complain."""
        self.kept.clear()
        self.views.clear()
        for shm in self.objects:
            with suppress(BufferError):
                shm.close()


OPERATIONS = [
    name
    for name, function in vars(World).items()
    if callable(function) and name not in {"__init__", "of", "end"}
]

steps = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 20)),
    min_size=1,
    max_size=25,
)


@profile
@given(steps=steps)
@example([("slice", 0), ("close", 0), ("use_slices", 1)])
@example([("keep", 0), ("close", 0), ("use_kept", 0), ("is_open", 0)])
@example([("unlink", 0), ("fstat", 0), ("create", 0), ("attach", 0)])
@example([("disarm", 0), ("close", 0), ("use_slices", 3)])
@example([("unlink", 0), ("create", 0), ("unlink", 0)])
def test_operations_do_as_the_stdlibs(steps):
    def scenario(module):
        world = World(module)
        outcomes = []
        for operation, index in steps:
            call = getattr(world, operation)
            outcomes.append(outcome(lambda c=call, i=index: c(i)))
        world.end()
        return outcomes

    theirs, _ = run(stdlib, scenario)
    mine, _ = run(ours, scenario)
    for (operation, _), their, my in zip(steps, theirs, mine, strict=True):
        if differs_on_purpose(OPERATION_DIFFERENCES, operation, their, my):
            return  # what follows differs with it
        assert my == their, operation
