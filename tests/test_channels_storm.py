# SPDX-License-Identifier: MIT
"""A storm: storm_channels.py says what is killed and what must not happen.

SHMEMEXT_STORM_SECONDS is twice as long as the storms take, up to 10 seconds;
`make storm-channels` takes SECONDS for each kind.
"""

import os
import subprocess
import sys
from pathlib import Path

STORM = Path(__file__).with_name("storm_channels.py")
SECONDS = min(float(os.environ.get("SHMEMEXT_STORM_SECONDS", "20")) / 2, 10)


def test_nothing_is_lost_and_nobody_waits_for_a_second():
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
    assert " 0 wrong, 0 twice, 0 lost, 0 failed, 0 left" in done.stdout
