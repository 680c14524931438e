# SPDX-License-Identifier: MIT
"""A segment that another process cuts short does not kill its users."""

import re
import signal
import subprocess
import sys
from textwrap import dedent

import plain_c
import pytest
import test_full
import test_kinds_full
from conftest import python

CUT = """
import os, subprocess, sys, warnings
from shmemext import SharedMemory

def cut(shm, size):
    code = f"import os; os.truncate('/dev/shm/{shm.name}', {size})"
    subprocess.run([sys.executable, "-c", code], check=True)

shm = SharedMemory(create=True, size=1 << 20)
shm.buf[:] = b"x" * (1 << 20)
"""


def test_lost_bytes_read_as_zero_and_the_rest_is_kept():
    python(
        CUT
        + """
import numpy as np
array = np.ndarray(1 << 20, "u1", buffer=shm.buf)
cut(shm, 4096)
with warnings.catch_warnings(record=True):
    warnings.simplefilter("always")
    assert array[4095] == ord("x") and array[4096] == 0
    assert int(array.sum()) == 4096 * ord("x")
    array[500_000] = 1
    assert array[500_000] == 1
    shm.close()
    assert array[4095] == ord("x") and array[500_000] == 1
shm.unlink()
"""
    )


def test_the_warning_names_the_segment_and_comes_once():
    python(
        CUT
        + """
cut(shm, 4096)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for at in range(4096, 1 << 20, 4096):
        shm.buf[at]
(warning,) = caught
assert warning.category is RuntimeWarning
assert shm.name in str(warning.message)
assert "cut short" in str(warning.message)
shm.unlink()
"""
    )


def test_the_warning_can_be_made_an_error():
    python(
        CUT
        + """
cut(shm, 0)
warnings.simplefilter("error")
try:
    shm.buf[0]
    sum(range(1000))
except RuntimeWarning as error:
    assert shm.name in str(error)
else:
    raise AssertionError("no error")
shm.unlink()
"""
    )


def test_forked_child_is_guarded_too():
    python(
        CUT
        + """
warnings.simplefilter("ignore")
pid = os.fork()
if pid == 0:
    cut(shm, 0)
    os._exit(shm.buf[0])
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert shm.buf[0] == 0
shm.unlink()
"""
    )


def test_threads_tear_at_the_same_time():
    python(
        CUT
        + """
from threading import Thread
warnings.simplefilter("ignore")
cut(shm, 0)
sums = []
threads = [Thread(target=lambda: sums.append(sum(shm.buf[::4096])))
           for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sums == [0] * 8
shm.unlink()
"""
    )


FOREIGN = """
import mmap, os, signal, sys, tempfile
{before}
from {package}.shared_memory import SharedMemory
{after}
shm = SharedMemory(create=True, size=4096)
shm.unlink()
shm.close()
with tempfile.TemporaryFile() as file:
    file.truncate(4096)
    other = mmap.mmap(file.fileno(), 4096)
    file.truncate(0)
    other[0]
"""


def foreign(before="", after="", package="shmemext", **options):
    code = FOREIGN.format(before=before, after=after, package=package)
    return python(code, check=False, timeout=60, **options)


def test_other_bus_errors_still_kill():
    done = foreign()
    assert done.returncode == -signal.SIGBUS


def test_other_bus_errors_reach_the_handler_that_was_there():
    done = foreign("import faulthandler; faulthandler.enable()")
    assert done.returncode == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in done.stderr


def test_sigbus_from_a_process_still_kills():
    done = python(
        "import os, signal, shmemext; os.kill(os.getpid(), signal.SIGBUS)",
        check=False,
    )
    assert done.returncode == -signal.SIGBUS


def test_stdlib_segment_that_was_cut(name):
    python(
        """
import os, sys, warnings
from multiprocessing import resource_tracker, shared_memory
import shmemext
warnings.simplefilter("ignore")
theirs = shared_memory.SharedMemory(sys.argv[1], create=True, size=8192)
ours = shmemext.SharedMemory(sys.argv[1])
os.ftruncate(theirs._fd, 0)
assert ours.buf[8191] == 0
ours.close()
theirs.close()
theirs.unlink()
""",
        name,
    )


# Others take the signal

FAULTHANDLER = "import faulthandler; faulthandler"

# What happens before the import, and after it.
TAKEN = {
    "enabled before": (f"{FAULTHANDLER}.enable()", ""),
    "enabled after": ("", f"{FAULTHANDLER}.enable()"),
    "enabled before, disabled": (
        f"{FAULTHANDLER}.enable()",
        "faulthandler.disable()",
    ),
    "enabled after, disabled": (
        "",
        f"{FAULTHANDLER}.enable(); faulthandler.disable()",
    ),
    "enabled again": (
        f"{FAULTHANDLER}.enable()",
        "faulthandler.disable(); faulthandler.enable()",
    ),
    "enabled many times": (
        "",
        f"""{FAULTHANDLER}.enable()
for _ in range(50):
    SharedMemory(create=True, size=1).unlink()
    faulthandler.disable()
    SharedMemory(create=True, size=1).unlink()
    faulthandler.enable()
""",
    ),
    "handled in Python": (
        "",
        "import signal; signal.signal(signal.SIGBUS, lambda *_: None)",
    ),
    "handled and put back": (
        "",
        """import signal
old = signal.signal(signal.SIGBUS, lambda *_: None)
signal.signal(signal.SIGBUS, old)
""",
    ),
    "ignored before": (
        "import signal; signal.signal(signal.SIGBUS, signal.SIG_IGN)",
        "",
    ),
    "ignored after": (
        "",
        "import signal; signal.signal(signal.SIGBUS, signal.SIG_IGN)",
    ),
}

taken = pytest.mark.parametrize(
    ("before", "after"), TAKEN.values(), ids=TAKEN.keys()
)


@taken
def test_guard_comes_back_with_the_next_mapping(before, after):
    python(
        f"""
import os, warnings
{before}
from shmemext import SharedMemory
{after}
warnings.simplefilter("ignore")
shm = SharedMemory(create=True, size=8192)
memory = memoryview(shm)
os.truncate(f"/dev/shm/{{shm.name}}", 0)
assert memory[4096] == 0
shm.unlink()
"""
    )


GUARD_IS_GONE = """
import os, signal, sys, time, warnings
import numpy as np
from shmemext import SharedMemory
shm = SharedMemory(create=True, size=8192)
shm.buf[:] = b"x" * 8192
if os.fork() != 0:  # a worker, to which the memory comes by inheritance
    status = os.waitstatus_to_exitcode(os.wait()[1])
    shm.unlink()
    sys.exit(status)
signal.signal(signal.SIGBUS, signal.SIG_DFL)
os.truncate(f"/dev/shm/{shm.name}", 0)
warnings.simplefilter("ignore")
time.sleep(0.02)  # buf looks once in a few milliseconds
"""


@pytest.mark.parametrize(
    "use",
    [
        "assert shm.buf[5000] == 0",
        "assert memoryview(shm)[5000] == 0",
        "assert np.ndarray(8192, 'u1', buffer=shm.buf)[5000] == 0",
        "assert np.frombuffer(shm, 'u1')[5000] == 0",
        """
try:
    shm.write(b"x", 5000)
except OSError as error:
    assert error.errno in (14, 28), error
else:
    sys.exit("was written")
""",
    ],
    ids=["buf", "memoryview", "ndarray", "frombuffer", "write"],
)
def test_guard_comes_back_with_whoever_asks_for_memory(use):
    """A library of the worker has taken the signal after the fork."""
    python(GUARD_IS_GONE + use)


@taken
def test_other_bus_errors_kill_whoever_took_the_signal(before, after):
    done = foreign(before, after)
    assert done.returncode == -signal.SIGBUS, done.stderr
    enabled = FAULTHANDLER in before + after and not after.endswith(
        "disable()"
    )
    assert done.stderr.count("Fatal Python error: Bus error") == enabled


# The standard library leaves the signal to the interpreter.
@pytest.mark.parametrize("package", ["shmemext", "multiprocessing"])
@pytest.mark.parametrize("where", ["before", "after", "shell"])
def test_other_bus_errors_kill_where_the_signal_is_ignored(package, where):
    ignore = "signal.signal(signal.SIGBUS, signal.SIG_IGN)"
    if where == "shell":
        done = foreign(
            package=package,
            preexec_fn=lambda: signal.signal(signal.SIGBUS, signal.SIG_IGN),
        )
    else:
        done = foreign(**{where: ignore}, package=package)
    assert done.returncode == -signal.SIGBUS


@pytest.mark.parametrize("package", ["shmemext", "multiprocessing"])
def test_handler_in_python_is_called_for_what_a_process_sends(package):
    done = python(
        f"""
import os, signal
seen = []
signal.signal(signal.SIGBUS, lambda *_: seen.append(1))
from {package}.shared_memory import SharedMemory
for i in range(3000):
    os.kill(os.getpid(), signal.SIGBUS)
print(len(seen))
"""
    )
    assert done.stdout == "3000\n"


def test_pytest_that_enables_faulthandler_after_the_import(tmp_path):
    """Its plugin does so after conftest.py is read, and undoes it."""
    (tmp_path / "conftest.py").write_text("import shmemext\n")
    (tmp_path / "test_cut.py").write_text(
        dedent("""
        import faulthandler, os, warnings
        from shmemext import SharedMemory

        def test_cut():
            assert faulthandler.is_enabled()
            shm = SharedMemory(create=True, size=1 << 20)
            os.truncate(f"/dev/shm/{shm.name}", 0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert shm.buf[5] == 0
            shm.close()
            shm.unlink()
        """)
    )
    options = ["-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_cut.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)


# Pages


def test_much_that_is_lost_takes_few_mappings():
    """One for each page would be more than the system allows."""
    python(
        """
import os, warnings
from pathlib import Path
import numpy as np
from shmemext import SharedMemory
warnings.simplefilter("ignore")
SIZE = 512 << 20
shm = SharedMemory(create=True, size=SIZE, reserve=False)
array = np.ndarray(SIZE, "u1", buffer=shm.buf)
array[4095] = 7
os.truncate(f"/dev/shm/{shm.name}", 4096)
shm.unlink()
before = Path("/proc/self/maps").read_text().count("\\n")
assert array[::8192].sum() == 0
after = Path("/proc/self/maps").read_text().count("\\n")
assert after - before < 100, (before, after)
assert array[4095] == 7
"""
    )


def test_holes_of_a_full_tmpfs_are_replaced_and_nothing_else():
    if test_full.namespace() is None:
        pytest.skip("no permission to mount a small /dev/shm (unshare)")
    code = """
import os, warnings
from shmemext import SharedMemory
warnings.simplefilter("ignore")
PAGES = 256
shm = SharedMemory(create=True, size=PAGES * 4096, reserve=False)
peer = SharedMemory(shm.name)
has_data = [i % 7 < 2 for i in range(PAGES)]
for i, data in enumerate(has_data):
    if data:
        shm.buf[i * 4096] = 1
try:
    with open("/dev/shm/filler", "wb", buffering=0) as filler:
        while filler.write(b"f" * 4096) == 4096:
            pass
except OSError:
    pass
for i in range(2, PAGES, 3):
    shm.buf[i * 4096 + 1] = 2
os.remove("/dev/shm/filler")  # there is room again
replaced = 0
for i, data in enumerate(has_data):
    peer.buf[i * 4096] = 3  # what is shared shows it
    is_shared = shm.buf[i * 4096] == 3
    assert is_shared or not data, i
    assert shm.buf[i * 4096 + 1] == (2 if i % 3 == 2 else 0), i
    replaced += not is_shared
assert replaced >= sum(not data for data in has_data[2::3])
"""
    mount = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$@"'
    subprocess.run(
        [*test_full.namespace(), mount, "sh", sys.executable, "-c", code],
        check=True,
        timeout=300,
    )


def test_page_that_a_full_disk_cannot_change_keeps_its_bytes():
    """ext4 with blocks smaller than a page: one has data, three are holes."""
    if not test_kinds_full.ext4():
        pytest.skip("no permission to mount an ext4 (loop device, root)")
    code = """
import os, sys, warnings
from shmemext import MappedFile
warnings.simplefilter("ignore")
disk = sys.argv[1]
with open(f"{disk}/mine", "wb", buffering=0) as file:
    file.write(b"data")
    file.truncate(4096)
    os.fsync(file.fileno())
with open(f"{disk}/filler", "wb", buffering=0) as filler:
    for size in 1 << 20, 4096, 1024:
        try:
            while filler.write(b"f" * size) == size:
                pass
        except OSError:
            pass
memory = MappedFile(f"{disk}/mine")
memory.buf[2048] = 1
assert bytes(memory.buf[:4]) == b"data" and memory.buf[2048] == 1
"""
    mount = test_kinds_full._MOUNT.replace("mkfs.ext4", "mkfs.ext4 -b 1024")
    words = ["8M", sys.executable, code]
    script = mount + '"$2" -c "$3" "$disk"'
    subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *words],
        check=True,
        timeout=300,
    )


# Without Python: tests/core/test_guard.c

# What each case prints, and the signal by which it ends.
CASES = {
    "chain_raises": ("BA", signal.SIGBUS),
    "chain_raises_later": ("BA", signal.SIGBUS),
    "chain_returns": ("BA", signal.SIGBUS),
    "chain_calls": ("BA", signal.SIGBUS),
    "given_back": ("", signal.SIGBUS),
    "again_and_again": ("", signal.SIGBUS),
    "circle_raises": ("A+", (signal.SIGBUS, signal.SIGSEGV)),  # its stack
    "circle_raises_later": ("A+", signal.SIGBUS),
    "circle_returns": ("A+", signal.SIGBUS),
    "circle_calls": ("A+", signal.SIGBUS),
    "too_many": ("A", signal.SIGBUS),
    "ignored": ("A", signal.SIGBUS),
    "hardware_kills_by_default": ("", signal.SIGBUS),
    "mask": ("", 0),
    "once": ("A", signal.SIGBUS),
    "blocked": ("", signal.SIGBUS),
    "pieces": ("", 0),
    "pieces_of_an_old_kernel": ("", 0),
    "what_was_written_is_kept": ("", 0),
    "what_was_written_is_kept_by_an_old_kernel": ("", 0),
    "second_thread": ("", 0),
    "second_thread_of_an_old_kernel": ("", 0),
    "there_again": ("", 0),
    "readonly_stays_readonly": ("", signal.SIGSEGV),
    "threads": ("", 0),
    "told": ("", 0),
    "many": ("", 0),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    source = plain_c.PROGRAMS / "test_guard.c"
    return plain_c.link_sanitized(source, tmp_path_factory.mktemp("guard"))


@pytest.mark.parametrize("case", CASES)
def test_guard_from_plain_c(program, case):
    printed, numbers = CASES[case]
    done = plain_c.run(program, case)
    if not isinstance(numbers, tuple):
        numbers = (numbers,)
    assert -done.returncode in numbers, done.stderr
    assert re.fullmatch(printed, done.stdout), done.stdout


def test_every_case_of_the_c_program_runs():
    source = plain_c.PROGRAMS / "test_guard.c"
    cases = set(re.findall(r"CASE\((\w+)\)", source.read_text()))
    assert cases - {"name"} == set(CASES)
