# SPDX-License-Identifier: MIT
"""Pools of blocks without Python, and what may happen to who uses one.

SHMEMEXT_STORM_SECONDS is how long the storm takes, up to 10, and says that a
SIGKILL comes after more instructions than elsewhere; `make storm-arrays` takes
SECONDS, `make crash-arrays` all instructions there are.
"""

import pytest
from plain_c import (
    POINTS,
    PROGRAMS,
    SECONDS,
    THREADS,
    compile_one,
    compiler,
    core,
    link,
    passed,
    sanitizers,
    works,
)


def program(where, noun, *flags, objects=None):
    source = PROGRAMS / f"{noun}_pool.c"
    return link(source, where / noun, *flags, objects=objects)


@pytest.mark.parametrize("noun", ["directed", "forks", "space"])
def test_pool_blocks_deaths_forks_and_extents(noun, tmp_path):
    passed(program(tmp_path, noun, "-O1", *sanitizers()))


def test_pool_without_memory_and_without_pages(tmp_path):
    """Each allocation fails once, and there is less room than is wanted."""
    flags = ("-O1", *sanitizers())
    asks = [f"-D{of}=shx_test_{of}" for of in ("malloc", "calloc", "realloc")]
    objects = dict(core(*flags))
    for source in objects:
        if source.parent.name == "pool":
            into = tmp_path / f"{source.stem}.o"
            objects[source] = compile_one(source, into, *flags, *asks)
    passed(program(tmp_path, "full", *flags, objects=objects))


def test_pool_killed_after_each_instruction(tmp_path):
    """What was sent is there or was received, and nothing else is lost."""
    passed(program(tmp_path, "crash", "-O2"), min(POINTS, 100))


def test_pool_beside_one_that_stands_still(tmp_path):
    """After each instruction others come, and nothing is used again."""
    beside = program(tmp_path, "crash_beside", "-O2")
    for row in "free", "claim", "drop":
        passed(beside, POINTS, row)
    passed(beside, min(POINTS, 40), "reap")  # of thousands, all alike


def test_pool_in_a_storm(tmp_path):
    """No block is used again that is held or in flight, nothing is received
    twice, and each who was killed has lost one reference at most."""
    passed(program(tmp_path, "storm", "-O2"), min(SECONDS, 10))


def test_pool_with_a_hostile_writer(tmp_path):
    passed(program(tmp_path, "hostile", "-O1", *sanitizers()), 2)


def test_pool_of_threads(tmp_path):
    if not works(tuple(compiler()), THREADS):
        pytest.skip("this compiler has no ThreadSanitizer that works")
    passed(program(tmp_path, "threads", "-O1", *THREADS))
