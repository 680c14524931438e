# SPDX-License-Identifier: MIT
"""Members of a storm's family (storm.py) that import nothing of it, or late:
as if the modules of their target took so long."""

import os
import time
from pathlib import Path

KEEPER = "SHMEMEXT_STORM_KEEPER"


def stand_by(log, prefix, seed, seconds):
    """For so long, then takes part; for ever if it is None."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"\nmember {os.getpid()} .\n".encode())
    os.close(descriptor)
    keeper = Path("/proc", os.environ[KEEPER])
    while seconds is None and keeper.exists():
        time.sleep(0.1)
    if seconds is not None:
        time.sleep(seconds)
        import storm

        storm.begin(log, prefix, seed, 0)
