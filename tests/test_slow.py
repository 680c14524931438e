# SPDX-License-Identifier: MIT
"""A file that answers slowly keeps nobody else waiting; and what happens to
an object meanwhile, in another thread.

In each script, `during(call, path)` has a thread call something that comes to
wait for the file, and gives control to the `with` block as long as it does.
"""

import pytest
from conftest import python
from preload import build, environment

PRELUDE = """
import ctypes, os, sys, threading, time, warnings
from contextlib import contextmanager
from pathlib import Path
from shmemext import MappedFile, SharedMemory
libc = ctypes.CDLL(None)
libc.slow_hold.argtypes = ctypes.c_char_p, ctypes.c_int
MiB = 1 << 20

@contextmanager
def during(call, path):
    outcome = []
    def run():
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)
    path = os.fsencode(path)
    libc.slow_hold(path, 5)
    thread = threading.Thread(target=run)
    thread.start()
    while libc.slow_count() == 0 and not outcome:
        time.sleep(0)
    assert not outcome, (outcome, "it did not wait")
    yield outcome
    in_vain = libc.slow_let_go()
    thread.join()
    assert not in_vain, "nobody else could run"

def path_of(name):
    return "/dev/shm/" + name
"""

CALLS = {
    "refresh": "file.refresh()",
    "grow": "file.grow(2 * MiB)",
    "write": "file.write(bytes(MiB))",
    "fileno": "file.fileno()",
}


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return environment(build("slow", tmp_path_factory.mktemp("slow")))


def run(slow, script, *args):
    return python(PRELUDE + script, *args, env=slow, timeout=120)


@pytest.mark.parametrize("descriptor", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_others_run_while_a_file_is_waited_for(
    slow, tmp_path, call, descriptor
):
    """Other threads, those too that use the same object."""
    if (call, descriptor) == ("fileno", True):
        return  # there is nothing to wait for
    run(
        slow,
        f"""
path = sys.argv[1]
MappedFile(path, create=True, size=MiB).close()
file = MappedFile(path)
if {descriptor}:
    file.fileno()
with during(lambda: {CALLS[call]}, path) as outcome:
    assert file.size == len(file.buf) == MiB
    file.buf[5] = 7
    assert not file.readonly
assert not outcome or not isinstance(outcome[0], Exception), outcome
assert file.size >= MiB
""",
        tmp_path / "file",
    )


@pytest.mark.parametrize("call", CALLS)
def test_close_while_a_file_is_waited_for(slow, tmp_path, call):
    run(
        slow,
        f"""
path = sys.argv[1]
MappedFile(path, create=True, size=MiB).close()
file = MappedFile(path)
before = len(os.listdir("/proc/self/fd"))
with during(lambda: {CALLS[call]}, path) as outcome:
    file.close()
error, = outcome
if "write" in {call!r}:  # it has the memory in hand
    assert error == MiB
elif isinstance(error, Exception):
    assert isinstance(error, ValueError) and "closed" in str(error), error
assert file.buf is None
assert len(os.listdir("/proc/self/fd")) == before
""",
        tmp_path / "file",
    )


def test_write_goes_to_the_memory_that_it_began_with(slow, name):
    """Whatever the object is given meanwhile: here what may only be read. The
    write has it look for pages, then for a descriptor."""
    run(
        slow,
        """
name = sys.argv[1]
first = SharedMemory(name, create=True, size=MiB)
second = SharedMemory(name + "-2", create=True, size=MiB)
shm = SharedMemory(name)
with during(lambda: shm.write(b"x" * MiB), "/proc/self/pagemap") as outcome:
    shm.__init__(second.name, readonly=True)
assert outcome == [MiB], outcome
assert bytes(second.buf) == bytes(MiB)
assert bytes(first.buf) == b"x" * MiB
for each in first, second:
    each.unlink()
""",
        name,
    )


@pytest.mark.parametrize("call", ["refresh", "grow", "fileno"])
def test_another_memory_while_a_file_is_waited_for(slow, tmp_path, call):
    """What is done is done to the one that was meant, or to the other, as a
    whole."""
    run(
        slow,
        f"""
paths = [sys.argv[1] + each for each in "12"]
for path in paths:
    MappedFile(path, create=True, size=MiB).close()
file = MappedFile(paths[0])
os.truncate(paths[0], MiB + 5)
before = len(os.listdir("/proc/self/fd"))
with during(lambda: {CALLS[call]}, paths[0]) as outcome:
    file.__init__(paths[1])
if {call!r} == "fileno":
    assert os.fstat(outcome[0]).st_ino == os.stat(paths[1]).st_ino
    assert outcome[0] == file.fileno()
    before += 1
assert not isinstance(outcome[0], Exception), outcome
assert file.size == len(file.buf) == os.stat(paths[1]).st_size == MiB
file.buf[0] = 7
assert Path(paths[1]).read_bytes()[0] == 7
assert Path(paths[0]).read_bytes()[0] == 0
assert len(os.listdir("/proc/self/fd")) == before
""",
        tmp_path / "file",
    )
