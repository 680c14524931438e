# SPDX-License-Identifier: MIT
"""install(): ours for programs that cannot be edited."""

import os
import subprocess
import sys

import pytest
from test_managers import wait_until_gone

import shmemext

METHODS = ["fork", "spawn", "forkserver"]
MAIN = """
import sys
from multiprocessing import get_context, resource_tracker
import shmemext
"""


def run(tmp_path, code, *args, **env):
    """As a file, since spawn imports the main module."""
    file = tmp_path / "program.py"
    file.write_text(MAIN + code)
    quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}
    done = subprocess.run(
        [sys.executable, str(file), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **quiet, **env},
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


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_child_is_of_its_parents_family(tmp_path, method):
    """It keeps the parent's names, whoever kills the parent."""
    code = """
import os, signal, time

def child(name, parent):
    from multiprocessing.shared_memory import SharedMemory
    SharedMemory(name).buf[0] = 7
    while SharedMemory(name).buf[0] == 7:
        time.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent and sys.argv[1] == "spawn":
        time.sleep(0.01)
    time.sleep(0.5)  # the reaper's time, if it were not ours
    print(SharedMemory(name).buf[0], flush=True)

if __name__ == "__main__":
    if len(sys.argv) == 2:
        import subprocess
        command = [sys.executable, __file__, sys.argv[1], "parent"]
        print(subprocess.run(command, capture_output=True, text=True).stdout)
    else:
        shmemext.install()
        from multiprocessing.shared_memory import SharedMemory
        shm = SharedMemory(create=True, size=10)
        get_context(sys.argv[1]).Process(
            target=child, args=(shm.name, os.getpid())
        ).start()
        while shm.buf[0] != 7:
            time.sleep(0.01)
        shm.buf[0] = 8
        time.sleep(300)
"""
    assert run(tmp_path, code, method).strip() == "8"


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


SERVER_IS_KILLED = """
import os, signal, time
from pathlib import Path
how, order, method = sys.argv[1:]

def gone(names):
    return not any(Path("/dev/shm", name).exists() for name in names)

if __name__ == "__main__":
    if order == "before":
        from multiprocessing.managers import SharedMemoryManager
    if how == "shmemext":
        shmemext.install()
    if order == "after":
        from multiprocessing.managers import SharedMemoryManager
    with SharedMemoryManager(ctx=get_context(method)) as manager:
        names = [manager.SharedMemory(10).name]
        names.append(manager.ShareableList([1, 2]).shm.name)
        server = manager._process
        os.kill(server.pid, signal.SIGKILL)
        server.join()
        manager.shutdown = lambda: None  # of a server that is gone
    if how == "shmemext":
        while not gone(names):  # if they never are, run() says so
            time.sleep(0.01)
    else:
        assert not gone(names)
        from multiprocessing.shared_memory import SharedMemory
        for name in names:
            SharedMemory(name).unlink()
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("how", ["shmemext", "multiprocessing"])
def test_segments_go_when_a_managers_server_is_killed(
    tmp_path, how, order, method
):
    """The standard library's stay as long as the client lives."""
    run(tmp_path, SERVER_IS_KILLED, how, order, method)


def test_server_of_the_stdlib_leaves_the_names_to_its_clients(tmp_path):
    """Such a server does not own them, so a client's family goes on to."""
    name = run(
        tmp_path,
        """
import os, signal
if __name__ == "__main__":
    from multiprocessing.managers import SharedMemoryManager
    manager = SharedMemoryManager(ctx=get_context("fork"))
    manager.start()
    shmemext.install()
    print(manager.SharedMemory(10).name)
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join()
""",
    ).strip()
    assert wait_until_gone(name)


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
def classes(managers):
    return [
        dict(vars(kind)) for kind in (
            managers.SharedMemoryManager,
            managers.SharedMemoryServer,
            managers._SharedMemoryTracker,
        )
    ]
path = list(sys.meta_path)
if sys.argv[1] == "True":
    import multiprocessing.managers
    theirs = multiprocessing.managers.shared_memory
    methods = classes(multiprocessing.managers)
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
    assert classes(multiprocessing.managers) == methods
assert sys.meta_path == path
assert not any(
    "shmemext" in vars(value).get("__module__", "")
    for kind in classes(multiprocessing.managers)
    for value in kind.values() if hasattr(value, "__dict__")
)
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


# What a create takes at once is in the blocks of its file.
BLOCKS = """
import os

def blocks(shm):
    try:
        return os.stat(f"/dev/shm/{shm.name}").st_blocks
    finally:
        shm.close()
        shm.unlink()

def report(queue=None, *, depth=1):
    from multiprocessing.shared_memory import SharedMemory
    seen = [
        blocks(SharedMemory(create=True, size=1 << 20)) > 0,
        blocks(shmemext.SharedMemory(create=True, size=1 << 20)) > 0,
    ]
    # What is said is what is done.
    assert blocks(shmemext.SharedMemory(None, True, 1 << 20, reserve=True))
    assert not blocks(shmemext.SharedMemory(None, True, 9999, reserve=False))
    if queue is None:
        return seen
    queue.put(seen)
    if depth:
        in_child(sys.argv[1], queue)

def in_child(method, queue):
    process = get_context(method).Process(
        target=report, args=(queue,), kwargs={"depth": 0}
    )
    process.start()
    process.join()

def of_two_generations(method):
    context = get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=report, args=(queue,))
    process.start()
    process.join()
    return [queue.get(), queue.get()]
"""


@pytest.mark.parametrize("method", METHODS)
def test_install_says_what_reserve_is_by_default(tmp_path, method):
    code = """
if __name__ == "__main__":
    shmemext.install()
    assert report() == [True, True]
    shmemext.install(reserve=False)
    shmemext.install()
    assert report() == [False, False]
    assert of_two_generations(sys.argv[1]) == [[False, False]] * 2
    shmemext.install(reserve=True)
    assert report() == [True, True]
    shmemext.install(reserve=False)
    shmemext.uninstall()
    assert blocks(shmemext.SharedMemory(create=True, size=1 << 20))
"""
    run(tmp_path, BLOCKS + code, method)


@pytest.mark.parametrize("method", METHODS)
def test_environment_says_what_reserve_is_by_default(tmp_path, method):
    code = """
if __name__ == "__main__":
    assert not blocks(shmemext.SharedMemory(create=True, size=1 << 20))
    shmemext.install()
    assert report() == [False, False]
    assert of_two_generations(sys.argv[1]) == [[False, False]] * 2
    shmemext.install(reserve=True)
    assert report() == [True, True]
    shmemext.uninstall()
    assert not blocks(shmemext.SharedMemory(create=True, size=1 << 20))
"""
    run(tmp_path, BLOCKS + code, method, SHMEMEXT_RESERVE="0")


def test_unreserved_by_default_changes_nothing_else(tmp_path):
    run(
        tmp_path,
        """
before = shmemext.SharedMemory.__init__
def complaint(*args, **kwargs):
    try:
        shmemext.SharedMemory(*args, **kwargs)
    except TypeError as error:
        return str(error)
said = complaint(no_such_argument=1)
shmemext.install(reserve=False)
assert complaint(no_such_argument=1) == said, said

class Mine(shmemext.SharedMemory):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mine = True

shm = Mine(None, True, 10)
other = shmemext.SharedMemory(shm.name, readonly=True)
shm.buf[0] = 7
assert shm.mine and other.buf[0] == 7 and other.readonly
items = shmemext.ShareableList(["one", 2])
assert list(shmemext.ShareableList(name=items.shm.name)) == ["one", 2]
items.shm.unlink()
shm.unlink()
shmemext.uninstall()
assert shmemext.SharedMemory.__init__ is before
""",
    )


def test_package_that_is_not_there_is_an_error_and_leaves_nothing(tmp_path):
    run(
        tmp_path,
        """
path = list(sys.meta_path)
try:
    shmemext.install("no_such_package")
except ModuleNotFoundError as error:
    assert error.name == "no_such_package"
else:
    raise AssertionError
assert sys.meta_path == path
""",
    )
