# SPDX-License-Identifier: MIT
"""What the tests share."""

import gc
import multiprocessing
import os
import queue
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import CodeType

import machine as machines
import pytest
from arrays import needed_by, np
from broadcasts import SIZE

# Joins before /dev/shm is looked at.
from shmemext import Broadcast, Channel, _shmemext

DEV_SHM = Path("/dev/shm")
# In a line of /proc/PID/maps. A family's files are none, but for one that was
# made there and has got a name: see csrc/core/life/draft.h. Nor is what
# multiprocessing's own locks and the like keep for good.
SEGMENT = r"/dev/shm/(?!pym-|sem\.)(?!\.shmemext-(?![^/]+/d[0-9a-f]{16}\b))"

# What a shell starts in the background is deaf to Ctrl-C, and so would be all
# that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def fork_beside_no_ending_thread():
    """AddressSanitizer's malloc() is locked for ever in a child, if a thread
    that Python has joined was still ending when it was forked."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        threads = os.listdir("/proc/self/task")  # noqa: PTH208
        if len(threads) <= threading.active_count():
            break
        time.sleep(0.001)
    return fork()


fork = os.fork
if os.environ.get("SHMEMEXT_SANITIZER") == "address":
    os.fork = fork_beside_no_ending_thread


def segments():
    """The names in /dev/shm, without the tests' own semaphores."""
    return {
        name
        for name in os.listdir(DEV_SHM)  # noqa: PTH208 (hot)
        if not name.startswith("sem.")
    }


def descriptors():
    """The numbers of the open ones: without that of the listing, and that of
    a sanitizer's log, which the first report opens, of whatever."""
    log = re.search("log_path=([^ :]+)", os.environ.get("TSAN_OPTIONS", ""))
    numbers = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(FileNotFoundError):
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
            if not (log and target.startswith(log[1])):
                numbers.add(number)
    return numbers


def mappings():
    """The lines of this process's map that are segments."""
    text = Path("/proc/self/maps").read_text()
    return [line for line in text.splitlines() if re.search(SEGMENT, line)]


@pytest.fixture(scope="session", autouse=True)
def dev_shm_is_left_as_it_was():
    before = segments()
    yield
    # A process that only imported and was killed leaves an empty directory.
    # After the sweep the directories that are left belong to the living: the
    # tests' own process and its forkserver.
    _shmemext._sweep(False)
    deadline = time.monotonic() + 60  # reapers are quick, machines may not be
    while left(before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left(before) == set(), "the tests left names in /dev/shm"


def left(before):
    return {
        name
        for name in segments() - before
        if not name.startswith(".shmemext-")
    }


def names_of(code):
    """All that a function uses, and what is defined in it."""
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*map(names_of, inner))


def pytest_runtest_setup(item):
    """Without numpy, a test that uses it is not begun: nothing is left."""
    if not np and "np" in names_of(item.function.__code__):
        pytest.skip("there is no numpy")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Whoever passes a descriptor starts a thread that waits for the other
    side, and so do tasks that wait. A fork() beside it is a warning, and so
    an error here."""
    yield
    sharer = sys.modules.get("multiprocessing.resource_sharer")
    if sharer is not None:
        sharer.stop(timeout=60)
    waiting = sys.modules.get("shmemext._waiting")
    if waiting is not None and waiting._threads is not None:
        waiting._threads.shutdown()
        waiting._threads = None


@pytest.fixture(autouse=True)
def no_pool_is_left():
    """This process's own is made when something is sent, and would stay until
    it ends."""
    yield
    pools = sys.modules.get("shmemext._pools")
    if pools is not None:
        pools.configure(None)
        pools.leave()
        assert pools.stats()["size"] == 0, "something is in flight, or held"


@pytest.fixture(autouse=True, scope="module")
def no_garbage_is_left():
    """What one module's tests leave in circles is not the next one's, which
    may count what there is before and after."""
    yield
    gc.collect()


@pytest.fixture
def name():
    """A name that no other test uses, gone afterwards."""
    unique = f"shmemext-test-{uuid.uuid4().hex[:12]}"
    yield unique
    (DEV_SHM / unique).unlink(missing_ok=True)


@pytest.fixture
def channel():
    with Channel(create=True, size=1 << 16) as made:
        yield made
        made.unlink()


@pytest.fixture
def full():
    """A channel that has no room for one byte more."""
    with Channel(create=True, size=4096) as made:
        with suppress(queue.Full):
            while True:
                made.put_nowait(bytes(100))
        with suppress(queue.Full):
            while True:
                made.put_nowait(b"")
        yield made
        made.unlink()


@pytest.fixture
def cast():
    with Broadcast(create=True, size=SIZE) as made:
        yield made
        made.unlink()


@pytest.fixture
def reader(cast):
    with Broadcast(cast.name) as made:
        yield made


@pytest.fixture
def channels():
    """As many as are asked for: by name, and gone at the end."""
    made = []

    def make(count=1, size=1 << 12):
        new = [Channel(create=True, size=size) for _ in range(count)]
        made.extend(new)
        return new if count > 1 else new[0]

    yield make
    for one in made:
        one.unlink()
        one.close()


@pytest.fixture
def pipe():
    """Its ends, as multiprocessing has them."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        yield reader, writer


@pytest.fixture(scope="module")
def computer():
    yield from machines.boot.__wrapped__()


@pytest.fixture
def machine(computer):
    yield computer
    computer.clean()


@pytest.fixture
def private(machine):
    """A machine whose /dev/shm is the test's own."""
    if not machine.private:
        pytest.skip("no /dev/shm of our own: no right to make namespaces")
    return machine


@pytest.fixture
def two_users(machine):
    machines.need_two_users(machine)
    return machine


@pytest.fixture
def gigabyte():
    """No more than that can be mapped besides what is: where words have 32
    bits there may be room for any size that there is a number for."""
    status = Path("/proc/self/status").read_text()
    mapped = int(re.search(r"VmSize:\s*(\d+) kB", status)[1]) << 10
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (1 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(params=["shmemext", "multiprocessing"])
def both(request):
    """A test that asks for this runs on our module and on the stdlib's."""
    import importlib

    return importlib.import_module(f"{request.param}.shared_memory")


def python(code, *args, check=True, env=None, timeout=300, **options):
    """Runs code in an interpreter of its own, so that it may die there."""
    needed_by(code)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
        **options,
    )
    if check:
        assert done.returncode == 0, (
            done.returncode,
            done.stdout,
            done.stderr,
        )
    return done
