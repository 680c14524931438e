# SPDX-License-Identifier: MIT
"""numpy, where it is there: a test that uses `np` is skipped where it is not,
as where words have 32 bits. There are no wheels for those."""

import re
from importlib import import_module
from importlib.util import find_spec

import pytest


class _Missing:
    def __bool__(self):
        return False

    def __getattr__(self, name):
        if name.startswith("_"):  # pytest looks at everything in a module
            raise AttributeError(name)
        pytest.skip("there is no numpy")


def needed_by(program):
    """Skips the test of one that imports it."""
    if not np and re.search(r"^ *import numpy", program, re.MULTILINE):
        pytest.skip("there is no numpy")


np = import_module("numpy") if find_spec("numpy") else _Missing()


def bytes_of(array):
    """Item by item: what lies between fields is anything."""
    if array.dtype.names:
        return [bytes_of(array[field]) for field in array.dtype.names]
    if array.dtype.char in "gG":
        return array.tolist()
    return array.tobytes()
