# SPDX-License-Identifier: MIT
"""No room, at create and at grow: an exception, and nothing has changed.

The scripts run on a small file system of their own, in a mount namespace: a
tmpfs, and an ext4 on a loop device, where a page that cannot be had is told
at other moments.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from textwrap import dedent

import kinds
import pytest
import test_full
from conftest import python

PRELUDE = """\
import errno, gc, os, re, resource, subprocess, sys, warnings
from pathlib import Path
from shmemext import AnonymousMemory, MappedFile, SharedMemory

warnings.simplefilter("error")
KiB, MiB = 1 << 10, 1 << 20
LARGE = min(1 << 40, sys.maxsize // 2)
DISK = sys.argv[1]

def path(name):
    return f"{DISK}/{name}"

def make(name, size, **options):
    if DISK == "/dev/shm":  # both kinds live there
        return SharedMemory(name, create=True, size=size, **options)
    return MappedFile(path(name), create=True, size=size, **options)

def file(name, size, **options):
    return MappedFile(path(name), create=True, size=size, **options)

def names():
    return {
        name for name in os.listdir(DISK)
        if not name.startswith((".shmemext-", "lost+found"))
    }

def room():
    status = os.statvfs(DISK)
    return status.f_bavail * status.f_frsize

def held():
    maps = Path("/proc/self/maps").read_text().splitlines()
    return len(os.listdir("/proc/self/fd")), [
        line for line in maps
        if DISK + "/" in line and "/.shmemext-" not in line
    ]

def fails(call, *codes):
    try:
        call()
    except OSError as caught:
        assert caught.errno in (codes or (errno.ENOSPC,)), caught
        return caught
    sys.exit("went well")

def fill(path):
    "Takes all the room that there is."
    with open(path, "wb", buffering=0) as filler:
        for size in MiB, 4096, 1:
            try:
                while filler.write(b"f" * size) == size:
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC, error

def state(name):
    # All that a failure might have changed, but for a block or so that ext4
    # keeps to write down that there are none.
    status = os.stat(path(name))
    return status.st_size, status.st_blocks // 64, names(), held()
"""


@cache
def ext4():
    """Can this machine mount one?"""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return False
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", _MOUNT + "true", "sh", "8M", "/"],
        capture_output=True,
    )
    return done.returncode == 0


# Arguments: size, directory. The image has no name any more once it is
# mounted; the loop device goes with the namespace.
_MOUNT = """
set -e
PATH=$PATH:/sbin:/usr/sbin
work=$(mktemp -d)
truncate -s "$1" "$work/image"
mkfs.ext4 -q -m 0 -F "$work/image"
mkdir "$work/disk"
mount -o loop "$work/image" "$work/disk"
trap 'umount -l "$work/disk"; rm -rf "$work"' EXIT
disk=$work/disk
"""


@pytest.fixture(params=["tmpfs", "ext4"])
def on_disk(request):
    """Runs a script on a file system of about some size."""
    if request.param == "tmpfs":
        if test_full.namespace() is None:
            pytest.skip("no permission to mount a small /dev/shm (unshare)")
        enter = test_full.namespace()
        mount = 'mount -t tmpfs -o size="$1" tmpfs /dev/shm; disk=/dev/shm\n'
    else:
        if not ext4():
            pytest.skip("no permission to mount an ext4 (loop device, root)")
        enter = ["unshare", "-m", "sh", "-c"]
        mount = _MOUNT

    def run(size, script):
        code = PRELUDE + dedent(script)
        done = subprocess.run(
            [
                *enter,
                mount + '"$2" -c "$3" "$disk"',
                "sh",
                size,
                sys.executable,
                code,
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    run.system = request.param
    return run


# --- create


def test_create_that_does_not_fit_leaves_nothing(on_disk):
    on_disk(
        "16m",
        """
        before = names(), held(), room()
        for size in (room() + MiB, 17 * MiB, 100 * MiB, LARGE):
            error = fails(lambda: file("large", size))
            text = str(error)
            assert error.filename == path("large") and path("large") in text
            assert str(size) in text, text
            free = re.findall(r"\\b\\d+\\b", text)
            assert any(abs(int(n) - before[2]) < MiB for n in free), text
            assert (names(), held(), room()) == before, size
        # and then one that does
        with file("small", 4 * MiB) as memory:
            memory.buf[:] = b"x" * (4 * MiB)
        assert names() - before[0] == {"small"}
        """,
    )


def test_one_of_two_that_fit_alone_is_made(on_disk):
    """Each reserves page by page: both would find the room taken."""
    on_disk(
        "64M",
        test_full.CONTEST
        + """
def create(number):
    return "C", file(str(number), 40 * MiB)

for round in range(10):
    assert contest(2, create) == "CF"
    (name,) = names()
    os.unlink(path(name))
""",
    )


def test_taken_path_is_told_before_full(on_disk):
    on_disk(
        "16m",
        """
        file("taken", MiB).close()
        before = state("taken")
        fails(lambda: file("taken", 100 * MiB), errno.EEXIST)
        assert state("taken") == before
        """,
    )


def test_no_sigbus_after_the_disk_is_full(on_disk):
    """What was reserved is there, whatever others take."""
    on_disk(
        "16m",
        """
        memory = file("mine", 3 * MiB)
        fill(path("filler"))
        memory.buf[:] = b"x" * (3 * MiB)
        memory.flush()
        memory.populate()
        assert memory.write(b"y" * (3 * MiB)) == 3 * MiB
        memory.flush()
        assert Path(path("mine")).read_bytes() == b"y" * (3 * MiB)
        """,
    )


# --- grow


def test_grow_that_does_not_fit_changes_nothing(on_disk):
    """Sizes that are seen to be too large, and sizes that are tried."""
    on_disk(
        "14m",
        """
        makers = [make, file] if DISK == "/dev/shm" else [file]
        for maker in makers:
            memory = maker("mine", 3 * MiB)
            memory.buf[:] = b"x" * (3 * MiB)
            buf, view = memory.buf, memory.buf[5:]
            memory.flush()
            os.sync()
            before = state("mine")
            free = room()
            assert free < 15 * MiB
            for size in (3 * MiB + free + MiB, 30 * MiB, LARGE):
                error = fails(lambda: memory.grow(size))
                text = str(error)
                assert "mine" in text, text
                numbers = [int(n) for n in re.findall(r"\\b\\d+\\b", text)]
                # what was asked, or how much more that is; and the room
                assert {size, size - 3 * MiB} & set(numbers), text
                assert any(abs(n - free) < MiB // 2 for n in numbers), text
                assert state("mine") == before, (size, before, state("mine"))
                assert memory.size == 3 * MiB and memory.buf is buf
                assert room() >= free - 64 * KiB, (room(), free)
            assert bytes(view) == b"x" * (3 * MiB - 5)
            memory.grow(4 * MiB)
            memory.buf[:] = b"y" * (4 * MiB)
            memory.flush()
            assert bytes(view) == b"y" * (3 * MiB - 5)
            memory.close()
            os.unlink(path("mine"))
        """,
    )


def test_pieces_of_a_grow_are_given_back(on_disk):
    """There is room when it is looked at. After the first pieces there is
    not: a thread has taken it, which the pieces themselves let in."""
    on_disk(
        "400m",
        """
        import threading, time

        def take(free):
            while free - room() < 20 * MiB:
                time.sleep(0)
            with open(path("other"), "wb") as other:
                for _ in range(6):
                    try:
                        at = other.tell()
                        os.posix_fallocate(other.fileno(), at, 40 * MiB)
                        other.seek(at + 40 * MiB)
                    except OSError:
                        break

        memory = make("mine", 5000)
        memory.buf[:5] = b"hello"
        memory.flush()
        os.sync()
        for attempt in range(30):
            before, free = state("mine"), room()
            thread = threading.Thread(target=take, args=(free,))
            thread.start()
            try:
                memory.grow(300 * MiB)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                thread.join()
                os.unlink(path("other"))
                os.sync()
                assert state("mine") == before
                assert room() >= free - 64 * KiB, (room(), free)
                assert bytes(memory.buf[:5]) == b"hello"
                break
            thread.join()
            memory.close()
            os.unlink(path("other"))
            os.unlink(path("mine"))
            memory = make("mine", 5000)
            memory.buf[:5] = b"hello"
            memory.flush()
            os.sync()
        else:
            sys.exit("nobody got in between")
        """,
    )


def test_grow_that_fails_takes_nothing_from_one_that_succeeds(on_disk):
    """What it gives back is what it took, and not what another process has
    got and written meanwhile."""
    on_disk(
        "14m",
        """
        memory = make("mine", 4096)
        pid = os.fork()
        while pid == 0:  # until it is killed
            fails(lambda: memory.grow(15 * MiB))  # tried, in one piece
            memory.refresh()
        step, written = 32 * KiB, set()
        try:
            for size in range(step, 6 * MiB, step):
                try:
                    memory.grow(size)
                except OSError as error:  # the other one has it all just now
                    assert error.errno == errno.ENOSPC
                    continue
                memory.buf[size - step : size] = b"y" * step
                written.add(size)
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        memory.refresh()
        memory.flush()
        assert len(written) > 20, len(written)
        on_disk = Path(path("mine")).read_bytes()
        for end in written:
            assert memory.buf[end - step : end] == b"y" * step, end
            assert on_disk[end - step : end] == b"y" * step, end
        """,
    )


def test_holes_of_a_sparse_file_stay_holes(on_disk):
    """A failed grow gives back what it took, and no more than that: what was
    beyond the end before is not touched, what was a hole is none of it."""
    on_disk(
        "24m",
        """
        memory = make("mine", 3 * MiB, reserve=False)
        memory.buf[0] = memory.buf[-1] = 7
        memory.flush()
        os.sync()
        before = os.stat(path("mine"))
        reserved = type(memory)(path("mine") if DISK != "/dev/shm" else "mine")
        fails(lambda: reserved.grow(60 * MiB))
        os.sync()
        after = os.stat(path("mine"))
        assert after.st_size == before.st_size
        assert after.st_blocks <= before.st_blocks + 16
        assert memory.buf[0] == memory.buf[-1] == 7
        """,
    )


def test_reserve_false_grows_beyond_the_room(on_disk):
    on_disk(
        "16m",
        """
        memory = make("mine", 4096, reserve=False)
        memory.grow(1 << 30)
        assert memory.size == len(memory.buf) == 1 << 30
        memory.buf[1 << 29] = 7
        assert type(memory)(
            path("mine") if DISK != "/dev/shm" else "mine"
        ).buf[1 << 29] == 7
        """,
    )


def test_grow_of_another_does_not_fit_here(on_disk):
    """Two objects: what one could not get, the other does not see."""
    on_disk(
        "16m",
        """
        memory = file("mine", MiB)
        peer = MappedFile(path("mine"))
        fails(lambda: peer.grow(100 * MiB))
        assert memory.refresh() is False
        peer.grow(2 * MiB)
        assert memory.refresh() is True
        """,
    )


# --- pages that are not there


def test_copying_into_a_full_disk(on_disk):
    """A sparse memory on a disk without room: OSError, not SIGBUS, and no
    warning of the guard's."""
    on_disk(
        "16m",
        """
        memory = make("mine", 64 * MiB, reserve=False)
        data = b"x" * (64 * MiB)
        error = fails(lambda: memory.write(data), errno.ENOSPC, errno.EFAULT)
        fails(lambda: memory.populate(), errno.ENOSPC, errno.EFAULT)
        big = bytearray(64 * MiB)
        try:
            memory.readinto(big)
        except OSError:
            pass
        assert set(big) <= {0, ord("x")}
        assert memory.write(b"y") == 1
        assert memory.buf[0] == ord("y")
        del memory
        gc.collect()
        """,
    )


def test_write_where_only_some_pages_are_missing(on_disk):
    """However a look at some of the pages comes out: an error, no warning;
    and once there is room, what is written is what a peer reads."""
    on_disk(
        "16m",
        """
        memory = make("mine", 64 * MiB, reserve=False)
        peer = type(memory)(path("mine") if DISK != "/dev/shm" else "mine")
        for at in range(9):
            memory.buf[at * ((MiB - 1) // 8)] = 1
        fill(path("filler"))
        fails(lambda: memory.write(b"x" * MiB), errno.ENOSPC, errno.EFAULT)
        os.unlink(path("filler"))
        try:
            assert memory.write(b"y" * MiB) == MiB
        except OSError:
            pass
        else:
            assert peer.buf[:MiB] == b"y" * MiB
        del memory, peer
        gc.collect()
        """,
    )


def test_populate_with_room_reserves(on_disk):
    on_disk(
        "24m",
        """
        memory = make("mine", 4 * MiB, reserve=False)
        memory.populate()
        memory.flush()
        assert os.stat(path("mine")).st_blocks * 512 >= 4 * MiB
        fill(path("filler"))
        assert memory.write(b"x" * (4 * MiB)) == 4 * MiB
        """,
    )


# --- a limit on files


@pytest.mark.parametrize(
    "kind", ["SharedMemory", "MappedFile", "AnonymousMemory"]
)
def test_limit_on_the_size_of_files(kind, tmp_path):
    """RLIMIT_FSIZE: an error as any other, and nothing left."""
    python(
        """
import errno, os, resource, sys
import kinds
from conftest import descriptors
with kinds.kind_of(sys.argv[1], sys.argv[2]) as kind:
    memory = kind.create(5000)
    memory.buf[:5] = b"hello"
    path = kind.path(memory)
    limit = 1 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    before = descriptors(), kinds.memfds(), kind.stat(memory).st_blocks
    for call in (
        lambda: memory.grow(40 << 20),
        lambda: memory.grow(limit + 1),
        lambda: kind.create(40 << 20),
        lambda: kind.create(limit + 1),
        lambda: kind.create(limit + 1, reserve=False),
    ):
        try:
            call()
        except OSError as error:
            assert error.errno in (errno.EFBIG, errno.ENOSPC), error
        else:
            sys.exit("went well")
        assert kind.stat(memory).st_size == memory.size == 5000
        after = descriptors(), kinds.memfds(), kind.stat(memory).st_blocks
        assert after == before
    assert bytes(memory.buf[:5]) == b"hello"
    memory.grow(limit)
    memory.buf[-1] = 7
    os.listdir(sys.argv[2])
""",
        kind,
        tmp_path,
        env=kinds.HERE,
    )


# --- what is on disk


@pytest.mark.parametrize("moment", ["create", "flush", "grow"])
def test_what_was_promised_is_there_after_a_power_cut(moment):
    """The image of the disk is copied while it is mounted: that is what a
    power cut would leave. Mounted, it has the file."""
    if not ext4():
        pytest.skip("no permission to mount an ext4 (loop device, root)")
    code = PRELUDE + dedent(
        """
        import shutil
        moment = sys.argv[2]
        memory = file("mine", 100_000)
        if moment == "flush":
            os.sync()
            memory.buf[50_000:50_005] = b"hello"
            memory.flush(50_000, 5)
            size = 100_000
        elif moment == "grow":
            os.sync()
            memory.grow(200_000)
            memory.buf[150_000:150_005] = b"hello"
            memory.flush()
            size = 200_000
        else:
            size = 100_000
        work = Path(DISK).parent
        shutil.copyfile(work / "image", work / "cut")
        (work / "after").mkdir()
        subprocess.run(
            ["mount", "-o", "loop", work / "cut", work / "after"], check=True
        )
        left = work / "after" / "mine"
        assert left.stat().st_size == size, left.stat()
        data = left.read_bytes()
        assert len(data) == size
        if moment != "create":
            at = 50_000 if moment == "flush" else 150_000
            assert data[at : at + 5] == b"hello"
        assert left.stat().st_blocks * 512 >= size, left.stat()
        subprocess.run(["umount", work / "after"], check=True)
        """
    )
    done = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c"),
            _MOUNT + '"$2" -c "$3" "$disk" "$4"',
            *("sh", "16m", sys.executable, code, moment),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
