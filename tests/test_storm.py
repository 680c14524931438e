# SPDX-License-Identifier: MIT
"""A short storm: storm.py says what is killed and what must not happen.

SHMEMEXT_STORM_SECONDS is how long all of it takes; `make storm` takes long.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from family_children import METHODS, environment

STORM = Path(__file__).with_name("storm.py")
SECONDS = float(os.environ.get("SHMEMEXT_STORM_SECONDS", "20"))
WEATHERS = [
    *[["--methods", method] for method in METHODS],
    ["--methods", *METHODS, "--kill-reapers"],
]


@pytest.mark.parametrize("weather", WEATHERS, ids=" ".join)
def test_nothing_is_lost_or_leaked(weather):
    seconds = f"--seconds={SECONDS / len(WEATHERS)}"
    done = subprocess.run(
        [sys.executable, STORM, seconds, *weather],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS + 600,
    )
    print(done.stdout)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert " 0 failed, 0 lost, 0 leaked" in done.stdout
    assert not done.stdout.startswith("0 rounds")
