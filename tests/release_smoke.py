# SPDX-License-Identifier: MIT
"""Does the shmemext that is installed here work? No checkout, no pytest.

    python tests/release_smoke.py

The demo runs; the reaper may be run, and removes what a family that is killed
leaves behind.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import shmemext

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(shmemext.__file__).resolve().parent
REAPER = PACKAGE / "shmemext-reaper"
PATIENCE = 60  # seconds: reapers are quick, machines may not be

# Its family is it alone.
CREATOR = """
import shmemext, sys
shm = shmemext.SharedMemory(create=True, size=5000)
print(shm.name, flush=True)
sys.stdin.read()
"""


def check_place():
    assert PACKAGE != ROOT / "shmemext", "this is the checkout's"
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_shmemext.pyi").exists()


def check_reaper():
    """By its mode, and by running it: without an argument it says how."""
    assert REAPER.stat().st_mode & 0o111 == 0o111, oct(REAPER.stat().st_mode)
    done = subprocess.run([REAPER], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert done.stderr.startswith("usage: shmemext-reaper"), done


def check_demo():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.count("Hello from child process\n") == 2, done


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def check_kill():
    """Nobody else creates or sweeps meanwhile: it is the reaper's work."""
    with subprocess.Popen(
        [sys.executable, "-c", CREATOR],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as creator:
        name = creator.stdout.readline().strip()
        path = Path("/dev/shm", name)
        assert name and path.stat().st_size == 5000
        creator.send_signal(signal.SIGKILL)
    wait_until(lambda: not os.path.lexists(path))


def main():
    for check in check_place, check_reaper, check_demo, check_kill:
        check()
    print(f"shmemext {shmemext.__version__} in {PACKAGE} works")


if __name__ == "__main__":
    main()
