# SPDX-License-Identifier: MIT
"""install(): ours for programs that cannot be edited."""

import os
import subprocess
import sys

import pytest

import shmemext

METHODS = ["fork", "spawn", "forkserver"]
MAIN = """
import sys
from multiprocessing import get_context, resource_tracker
import shmemext
"""


def run(tmp_path, code, *args):
    """As a file, since spawn imports the main module."""
    file = tmp_path / "program.py"
    file.write_text(MAIN + code)
    done = subprocess.run(
        [sys.executable, str(file), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nothing_of_multiprocessing_is_touched_without_it(tmp_path):
    run(
        tmp_path,
        """
import multiprocessing.managers, multiprocessing.shared_memory as theirs
before = resource_tracker.register, multiprocessing.spawn.get_preparation_data
import shmemext.shared_memory, shmemext.managers
shmemext.SharedMemory(create=True, size=10).unlink()
assert multiprocessing.shared_memory is theirs
assert theirs.SharedMemory is not shmemext.SharedMemory
assert multiprocessing.managers.shared_memory is theirs
assert before == (
    resource_tracker.register, multiprocessing.spawn.get_preparation_data
)
""",
    )


@pytest.mark.parametrize("method", METHODS)
def test_children_have_it_too(tmp_path, method):
    code = """
def grandchild(queue):
    from multiprocessing import shared_memory
    queue.put(shared_memory.SharedMemory is shmemext.SharedMemory)

def child(name, queue):
    from multiprocessing import shared_memory
    from multiprocessing.shared_memory import SharedMemory
    assert SharedMemory is shared_memory.SharedMemory
    shm = SharedMemory(name)
    shm.buf[0] = 7
    shm.close()
    queue.put(SharedMemory is shmemext.SharedMemory)
    context = get_context(sys.argv[1])
    process = context.Process(target=grandchild, args=(queue,))
    process.start()
    process.join()

if __name__ == "__main__":
    context = get_context(sys.argv[1])
    shmemext.install()
    from multiprocessing.shared_memory import SharedMemory
    shm = SharedMemory(create=True, size=10)
    queue = context.Queue()
    process = context.Process(target=child, args=(shm.name, queue))
    process.start()
    assert queue.get(timeout=120) is True
    assert queue.get(timeout=120) is True
    process.join()
    assert shm.buf[0] == 7
    shm.close()
    shm.unlink()
"""
    run(tmp_path, code, method)


def test_managers_of_multiprocessing_use_it(tmp_path):
    run(
        tmp_path,
        """
if __name__ == "__main__":
    from multiprocessing.managers import SharedMemoryManager
    shmemext.install()
    with SharedMemoryManager(ctx=get_context("fork")) as manager:
        shm = manager.SharedMemory(10)
        assert type(shm) is shmemext.SharedMemory
        assert type(manager.ShareableList([1])) is shmemext.ShareableList
        shm.close()
""",
    )


@pytest.mark.parametrize("imported", [True, False])
def test_uninstall_puts_everything_back(tmp_path, imported):
    run(
        tmp_path,
        """
import multiprocessing, multiprocessing.spawn
before = (
    resource_tracker.register,
    resource_tracker.unregister,
    multiprocessing.spawn.get_preparation_data,
)
if sys.argv[1] == "True":
    import multiprocessing.managers
    theirs = multiprocessing.managers.shared_memory
for _ in range(2):
    shmemext.install()
    shmemext.install()
    import multiprocessing.managers
    from multiprocessing import shared_memory
    assert shared_memory.SharedMemory is shmemext.SharedMemory
    shmemext.uninstall()
    shmemext.uninstall()
import multiprocessing.shared_memory as now
assert now.SharedMemory is not shmemext.SharedMemory
assert multiprocessing.shared_memory is now
assert multiprocessing.managers.shared_memory is now
if sys.argv[1] == "True":
    assert now is theirs
assert before == (
    resource_tracker.register,
    resource_tracker.unregister,
    multiprocessing.spawn.get_preparation_data,
)
""",
        imported,
    )


def test_what_was_imported_by_name_keeps_its_class(tmp_path):
    run(
        tmp_path,
        """
from multiprocessing.shared_memory import SharedMemory
shmemext.install()
assert SharedMemory is not shmemext.SharedMemory
shm = SharedMemory(create=True, size=10)  # tracked, and told so, as ever
shm.close()
shm.unlink()
""",
    )


def test_unregister_means_untracked_for_the_creator(tmp_path):
    name = run(
        tmp_path,
        """
shmemext.install()
from multiprocessing import shared_memory
shm = shared_memory.SharedMemory(create=True, size=10)
resource_tracker.unregister(shm._name, "shared_memory")
assert resource_tracker._resource_tracker._fd is None
print(shm.name)
""",
    ).strip()
    kept = shmemext.SharedMemory(name, track=False)
    kept.close()
    kept.unlink()


def test_unregister_means_nothing_for_an_attacher(tmp_path, name):
    owner = shmemext.SharedMemory(name, create=True, size=10)
    run(
        tmp_path,
        """
from unittest import mock
shmemext.install()
from multiprocessing import shared_memory
shm = shared_memory.SharedMemory(sys.argv[1])
resource_tracker.unregister(shm._name, "shared_memory")
shm.close()
resource_tracker.unregister(shm._name, "shared_memory")
with mock.patch(
    "multiprocessing.resource_tracker.register", lambda *args, **kwargs: None
):
    shared_memory.SharedMemory(sys.argv[1]).close()
assert resource_tracker._resource_tracker._fd is None
""",
        name,
    )
    assert (owner.buf is not None) and shmemext.SharedMemory(name).size == 10
    owner.close()
    owner.unlink()


def test_other_resources_reach_the_tracker(tmp_path):
    run(
        tmp_path,
        """
from unittest import mock
calls = []
with mock.patch.object(
    resource_tracker, "register", lambda *args: calls.append(args)
), mock.patch.object(
    resource_tracker, "unregister", lambda *args: calls.append(args)
):
    shmemext.install()
    resource_tracker.register("/sem", "semaphore")
    resource_tracker.unregister("/sem", "semaphore")
    resource_tracker.register("/shm", "shared_memory")
    resource_tracker.unregister("/shm", "shared_memory")
    shmemext.uninstall()
assert calls == [("/sem", "semaphore")] * 2 + [("/shm", "shared_memory")] * 2
""",
    )
