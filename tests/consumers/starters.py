# SPDX-License-Identifier: MIT
"""Packages that start processes in ways of their own: `make consumers`.

What their workers create is of the family of the program that started them:
it can be attached when the worker is gone, and goes with the program.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DEV_SHM

WORKER = '''\
"""What a worker does: a module that imports shmemext late."""

import importlib
import os


def create(name):
    memory = importlib.import_module("shmemext.shared_memory")
    memory.SharedMemory(name, create=True, size=10).buf[:2] = b"ok"
    return importlib.import_module("shmemext._shmemext")._own()


def create_and_die(name):
    create(name)
    os._exit(0)
'''

THERE = """
    import time
    time.sleep(0.2)  # for a reaper that should not be there
    assert bytes(shmemext.SharedMemory(sys.argv[1]).buf[:2]) == b"ok"
"""

# By package and method: what it takes to run worker.create(sys.argv[1]) in a
# process of the package's.
STARTERS = {
    "loky": """
    from loky import get_reusable_executor
    executor = get_reusable_executor(max_workers=1)
    own = executor.submit(worker.create, sys.argv[1]).result()
    executor.shutdown(kill_workers=True)
    assert own == shmemext._shmemext._own() is not None
""",
    **{
        f"{package} {method}": f"""
    import {package}
    process = {package}.get_context("{method}").Process(
        target=worker.create_and_die, args=(sys.argv[1],)
    )
    process.start()
    process.join()
"""
        for package, methods in (
            ("billiard", ["fork", "spawn"]),
            ("multiprocess", ["fork", "spawn", "forkserver"]),
        )
        for method in methods
    },
}


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("starter", STARTERS)
def test_worker_is_of_the_family(starter, order, tmp_path, name):
    """Whether shmemext is imported after the package, or before it and then
    used."""
    package = starter.partition(" ")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make consumers")
    (tmp_path / "worker.py").write_text(WORKER)
    first, then = f"import {package}", ""
    if order == "before":
        first, then = "", f"{first}; shmemext.SharedMemory(None, True, 1)"
    program = tmp_path / "program.py"
    program.write_text(f"""
import sys
import worker
{first}
import shmemext

if __name__ == "__main__":
    {then}
    {STARTERS[starter]}
    {THERE}
""")
    done = subprocess.run(
        [sys.executable, program, name],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not Path(DEV_SHM, name).exists()
