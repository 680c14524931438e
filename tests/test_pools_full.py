# SPDX-License-Identifier: MIT
"""Pools where there is too little of something, or somebody meddles: what
cannot be sent by reference is not, and nothing is an error."""

import errno
import os
import random
import resource

import pytest
from conftest import DEV_SHM, python
from test_full import on_tmpfs as on_tmpfs

from shmemext import _pools


def test_full_dev_shm_sends_nothing(on_tmpfs):
    on_tmpfs(
        "8m",
        """
        from shmemext import _pools
        before = names()
        start = room()
        sent = []
        while (reference := _pools.refer(bytes(300_000))) is not None:
            sent.append(reference)
        size = _pools.stats()["size"]
        assert start // 2 - MiB < size <= start // 2, (start, size)
        assert len(sent) == size // 303_104, sent
        _pools.withdraw(sent)
        assert _pools.refer(bytes(3 * MiB)) is not None
        # what others have taken meanwhile is not to be had
        with open("/dev/shm/others", "wb", 0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError as error:
                assert error.errno == errno.ENOSPC
        assert _pools.refer(bytes(2 * MiB)) is None
        assert _pools.make(2 * MiB) is None
        os.unlink("/dev/shm/others")
        assert _pools.refer(bytes(100_000)) is not None
        """,
    )


def test_no_room_for_a_pool_is_no_pool(on_tmpfs):
    on_tmpfs(
        "1m",
        """
        from shmemext import _pools
        with open("/dev/shm/others", "wb", 0) as file:
            file.write(bytes(room() - (64 << 10)))
        before = names(), held()
        for _ in range(3):
            assert _pools.refer(bytes(1000)) is None
            assert _pools.make(1000) is None
        assert (names(), held()) == before
        assert _pools.stats()["refused"] == 6
        os.unlink("/dev/shm/others")
        _pools.configure(None)  # or a second later
        reference = _pools.refer(bytes(1000))
        assert bytes(_pools.receive(reference)) == bytes(1000)
        _pools.leave()
        """,
    )


def test_without_dev_shm_there_is_no_pool(on_tmpfs):
    on_tmpfs(
        "1m",
        """
        from shmemext import _pools
        os.statvfs = lambda path: 1 / 0
        subprocess.run(["umount", "-l", "/dev/shm"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs",
                        "/dev/shm"], check=True)
        _pools.configure(MiB)
        assert _pools.refer(bytes(1000)) is None
        assert _pools.make(1000) is None
        """,
    )


LIMITED = """
import resource
from pathlib import Path
from shmemext import _pools
pages = int(Path("/proc/self/statm").read_text().split()[0])
mapped = pages * resource.getpagesize()
size = {size}
resource.setrlimit(resource.RLIMIT_{limit}, (size, size))
_pools.configure({asked})
for seed in range(20):
    data = bytes([seed]) * 100_000
    reference = _pools.refer(data)
    assert reference is not None
    assert bytes(_pools.receive(reference)) == data
size = _pools.stats()["size"]
assert {least} <= size <= {most}, size
"""


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a sanitizer needs more address space than any limit allows",
)
@pytest.mark.parametrize("asked", [None, 1 << 40])
def test_pool_is_as_large_as_can_be_mapped(asked):
    python(
        LIMITED.format(
            limit="AS",
            size="mapped + (1 << 29)",
            asked=asked,
            least=1 << 20,
            most="(mapped >> 3) + (1 << 26)",
        )
    )


def test_pool_is_as_large_as_a_file_may_be():
    python(
        LIMITED.format(
            limit="FSIZE",
            size=1 << 22,
            asked=1 << 28,
            least=1 << 20,
            most=1 << 22,
        )
    )


NARROW = """
import resource, sys
from pathlib import Path
from shmemext import _pools
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for line in sys.stdin:
    reference = tuple(map(int, line.split()))
    try:
        received = _pools.receive(reference)
    except OSError as error:
        print(error.errno, flush=True)
    else:
        print(type(received).__name__, sum(received), flush=True)
        del received
"""


def test_who_cannot_map_a_pool_has_copies():
    """Of what is shared a copy would be something else."""
    import subprocess
    import sys

    data = random.Random(1).randbytes(200_000)
    _pools.configure(1 << 28)
    made = _pools.make(5000)
    program = subprocess.Popen(
        [sys.executable, "-c", NARROW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def asked(reference):
        print(*reference, file=program.stdin, flush=True)
        return program.stdout.readline().split()

    moved = _pools.refer(bytearray(data))
    assert asked(moved) == ["bytearray", str(sum(data))]
    with pytest.raises(LookupError):
        _pools.receive(moved)
    assert asked(_pools.refer(data)) == ["bytes", str(sum(data))]
    kept = _pools.refer(bytearray(data), kept=True)
    for _ in range(3):
        assert asked(kept) == ["bytearray", str(sum(data))]
    _pools.withdraw([kept])
    assert asked(_pools.refer(made)) == [str(errno.ENOMEM)]
    with program:
        program.stdin.close()
    del made
    assert _pools.stats()["held"] == _pools.stats()["in_flight"] == 0


HOLDING = """
import sys
from shmemext import _pools
held = _pools.receive(tuple(map(int, sys.argv[1:])))
print(len(held), flush=True)
sys.stdin.read()
"""


def _shorten(suffix):
    (pool,) = [one for one in _pools._known if one.own]
    path = DEV_SHM / f"{_pools.PREFIX}{pool.pair:016x}{suffix}"
    os.truncate(path, 0)


@pytest.mark.parametrize("suffix", ["", ".data"])
@pytest.mark.filterwarnings("ignore:shared memory .* cut short")
def test_pool_that_was_cut_short_is_left(suffix):
    reference = _pools.refer(bytes(100_000))
    lease = _pools.receive(_pools.refer(bytearray(b"x" * 100_000)))
    _shorten(suffix)
    bytes(lease)  # zeros, where there is nothing
    first = _pools.refer(bytes(100_000))
    with pytest.raises((OSError, LookupError)):
        _pools.receive(reference)
    second = _pools.refer(bytearray(b"y" * 100_000))
    assert second is not None
    assert second[0] != reference[0]
    assert bytes(_pools.receive(second)) == b"y" * 100_000
    if first is not None:
        _pools.withdraw([first])
    del lease
    _pools._forget()
    assert not any(DEV_SHM.glob(f"{_pools.PREFIX}{reference[0]:016x}*"))


def test_pool_whose_names_somebody_removed_is_left():
    """What is there by now is used; new pages are not to be had."""
    reference = _pools.refer(bytearray(100_000))
    name = f"{_pools.PREFIX}{reference[0]:016x}"
    (DEV_SHM / name).unlink()
    (DEV_SHM / f"{name}.data").unlink()
    assert bytes(_pools.receive(reference)) == bytes(100_000)
    assert _pools.refer(bytes(1 << 20)) is None
    again = _pools.refer(bytearray(1 << 20))
    assert again[0] != reference[0]
    assert bytes(_pools.receive(again)) == bytes(1 << 20)


READING = """
import os, sys
from shmemext import _pools
os.setgid(65534)
os.setuid(65534)
for line in sys.stdin:
    reference = tuple(map(int, line.split()))
    try:
        received = memoryview(_pools.receive(reference))
    except PermissionError:
        print("no right", flush=True)
        continue
    first = received[0]
    if not received.readonly:
        received[0] = 0
    print(first, received.readonly, flush=True)
    del received
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_who_may_only_read_reads():
    import subprocess
    import sys

    program = subprocess.Popen(
        [sys.executable, "-c", READING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def asked(reference):
        print(*reference, file=program.stdin, flush=True)
        return program.stdout.readline().split()

    made = memoryview(_pools.make(5000))
    made[0] = 5
    moved = [_pools.refer(bytearray(b"\7" * 100_000)) for _ in range(2)]
    assert asked(moved[0]) == ["no", "right"]
    name = f"{_pools.PREFIX}{moved[0][0]:016x}"
    (DEV_SHM / name).chmod(0o666)
    (DEV_SHM / f"{name}.data").chmod(0o644)
    assert asked(moved[0]) == ["7", "False"]  # its own, copied on write
    assert asked(moved[1]) == ["7", "False"]
    assert asked(_pools.refer(made)) == ["5", "True"]
    assert asked(_pools.refer(made.toreadonly())) == ["5", "True"]
    assert made[0] == 5
    with program:
        program.stdin.close()
    assert program.returncode == 0
    del made


NO_PLACE = """
import multiprocessing, os, sys
import shmemext
from shmemext import _pools

data = b"p" * 100_000
held = _pools.receive(_pools.refer(bytearray(data)))
told, tell = os.pipe()
children = []
for _ in range(255):
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.write(say, b"x")
        os.read(told, 1)
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(say)
    children.append(child)
assert _pools.stats()["places"] == 256
reference = _pools.refer(bytearray(b"q" * 100_000))
readonly = _pools.refer(b"r" * 100_000)
pinned_before = _pools.stats()["pinned"]
ready, say = os.pipe()
last = os.fork()
if last == 0:
    os.close(tell)
    status = 1
    try:
        assert type(_pools.receive(reference)) is bytearray
        assert _pools.receive(readonly) == b"r" * 100_000
        assert type(_pools.receive(readonly)) is bytes
    except LookupError:
        status = 0  # of the second load
    os.write(say, bytes([status]))
    os.read(told, 1)
    os._exit(0 if bytes(held) == data else 1)
assert os.read(ready, 1) == bytes(1)
assert _pools.stats()["pinned"] == pinned_before + 1
del held
for _ in range(40):
    _pools.withdraw([_pools.refer(bytes(100_000))])
os.close(tell)
os.close(told)
for child in [*children, last]:
    assert os.waitpid(child, 0)[1] == 0
print("well")
"""


def test_without_a_place_copies_are_had():
    """And what a fork hands on stays for good."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and soft < 400:
        pytest.skip("so many processes are more than this user may have")
    done = python(NO_PLACE, env={"PYTHONWARNINGS": "ignore"})
    assert done.stdout == "well\n"
