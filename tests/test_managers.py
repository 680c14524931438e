# SPDX-License-Identifier: MIT
"""SharedMemoryManager and its server."""

import os
import signal
import time
from multiprocessing import get_context, managers

import pytest
from conftest import DEV_SHM, python, segments

import shmemext
from shmemext.managers import SharedMemoryManager, SharedMemoryServer


def exists(name):
    return (DEV_SHM / name).exists()


def wait_until_gone(*names):
    deadline = time.monotonic() + 60
    while any(map(exists, names)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(exists, names))


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def manager(request):
    manager = SharedMemoryManager(ctx=get_context(request.param))
    manager.start()
    yield manager
    manager.shutdown()


def test_segments_and_lists_end_with_the_manager(manager, name):
    shm = manager.SharedMemory(100)
    named = manager.SharedMemory(size=10, name=name)
    items = manager.ShareableList([1, "two"])
    assert isinstance(shm, shmemext.SharedMemory)
    assert isinstance(items, shmemext.ShareableList)
    assert named.name == name
    names = [shm.name, name, items.shm.name]
    assert all(map(exists, names))
    manager.shutdown()
    assert not any(map(exists, names))


def test_segments_end_when_the_server_is_killed(manager):
    names = [manager.SharedMemory(10).name for _ in range(5)]
    os.kill(manager._process.pid, signal.SIGKILL)
    assert wait_until_gone(*names)


def test_segments_survive_a_client_that_is_killed(manager):
    code = """
import os, signal, sys
from shmemext.managers import SharedMemoryManager
manager = SharedMemoryManager(sys.argv[1], authkey=bytes.fromhex(sys.argv[2]))
manager.connect()
print(manager.SharedMemory(10).name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    key = bytes(manager._authkey).hex()
    done = python(code, manager.address, key, check=False)
    name = done.stdout.strip()
    time.sleep(0.3)  # the client's reaper has had its time
    assert name and exists(name), done.stderr
    manager.shutdown()
    assert not exists(name)


def test_name_that_is_taken_is_not_the_managers(manager, name):
    owner = shmemext.SharedMemory(name, create=True, size=10)
    with pytest.raises(FileExistsError):
        manager.SharedMemory(10, name=name)
    manager.shutdown()
    assert exists(name)
    owner.close()
    owner.unlink()


def test_segment_that_was_unlinked_already_does_not_disturb(manager):
    gone, kept = manager.SharedMemory(10), manager.SharedMemory(10)
    gone.unlink()
    manager.shutdown()
    assert not exists(kept.name)


def test_manager_is_a_context_manager_and_so_are_its_segments():
    with SharedMemoryManager() as manager, manager.SharedMemory(10) as shm:
        name = shm.name
        assert exists(name)
    assert shm.buf is None and not exists(name)


def test_manager_that_is_not_started_makes_nothing():
    before = segments()
    manager = SharedMemoryManager()
    with pytest.raises((AssertionError, ValueError, OSError, TypeError)):
        manager.SharedMemory(10)
    assert not {n for n in segments() - before if n.startswith("psm_")}


def test_two_servers_share_no_list_of_names():
    servers = [
        SharedMemoryServer({}, None, b"key", "pickle") for _ in range(2)
    ]
    shm = shmemext.SharedMemory(create=True, size=10)
    try:
        servers[0].track_segment(None, shm.name)
        assert servers[0].list_segments(None) == [shm.name]
        assert servers[1].list_segments(None) == []
        servers[0].release_segment(None, shm.name)
        assert not exists(shm.name)
    finally:
        shm.close()
        for server in servers:
            server.listener.close()


def test_no_python_helper_process_is_started():
    done = python(
        """
from multiprocessing import get_context  # the others start a tracker anyway
from shmemext.managers import SharedMemoryManager
if __name__ == "__main__":
    with SharedMemoryManager(ctx=get_context("fork")) as manager:
        manager.SharedMemory(10)
        from multiprocessing import resource_tracker
        assert resource_tracker._resource_tracker._fd is None
""",
        env={"PYTHONWARNINGS": "ignore"},
    )
    assert done.stderr == ""


def test_registered_types_work_as_in_the_stdlib():
    class Mine(SharedMemoryManager):
        pass

    Mine.register("dict", dict, managers.DictProxy)
    with Mine(ctx=get_context("fork")) as manager:
        proxy = manager.dict()
        proxy["a"] = 1
        assert proxy.copy() == {"a": 1}
