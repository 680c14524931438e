# SPDX-License-Identifier: MIT
"""The example programs print what the README shows."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DEV_SHM

EXAMPLES = Path(__file__).parent.parent / "examples"
NAME = "MyMemory"  # the one that the README uses

A = f"A wrote to SharedMemory('{NAME}', size=1024)\n"
B = "B reads: Hello from child process\n"
PROCESS = "parent reads: Hello from child process\n"


@pytest.fixture(autouse=True)
def name_is_free():
    assert not (DEV_SHM / NAME).exists(), f"somebody else has a {NAME}"
    yield
    (DEV_SHM / NAME).unlink(missing_ok=True)


def run(program, *options):
    return subprocess.run(
        [sys.executable, *options, str(EXAMPLES / program)],
        capture_output=True,
        text=True,
        timeout=300,
    )


def outputs(done):
    return done.returncode, done.stdout, done.stderr


def test_demo():
    assert outputs(run("demo.py")) == (0, A + B + PROCESS, "")


def test_process():
    assert outputs(run("process.py", "-Werror")) == (0, PROCESS, "")


def test_applications():
    with subprocess.Popen(
        [sys.executable, "-Werror", str(EXAMPLES / "application_a.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as a:
        assert a.stdout.readline() == A
        assert outputs(run("application_b.py", "-Werror")) == (0, B, "")
        assert outputs(run("application_b.py", "-Werror")) == (0, B, "")
        assert a.communicate("\n", timeout=300) == ("", "")
    assert a.returncode == 0
    assert not (DEV_SHM / NAME).exists()


def test_application_b_alone_says_what_is_missing():
    done = run("application_b.py")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"FileNotFoundError: [Errno 2] No such file or directory: '/{NAME}'"
    )
