# SPDX-License-Identifier: MIT
"""A storm: storm_arrays.py says what is killed and what must not happen.

SHMEMEXT_STORM_SECONDS is twice as long as the storm takes, up to 10 seconds;
`make storm-arrays` takes SECONDS.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from arrays import np

if not np:
    pytest.skip("there is no numpy", allow_module_level=True)

STORM = Path(__file__).with_name("storm_arrays.py")
SECONDS = min(float(os.environ.get("SHMEMEXT_STORM_SECONDS", "12")) / 2, 10)


def test_arrays_are_whole_whoever_is_killed():
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
    assert " 0 wrong, 0 failed, 0 left" in done.stdout
