# SPDX-License-Identifier: MIT
"""lifetime="users": what threads and exit functions still do when a process
ends, and what a child has that is forked while a thread leaves."""

import atexit
import contextlib
import multiprocessing
import multiprocessing.popen_fork
import multiprocessing.shared_memory
import os
import threading
from pathlib import Path

import pytest
from users_children import there

from shmemext import SharedMemory, _shmemext

METHODS = ["fork", "spawn", "forkserver"]
RUNS_ATEXIT = hasattr(multiprocessing.popen_fork, "atexit")


@pytest.fixture(params=["standard library", "family", "users"])
def segment(request):
    if request.param == "standard library":
        made = multiprocessing.shared_memory.SharedMemory(
            create=True, size=100
        )
    else:
        made = SharedMemory(create=True, size=100, lifetime=request.param)
    yield made
    made.close()
    if request.param == "users":
        assert not there(made.name)
    else:
        made.unlink()


def write_when_told(segment, connection):
    with contextlib.suppress(EOFError):
        connection.recv()
    segment.buf[0] = 1


def leave_to_a_thread(segment, connection):
    """Its own function is over long before the thread is."""
    threading.Thread(
        target=write_when_told, args=(segment, connection)
    ).start()


def write_last(segment):
    segment.buf[0] = 1


def write_at_exit(segment, connection):
    atexit.register(write_last, segment)


def run(method, target, segment):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    worker = context.Process(target=target, args=(segment, theirs))
    worker.start()
    return ours, worker


@pytest.mark.parametrize("method", METHODS)
def test_thread_of_a_worker_writes_after_its_function(method, segment):
    connection, worker = run(method, leave_to_a_thread, segment)
    worker.join(0.3)  # as far as it gets
    connection.send(None)
    worker.join()
    assert worker.exitcode == 0
    assert segment.buf[0] == 1


@pytest.mark.parametrize("method", METHODS)
def test_exit_function_of_a_worker_writes(method, segment):
    """Where workers call any."""
    _, worker = run(method, write_at_exit, segment)
    worker.join()
    assert worker.exitcode == 0
    assert segment.buf[0] == (RUNS_ATEXIT or method == "spawn")


def end_slowly(segment, connection):
    """It has done all that it does at its end, but is there still."""
    _shmemext._leave()
    connection.send(segment.buf[0])
    connection.recv()


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_last_one_out_while_another_process_ends(size):
    segment = SharedMemory(create=True, size=size, lifetime="users")
    segment.buf[0] = 7
    connection, worker = run("fork", end_slowly, segment)
    assert connection.recv() == 7
    assert there(segment.name)
    segment.close()
    assert not there(segment.name)
    connection.send(None)
    worker.join()
    assert worker.exitcode == 0


def has_stray(name):
    """Has this process the file open that it has not mapped?"""
    to = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            to.append(str(fd.readlink()))
    path = f"/dev/shm/{name}"
    return path in to and path not in Path("/proc/self/maps").read_text()


def attach_and_leave(segment, over):
    while not over.is_set():
        SharedMemory(segment.name).close()


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a child that is forked while another thread allocates waits for "
    "ever for AddressSanitizer's lock",
)
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_fork_while_threads_come_and_leave():
    """The child has nothing open for it: it would be taken for a user by who
    leaves last, as long as it lives."""
    segment = SharedMemory(create=True, size=100, lifetime="users")
    over = threading.Event()
    threads = [
        threading.Thread(target=attach_and_leave, args=(segment, over))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    strays = 0
    try:
        for _ in range(200):
            pid = os.fork()
            if pid == 0:
                segment.close()
                os._exit(has_stray(segment.name))
            strays += os.waitpid(pid, 0)[1] != 0
    finally:
        over.set()
        for thread in threads:
            thread.join()
    segment.close()
    assert strays == 0
    assert not there(segment.name)
