# SPDX-License-Identifier: MIT
"""A short storm: storm_named.py says what is killed and what must not happen.

SHMEMEXT_STORM_SECONDS is how long the storms take.
"""

import os
import subprocess
import sys
from pathlib import Path

STORM = Path(__file__).with_name("storm_named.py")
SECONDS = float(os.environ.get("SHMEMEXT_STORM_SECONDS", "20")) / 5


def test_no_lock_is_split_and_no_name_is_left():
    paths = [str(STORM.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", STORM, f"--seconds={SECONDS}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=SECONDS + 600,
    )
    print(done.stdout)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert (
        " 0 split, 0 silent, 0 refused, 0 stuck, 0 failed, 0 left"
        in done.stdout
    )
