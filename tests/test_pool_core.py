# SPDX-License-Identifier: MIT
"""Pools of blocks without Python, and what may happen to who uses one."""

import pytest
from plain_c import (
    PROGRAMS,
    link,
    passed,
    sanitizers,
)


def program(where, noun, *flags):
    return link(PROGRAMS / f"{noun}_pool.c", where / noun, *flags)


@pytest.mark.parametrize("noun", ["directed"])
def test_pool_blocks_deaths_and_forks(noun, tmp_path):
    passed(program(tmp_path, noun, "-O1", *sanitizers()))
