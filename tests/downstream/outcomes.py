# SPDX-License-Identifier: MIT
"""A plugin of pytest: writes down each test as it begins and as it ends, so
that a crash or a hang names its test. SHMEMEXT_OUTCOMES is the file."""

import json
import os
from pathlib import Path

REPORT = Path(os.environ["SHMEMEXT_OUTCOMES"])
PROCESS = os.getpid()  # whoever forks a test is not us


def write(test, outcome):
    if os.getpid() == PROCESS:
        with REPORT.open("a") as report:
            report.write(json.dumps([test, outcome]) + "\n")


def pytest_runtest_logstart(nodeid):
    write(nodeid, "never ended")


def pytest_runtest_logreport(report):
    if report.outcome != "passed" or report.when == "call":
        write(report.nodeid, report.outcome)
