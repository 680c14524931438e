# SPDX-License-Identifier: MIT
"""Does the shmemext that is installed here work? No checkout, no pytest.

    python tests/release_smoke.py

Of each part something: what is installed, and stripped; the demo; a reaper
that removes what a family that is killed leaves behind; a segment, a list, a
lock, a channel, a queue and a buffer by reference, between two programs each;
arrays, or the error where there is no numpy. No name of ours is left.
"""

import importlib.metadata
import importlib.util
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import shmemext
from shmemext import (
    Channel,
    Lock,
    OwnerDied,
    Queue,
    ShareableList,
    SharedMemory,
    _pools,
    handoff,
    segments,
)

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(shmemext.__file__).resolve().parent
REAPER = PACKAGE / "shmemext-reaper"
EXTENSION = Path(shmemext._shmemext.__file__)
PATIENCE = 60  # seconds: reapers are quick, machines may not be
SHM = Path("/dev/shm")
LARGE = 1 << 20


def run(*command, **options):
    """What it prints."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def other(code, *arguments):
    """What another program prints, of a family of its own."""
    return run(sys.executable, "-c", code, *arguments)


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


# --- what is installed


def check_place():
    assert PACKAGE != ROOT / "shmemext", "this is the checkout's"
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_shmemext.pyi").exists()


def check_version():
    """By the package, by what pip knows, and by the command."""
    version = shmemext.__version__
    assert importlib.metadata.version("shmemext") == version
    command = Path(sys.executable).with_name("shmemext")
    for how in [command], [sys.executable, "-m", "shmemext"]:
        said = run(*how, "--version")
        assert said.startswith(f"shmemext {version} ("), said


def check_symbols():
    """There are none but those that a loader needs."""
    for path in EXTENSION, REAPER:
        content = path.read_bytes()
        assert content[:4] == b"\x7fELF", path
        for section in b"\0.symtab\0", b"\0.debug_info\0":
            assert section not in content, (path, section)


def check_reaper():
    """By its mode, and by running it: without an argument it says how."""
    assert REAPER.stat().st_mode & 0o111 == 0o111, oct(REAPER.stat().st_mode)
    done = subprocess.run([REAPER], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert done.stderr.startswith("usage: shmemext-reaper"), done


# --- what it does


def check_demo():
    said = run(sys.executable, ROOT / "examples" / "demo.py")
    assert said.count("Hello from child process\n") == 2, said


# Its family is it alone.
CREATOR = """
import shmemext, sys
shm = shmemext.SharedMemory(create=True, size=5000)
print(shm.name, flush=True)
sys.stdin.read()
"""


def check_kill():
    """Nobody else creates or sweeps meanwhile: it is the reaper's work."""
    with subprocess.Popen(
        [sys.executable, "-c", CREATOR],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as creator:
        name = creator.stdout.readline().strip()
        path = SHM / name
        assert name and path.stat().st_size == 5000
        creator.send_signal(signal.SIGKILL)
    wait_until(lambda: not os.path.lexists(path))


def check_segment():
    with SharedMemory(create=True, size=100) as shm:
        said = other(
            "import sys; from shmemext import SharedMemory\n"
            "shm = SharedMemory(sys.argv[1])\n"
            "shm.buf[:5] = b'hello'; print(shm.size)",
            shm.name,
        )
        assert (said, bytes(shm.buf[:5])) == ("100\n", b"hello")
        shm.unlink()


def check_list():
    items = ShareableList(["größer", 1, 2.5, None, b"\0"])
    said = other(
        "import sys; from shmemext import ShareableList\n"
        "items = ShareableList(name=sys.argv[1])\n"
        "items[1] += 1; print(ascii(list(items)))",
        items.shm.name,
    )
    assert said == "['gr\\xf6\\xdfer', 2, 2.5, None, b'\\x00']\n", said
    assert items[1] == 2
    items.shm.close()
    items.shm.unlink()


def check_lock():
    """Whose holder was killed."""
    name = f"smoke-{os.getpid()}"
    lock = Lock(name)
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import os, sys; from shmemext import Lock\n"
            "lock = Lock(sys.argv[1])\n"
            "lock.acquire(); os.kill(os.getpid(), 9)",
            name,
        ]
    )
    assert done.returncode == -signal.SIGKILL, done
    try:
        lock.acquire(timeout=PATIENCE)
    except OwnerDied:
        with lock.repair():
            pass
    else:
        raise AssertionError("nobody told of a death")
    with lock:
        assert lock.consistent


def check_channel():
    with Channel(create=True) as channel:
        said = other(
            "import sys; from shmemext import Channel\n"
            "with Channel(sys.argv[1]) as c: c.put(b'one'); c.put(b'two')\n"
            "print('sent')",
            channel.name,
        )
        assert said == "sent\n"
        channel.shutdown()
        assert list(channel) == [b"one", b"two"]
        channel.unlink()


def serve(tasks, results):
    for task in iter(tasks.get, None):
        results.put((os.getpid(), task * 2))
        tasks.task_done()


def check_queue():
    context = multiprocessing.get_context("spawn")
    tasks, results = Queue(), Queue()
    worker = context.Process(target=serve, args=(tasks, results))
    worker.start()
    for number in range(3):
        tasks.put(number)
    tasks.join()
    tasks.put(None)
    assert [results.get() for _ in range(3)] == [
        (worker.pid, number * 2) for number in range(3)
    ]
    worker.join()
    assert worker.exitcode == 0
    tasks.close()
    results.close()


def check_handoff():
    """A buffer goes by reference, and is what it was."""
    handoff.enable()
    ours, theirs = multiprocessing.Pipe()
    data = os.urandom(LARGE)
    ours.send(pickle.PickleBuffer(bytearray(data)))
    assert handoff.stats()["in_flight"] == 1, handoff.stats()
    received = theirs.recv()
    assert bytes(received) == data
    del received
    assert handoff.stats()["used"] == 0, handoff.stats()
    handoff.disable()
    ours.close()
    theirs.close()


def check_arrays():
    """Where there is numpy; else that is what is said."""
    from shmemext import arrays

    if importlib.util.find_spec("numpy") is None:
        try:
            arrays.zeros(3)
        except ImportError as error:
            assert error.name == "numpy", error
            return
        raise AssertionError("an array without numpy")
    name = f"smoke-array-{os.getpid()}"
    array = arrays.create(name, (2, 3), "i4")
    said = other(
        "import sys; from shmemext import arrays\n"
        "array = arrays.open(sys.argv[1])\n"
        "array[:] = 7; print(array.shape)",
        name,
    )
    assert (said, int(array.sum())) == ("(2, 3)\n", 42)
    arrays.unlink(name)


def check_leftovers():
    """Of our family's names, as the ledgers have them, there is none."""
    _pools.leave()
    wait_until(lambda: not [s for s in segments() if is_own(s.family)])


def is_own(family):
    return family is not None and family.own


CHECKS = [
    check_place,
    check_version,
    check_symbols,
    check_reaper,
    check_demo,
    check_kill,
    check_segment,
    check_list,
    check_lock,
    check_channel,
    check_queue,
    check_handoff,
    check_arrays,
    check_leftovers,
]


def main():
    for check in CHECKS:
        check()
    print(f"shmemext {shmemext.__version__} in {PACKAGE} works")


if __name__ == "__main__":
    main()
