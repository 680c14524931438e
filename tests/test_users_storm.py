# SPDX-License-Identifier: MIT
"""A short storm: storm_users.py says what is killed and what must not happen.

SHMEMEXT_STORM_SECONDS is how long the storms take; `make storm-users` takes
long.
"""

import os
import subprocess
import sys
from pathlib import Path

STORM = Path(__file__).with_name("storm_users.py")
SECONDS = float(os.environ.get("SHMEMEXT_STORM_SECONDS", "20")) / 4


def test_no_user_loses_the_name_and_none_is_left():
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
    assert " 0 failed, 0 lost, 0 left" in done.stdout
