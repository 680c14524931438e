# SPDX-License-Identifier: MIT
"""What there is where numpy is not: an ImportError that names it."""

import pytest
from conftest import python

CALLS = [
    "arrays.zeros(3)",
    "arrays.array([1, 2])",
    "arrays.empty_like([1])",
    "arrays.arange(3)",
    "arrays.create('shmemext-test-none', 3)",
    "AnonymousMemory(80).ndarray(10)",
]


@pytest.mark.parametrize("call", CALLS)
def test_call_says_what_is_missing(call):
    python(
        f"""
import sys
sys.modules["numpy"] = None
from shmemext import AnonymousMemory, arrays
try:
    {call}
except ImportError as error:
    assert error.name == "numpy", error
else:
    raise AssertionError("there is numpy")
"""
    )
