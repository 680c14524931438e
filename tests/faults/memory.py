# SPDX-License-Identifier: MIT
"""Makes each allocation of each operation fail, Python's own included.

An operation has passed when it succeeds for a while in a row: now and then
the interpreter itself gets over a failure.

Prints how many MemoryErrors there were.
"""

import gc
import sys
from _testcapi import remove_mem_hooks, set_nomemory
from functools import partial
from pickle import PicklingError
from types import CodeType, FunctionType

import operations

PASSED = 10

# pickle has one word for whatever goes wrong when it looks a class up.
EXPECTED = (MemoryError, PicklingError)

# A list's constructor is in Python, and so are what finds a place for a lock
# that is given none, or a name, and what opens a channel; and CPython loses
# an exception when it gets no memory for the traceback, anybody's: 3.11 to
# 3.13.
IN_PYTHON = (*EXPECTED, SystemError)
PYTHON = ("list", "by a name", "without a place", "messages")
PYTHON += ("Channel", "Broadcast", "frame", "thing", "pool", "Queue")

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    # Without a GIL, pickle itself crashes when it gets no memory: CPython
    # 3.13, with a class of nobody's.
    for name in [n for n in operations.OPERATIONS if n.startswith("pickle")]:
        del operations.OPERATIONS[name]
    # There seal() has a collection count what other threads let go of, and
    # the interpreter prints it when that has no memory for its callbacks.
    del operations.OPERATIONS["seal with a view"]

# These go another way: a smaller pool, a copy.
PASSED_OVER = 200
operations.pooling.insists = True

# The codes of functions that functions of ours make. CPython frees one while
# it is in use when it gets no memory for the function, anybody's, and crashes
# some time later: 3.12 and 3.13. So no operation may make one.
INNER = [
    constant
    for function in gc.get_objects()
    if isinstance(function, FunctionType)
    and str(function.__module__).startswith("shmemext")
    for constant in function.__code__.co_consts
    if isinstance(constant, CodeType)
]


def references():
    return [*map(sys.getrefcount, INNER)]


# What is there by now is no garbage of an operation. Without a GIL, each
# collection would look at all of it.
gc.freeze()

count = 0
before = references()
for name, operation in operations.OPERATIONS.items():
    expected = IN_PYTHON if any(what in name for what in PYTHON) else EXPECTED
    k = successes = 0
    passed = PASSED_OVER if name.startswith("pool") else PASSED
    while successes < passed:
        try:
            error = operations.attempt(
                operation, partial(set_nomemory, k, k + 1), remove_mem_hooks
            )
            assert error is None or isinstance(error, expected), error
            assert references() == before, "of an inner function"
        except BaseException:
            print(f"{name}: allocation {k}")
            raise
        successes = successes + 1 if error is None else 0
        count += error is not None
        k += 1
print(count)
