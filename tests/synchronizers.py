# SPDX-License-Identifier: MIT
"""To run a program on our synchronizers and on multiprocessing's: the same
values, or the same exceptions.

Where they are meant to differ, test_differences.py has both. What Python says
of a wrong call, and the end of a message that names the object, is free."""

import math
import multiprocessing
import os
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine

from shmemext import synchronize as ours

settings.register_profile(
    "synchronize",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=100,
    database=None,
    derandomize="CI" in os.environ,
)
profile = settings.get_profile("synchronize")

HUGE = 10**400


class Raised(NamedTuple):
    type: type
    message: str = ""

    def is_said_by(self, other):
        return (
            isinstance(other, Raised)
            and self.type is other.type
            and other.message.startswith(self.message)
        )


class IsFloat:
    def __float__(self):
        return 0.0


class IsIndex:
    def __index__(self):
        return 0


def outcome(program, module, *args):
    try:
        return program(module, *args)
    except (TypeError, OverflowError) as error:
        return Raised(type(error))  # Python's own words
    except OSError as error:
        return Raised(type(error), f"[Errno {error.errno}] ")
    except Exception as error:
        return Raised(type(error), str(error))


def same(program, *args):
    theirs = outcome(program, multiprocessing, *args)
    mine = outcome(program, ours, *args)
    if isinstance(theirs, Raised):
        assert theirs.is_said_by(mine), (theirs, mine)
    else:
        assert (type(mine), mine) == (type(theirs), theirs)


def result(call):
    """Its value, or the type of its exception."""
    try:
        return call()
    except Exception as error:
        return type(error)


def held(made):
    """With all that it has to give taken."""
    assert made.acquire() is True
    return made


def fails_at_once():
    return 1 / 0


# Arguments. None of these waits. To some of them, those of ADDED, the standard
# library can add the time that it is, as it does where it waits by and by.

NO_WAIT = [
    0,
    0.0,
    -0.0,
    -1,
    -0.5,
    False,
    1e-9,
    0.001,
    -math.inf,
    -1e300,
    Decimal(0),
    Fraction(0),
    Fraction(1, 1000),
    IsFloat(),
    IsIndex(),
]
ADDED = [0, 0.0, -1, False, 1e-9, 0.001, -math.inf, Fraction(0)]
NO_TIME = ["0", b"0", [], {}, 1j, HUGE, -HUGE]
WAIT = [None, 1, True, 1e10, 2**63, 1e18]


class Both(RuleBasedStateMachine):
    """One of each side, used in the same way."""

    kind = "Lock"
    args: tuple = ()

    def __init__(self):
        super().__init__()
        self.theirs = getattr(multiprocessing, self.kind)(*self.args)
        self.mine = getattr(ours, self.kind)(*self.args)
        self.count = 0

    def do(self, method, *args):
        def program(made):
            return getattr(made, method)(*args)

        theirs = outcome(program, self.theirs)
        mine = outcome(program, self.mine)
        if isinstance(theirs, Raised):
            assert theirs.is_said_by(mine), (theirs, mine)
        else:
            assert (type(mine), mine) == (type(theirs), theirs)
        return mine


def machine(base, kind, *args):
    made = type(kind, (base,), {"kind": kind, "args": args}).TestCase
    made.settings = settings(profile, max_examples=50)
    return made
