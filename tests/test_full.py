# SPDX-License-Identifier: MIT
"""Too little of everything: room in /dev/shm, descriptors, address space,
mappings.

The scripts run on a small tmpfs of their own, in a mount namespace, so that
filling /dev/shm disturbs nobody.
"""

import os
import subprocess
import sys
from functools import cache
from textwrap import dedent

import pytest
from conftest import python

from shmemext import SharedMemory

PRELUDE = """\
import errno, gc, os, resource, signal, subprocess, sys, threading, time
from pathlib import Path
from shmemext import SharedMemory

MiB = 1 << 20

def names():
    "What is in /dev/shm, without the library's own directories."
    return {
        name for name in os.listdir("/dev/shm")
        if not name.startswith((".shmemext-", "shmemext-test-", "psm_"))
    }

def room():
    status = os.statvfs("/dev/shm")
    return status.f_bavail * status.f_frsize

def used():
    status = os.statvfs("/dev/shm")
    return (status.f_blocks - status.f_bfree) * status.f_frsize

def held():
    "Descriptors, and mappings of segments."
    maps = Path("/proc/self/maps").read_text().splitlines()
    return os.listdir("/proc/self/fd"), [
        line for line in maps
        if "/dev/shm/" in line and "/dev/shm/.shmemext-" not in line
    ]

def fails(code, *args, error=OSError, **kwargs):
    try:
        SharedMemory(*args, **kwargs)
    except error as caught:
        assert caught.errno == code, caught
        return caught
    sys.exit(f"{args} {kwargs} went well")

def at_64_MiB(act):
    "Has a create that goes on call it, between two of its pieces."
    start = seen = room()
    delay = 0.001

    def look(number, frame):
        nonlocal seen, delay
        now = room()
        if now < start - 64 * MiB:
            return act()
        if now == seen:  # some kernels undo what a signal cuts short
            delay += 0.005
        seen = now
        signal.setitimer(signal.ITIMER_REAL, delay)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, delay)

# what the library sets up once is set up now
warm = SharedMemory(create=True, size=1)
warm.unlink()
warm.close()
"""


@cache
def namespace():
    """The command that runs another in a mount namespace, if any does."""
    for flags in ["-m"], ["-Urm"]:
        command = ["unshare", *flags, "sh", "-c"]
        script = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
        try:
            done = subprocess.run([*command, script], capture_output=True)
        except FileNotFoundError:
            return None
        if done.returncode == 0:
            return command
    return None


@pytest.fixture
def on_tmpfs():
    """Runs a script with a /dev/shm of some size, and nothing in it."""
    if namespace() is None:
        pytest.skip("no permission to mount a small /dev/shm (unshare)")

    def run(size, script):
        mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
        code = PRELUDE + dedent(script)
        done = subprocess.run(
            [*namespace(), mount, "sh", sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode, done.stderr) == (0, "")

    return run


# room


@pytest.mark.parametrize(
    "size", [9, 16, 17, 100, min(1 << 20, sys.maxsize >> 21)]
)
def test_create_larger_than_dev_shm_says_what_to_do(on_tmpfs, size):
    on_tmpfs(
        "8m",
        f"""
        before = names(), held(), room()
        error = fails(errno.ENOSPC, "large", create=True, size={size} * MiB)
        text = str(error)
        assert error.filename == "/large" and "/large" in text, text
        assert str({size} * MiB) in text, text
        assert f" {{before[2]}} " in text, text
        assert "--shm-size" in text, text
        assert (names(), held(), room()) == before
        """,
    )


def test_sizes_around_the_limit(on_tmpfs):
    on_tmpfs(
        "8m",
        """
        page = os.sysconf("SC_PAGESIZE")
        start = room()
        for left in -MiB, -page, -1, 0, 1, page, MiB:
            before = names(), held(), room()
            shm = None
            if left > 0:
                fails(errno.ENOSPC, "x", create=True, size=start + left)
            else:
                shm = SharedMemory("x", create=True, size=start + left)
                assert room() == -left // page * page
                shm.buf[:] = b"x" * len(shm.buf)
                shm.close()
                shm.unlink()
                del shm
            assert (names(), held(), room()) == before, left
        """,
    )


def test_full_after_the_first_pieces_leaves_nothing(on_tmpfs):
    """Reservation is done in pieces. Somebody takes the room between them:
    a signal's handler, which runs between them."""
    on_tmpfs(
        "600m",
        """
        def take():
            with open("/dev/shm/other", "wb") as other:
                os.posix_fallocate(other.fileno(), 0, 300 * MiB)

        before = names(), held(), room()
        at_64_MiB(take)
        fails(errno.ENOSPC, "large", create=True, size=500 * MiB)
        os.unlink("/dev/shm/other")
        assert (names(), held(), room()) == before
        """,
    )


def test_room_is_back_after_a_failed_create(on_tmpfs):
    on_tmpfs(
        "24m",
        """
        before = room()
        for size in 25, 24 + 16, 100:
            fails(errno.ENOSPC, create=True, size=size * MiB)
            assert room() == before
        for size in 17, 20:
            shm = SharedMemory("x", create=True, size=size * MiB)
            assert before - room() == size * MiB
            assert not any(shm.buf[::4096])
            shm.unlink()
            shm.close()
            assert room() == before
        """,
    )


def test_reserve_false_creates_what_does_not_fit(on_tmpfs):
    on_tmpfs(
        "8m",
        """
        before = room()
        shm = SharedMemory("x", create=True, size=1024 * MiB, reserve=False)
        assert shm.size == len(shm.buf) == os.stat("/dev/shm/x").st_size
        shm.buf[512 * MiB] = 7
        assert SharedMemory("x").buf[512 * MiB] == 7
        assert 0 < before - room() < MiB
        shm.unlink()
        """,
    )


def test_existing_segments_are_untouched_when_full(on_tmpfs):
    on_tmpfs(
        "8m",
        """
        first = SharedMemory("first", create=True, size=4 * MiB)
        first.buf[:] = b"7" * first.size
        for size in 5, 8, 40:
            fails(errno.ENOSPC, "second", create=True, size=size * MiB)
            fails(errno.ENOSPC, create=True, size=size * MiB)
        assert names() == {"first"}
        assert bytes(SharedMemory("first").buf) == b"7" * first.size
        first.unlink()
        """,
    )


def test_taken_name_is_told_before_full(on_tmpfs):
    """FileExistsError is what a program expects that tries to create and
    attaches if it cannot."""
    on_tmpfs(
        "8m",
        """
        first = SharedMemory("first", create=True, size=6 * MiB)
        for size in 1, 6, 100:
            fails(errno.EEXIST, "first", create=True, size=size * MiB)
        assert SharedMemory("first").size == 6 * MiB
        first.unlink()
        """,
    )


def test_full_for_another_process_too(on_tmpfs):
    on_tmpfs(
        "8m",
        """
        first = SharedMemory("first", create=True, size=6 * MiB)
        first.buf[:] = b"7" * first.size
        code = '''if True:
            from shmemext import SharedMemory
            try:
                SharedMemory("second", create=True, size=4 << 20)
            except OSError as error:
                print(error.errno, error.filename)
            with SharedMemory("first") as first:
                first.buf[0] = 8
        '''
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True
        )
        assert done.stdout == f"{errno.ENOSPC} /second\\n", done
        assert done.stderr == ""
        assert names() == {"first"} and first.buf[0] == 8
        first.unlink()
        """,
    )


# contests: room that is enough for one

CONTEST = """
def contest(count, act):
    "What `count` processes say that do the same at once: one letter each."
    go, said, stay = os.pipe(), os.pipe(), os.pipe()
    pids = []
    for number in range(count):
        pids.append(os.fork())
        if pids[-1] == 0:
            os.close(stay[1])
            os.read(go[0], 1)
            try:
                letter, kept = act(number)
            except OSError as error:
                letter = "F" if error.errno == errno.ENOSPC else repr(error)
            os.write(said[1], letter.encode())
            os.read(stay[0], 1)  # until all have said something
            os._exit(0)
    os.close(stay[0])
    os.write(go[1], b"x" * count)
    answers = ""
    while len(answers) < count:
        answers += os.read(said[0], 100).decode()
    os.close(stay[1])
    for pid in pids:
        os.waitpid(pid, 0)
    for end in (*go, *said):
        os.close(end)
    return "".join(sorted(answers))
"""


@pytest.mark.parametrize("count", [2, 5])
def test_one_of_those_that_fit_alone_creates(on_tmpfs, count):
    """Each reserves page by page: all would find the room taken."""
    on_tmpfs(
        "64m",
        CONTEST
        + f"""
def create(number):
    shm = SharedMemory(f"own-{{number}}", create=True, size=40 * MiB)
    return "C", shm

for round in range(20):
    assert contest({count}, create) == "C" + "F" * ({count} - 1)
    for name in names():
        os.unlink("/dev/shm/" + name)
""",
    )


@pytest.mark.parametrize("count", [2, 5])
def test_starters_of_one_segment_all_have_it(on_tmpfs, count):
    on_tmpfs(
        "64m",
        CONTEST
        + f"""
def start(number):
    shm = SharedMemory("one", create=True, size=40 * MiB, exist_ok=True)
    return "C" if shm.created else "a", shm

for round in range(20):
    assert contest({count}, start) == "C" + "a" * ({count} - 1)
    os.unlink("/dev/shm/one")
""",
    )


def test_one_of_those_that_fit_alone_grows(on_tmpfs):
    on_tmpfs(
        "64m",
        CONTEST
        + """
both = [SharedMemory(f"{i}", create=True, size=MiB) for i in range(2)]

def grow(number):
    both[number].grow(40 * MiB)
    return "G", None

for round in range(20):
    before = room()
    assert contest(2, grow) == "FG"
    assert before - room() == 39 * MiB
    for shm in both:
        os.truncate(f"/dev/shm/{shm.name}", MiB)
for shm in both:
    shm.unlink()
""",
    )


def test_room_that_is_taken_for_good_is_not_waited_for(on_tmpfs):
    """Nor is a thread stopped for it: exist_ok is, but not for long."""
    on_tmpfs(
        "64m",
        """
        first = SharedMemory("first", create=True, size=40 * MiB)
        for size in 30, 60, 100:
            fails(errno.ENOSPC, "x", create=True, size=size * MiB)
            fails(
                errno.ENOSPC, "x", create=True, size=size * MiB, exist_ok=True
            )
        first.unlink()
        """,
    )


def test_ctrl_c_ends_the_wait_for_room(on_tmpfs):
    """The room changes all the time, so somebody might be about to create
    the segment."""
    on_tmpfs(
        "64m",
        """
        first = SharedMemory("first", create=True, size=40 * MiB)
        before = held()
        stop = threading.Event()

        def change():
            while not stop.wait(0.01):
                with SharedMemory("other", create=True, size=MiB) as other:
                    time.sleep(0.01)
                    other.unlink()

        thread = threading.Thread(target=change)
        thread.start()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 1)
        try:
            SharedMemory("x", create=True, size=40 * MiB, exist_ok=True)
        except KeyboardInterrupt:
            pass
        else:
            sys.exit("not interrupted")
        finally:
            stop.set()
            thread.join()
        assert names() == {"first"} and held() == before
        first.unlink()
        """,
    )


# signals and threads while pages are reserved


def test_other_threads_run_while_pages_are_reserved(on_tmpfs):
    on_tmpfs(
        "2g",
        """
        between = set()
        creating = 0
        stop = threading.Event()
        start = used()
        size = 1024 * MiB

        def watch():
            while not stop.wait(0.001):
                before, now = creating, used()
                if before and before == creating:
                    between.add(now)

        thread = threading.Thread(target=watch)
        thread.start()
        for attempt in range(1, 21):  # a busy machine lets it in rarely
            creating = attempt
            shm = SharedMemory("x", create=True, size=size)
            creating = 0
            shm.unlink()
            shm.close()
            if len(between - {start, start + size}) > 3:
                break
        else:
            sys.exit(f"saw no more than {between}")
        stop.set()
        thread.join()
        """,
    )


def test_interrupted_while_pages_are_reserved_leaves_nothing(on_tmpfs):
    on_tmpfs(
        "4g",
        """
        before = names(), held(), room()
        at_64_MiB(lambda: signal.raise_signal(signal.SIGINT))
        try:
            SharedMemory("x", create=True, size=1536 * MiB)
        except KeyboardInterrupt:
            pass
        else:
            sys.exit("not interrupted")
        assert (names(), held(), room()) == before
        """,
    )


def test_steady_signals_do_not_stop_a_create(on_tmpfs):
    on_tmpfs(
        "600m",
        """
        count = 0

        def handler(number, frame):
            global count
            count += 1

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        shm = SharedMemory("x", create=True, size=512 * MiB)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert count > 3, count
        assert os.stat("/dev/shm/x").st_blocks * 512 == shm.size
        shm.unlink()
        """,
    )


# descriptors


def test_no_descriptor_left():
    python(
        PRELUDE
        + dedent("""
        shm = SharedMemory(create=True, size=100)
        name = f"shmemext-test-full-{os.getpid()}"
        before = held()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = os.dup(0)
        os.close(spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        try:
            error = fails(errno.EMFILE, name, create=True, size=100)
            assert error.filename == "/" + name and name in str(error)
            fails(errno.EMFILE, create=True, size=100)
            fails(errno.EMFILE, shm.name)
            try:
                shm.fileno()
            except OSError as caught:
                assert caught.errno == errno.EMFILE
            else:
                sys.exit("a descriptor from nowhere")
            shm.buf[0] = 7
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not os.path.exists("/dev/shm/" + name)
        assert held() == before
        assert SharedMemory(shm.name).buf[0] == 7
        os.close(os.dup(shm.fileno()))
        shm.unlink()
        """)
    )


def test_ten_thousand_segments_with_256_descriptors():
    python(
        PRELUDE
        + dedent("""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        before = held()
        shms = []
        try:
            for i in range(10_000):
                shms.append(SharedMemory(create=True, size=100))
            assert len(held()[0]) == len(before[0])
            assert len(held()[1]) >= len(before[1]) + 10_000
            assert len({shm.name for shm in shms}) == 10_000
            for i, shm in enumerate(shms):
                shm.buf[:2] = i.to_bytes(2, "big")
            for i, shm in enumerate(shms):
                with SharedMemory(shm.name) as again:
                    assert again.buf[:2] == i.to_bytes(2, "big")
        finally:
            for shm in shms:
                shm.unlink()
        del shm, again
        shms.clear()
        assert held() == before
        """)
    )


# address space


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a sanitizer needs more address space than any limit allows",
)
def test_no_address_space_left(name):
    """A failed attach leaves the owner's segment alone (CPython
    gh-153279)."""
    shm = SharedMemory(name, create=True, size=256 << 20, reserve=False)
    shm.buf[0] = 7
    python(
        PRELUDE
        + dedent("""
        name = sys.argv[1]
        before = held()
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGESIZE") + 64 * MiB
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        try:
            for reserve in True, False:
                error = fails(
                    errno.ENOMEM,
                    name + "-new",
                    create=True,
                    size=256 * MiB,
                    reserve=reserve,
                )
                assert "vm.max_map_count" not in str(error), error
            fails(errno.ENOMEM, name)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        assert not os.path.exists(f"/dev/shm/{name}-new")
        assert held() == before
        assert SharedMemory(name).buf[0] == 7
        """),
        name,
    )
    with SharedMemory(name) as again:
        assert again.buf[0] == 7
    shm.close()
    shm.unlink()


# mappings


@pytest.fixture
def with_limit(on_tmpfs, tmp_path):
    """The same, with a file in the place of vm.max_map_count."""
    limit = tmp_path / "max_map_count"

    def run(count, script):
        limit.write_text(f"{count}\n")
        place = "/proc/sys/vm/max_map_count"
        enter = f"""
        LIMIT = Path({str(limit)!r})
        mount = ["mount", "--bind", LIMIT, {place!r}]
        subprocess.run(mount, check=True)
        """
        on_tmpfs("64m", dedent(enter) + dedent(script))

    return run


def test_too_many_mappings_are_refused_in_time(with_limit):
    """An eighth is left for threads, modules and malloc()."""
    with_limit(
        2000,
        """
        from shmemext import AnonymousMemory, MappedFile

        kept = []
        def fill():
            while True:
                kept.append(SharedMemory(create=True, size=1, reserve=False))

        try:
            fill()
        except OSError as error:
            assert error.errno == errno.ENOMEM, error
            assert "sysctl vm.max_map_count" in str(error), error
        assert 1700 < len(kept) < 1750, len(kept)
        before = names(), held()
        last = kept[-1]
        path = "/dev/shm/file"
        for call in (
            lambda: SharedMemory("x", create=True, size=1),
            lambda: SharedMemory(last.name),
            lambda: last.grow(5000),
            lambda: AnonymousMemory(1),
            lambda: MappedFile(path, create=True, size=1),
        ):
            try:
                call()
            except OSError as error:
                assert error.errno == errno.ENOMEM, error
                assert "sysctl vm.max_map_count" in str(error), error
            else:
                sys.exit("one more")
        assert (names(), held()) == before

        # Who lets go may create again; and the limit may be raised.
        kept.pop().unlink()
        del last
        kept.append(SharedMemory(create=True, size=1))
        fails(errno.ENOMEM, "x", create=True, size=1)
        LIMIT.write_text("2400")
        try:
            fill()
        except OSError as error:
            assert "sysctl vm.max_map_count" in str(error), error
        assert 2050 < len(kept) < 2100, len(kept)
        for shm in kept:
            shm.unlink()
        """,
    )


def test_forked_child_has_the_mappings_of_its_parent(with_limit):
    with_limit(
        2000,
        """
        kept = [
            SharedMemory(create=True, size=1, reserve=False)
            for _ in range(1500)
        ]
        pid = os.fork()
        if pid == 0:
            try:
                for _ in range(1500):
                    kept.append(SharedMemory(create=True, size=1))
            except OSError:
                os._exit(0 if 1700 < len(kept) < 1750 else 1)
            os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
        for shm in kept:
            shm.unlink()
        """,
    )


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a sanitizer needs more address space than any limit allows",
)
def test_mappings_of_others_are_to_blame_too(with_limit):
    """mmap() says ENOMEM, of the address space here, and there are as many
    mappings as may be."""
    with_limit(
        50,
        """
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGESIZE") + 32 * MiB
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        error = fails(
            errno.ENOMEM, "x", create=True, size=64 * MiB, reserve=False
        )
        assert "sysctl vm.max_map_count" in str(error), error
        """,
    )
