# SPDX-License-Identifier: MIT
"""A segment that another process cuts short does not kill its users."""

import signal

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
from shmemext import SharedMemory
shm = SharedMemory(create=True, size=4096)
shm.unlink()
with tempfile.TemporaryFile() as file:
    file.truncate(4096)
    other = mmap.mmap(file.fileno(), 4096)
    file.truncate(0)
    other[0]
"""


def test_other_bus_errors_still_kill():
    done = python(FOREIGN.format(before=""), check=False)
    assert done.returncode == -signal.SIGBUS


def test_other_bus_errors_reach_the_handler_that_was_there():
    before = "import faulthandler; faulthandler.enable()"
    done = python(FOREIGN.format(before=before), check=False)
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
