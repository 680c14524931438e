# SPDX-License-Identifier: MIT
"""Pools of blocks without Python, and what may happen to who uses one."""

import pytest
from plain_c import (
    PROGRAMS,
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


def test_pool_of_threads(tmp_path):
    if not works(tuple(compiler()), THREADS):
        pytest.skip("this compiler has no ThreadSanitizer that works")
    passed(program(tmp_path, "threads", "-O1", *THREADS))
