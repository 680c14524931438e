# SPDX-License-Identifier: MIT
"""A wheel of the sdist, by the Python that runs this, and used where it is
installed: `make wheel-test`, on every Python of CI.

What `make release-test` looks into is the same on all of them, and is not
looked into here. Nothing is fetched: what builds is what is here."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = 300_000  # bytes: a wheel is smaller
PIP = ["-m", "pip", "--disable-pip-version-check", "--quiet"]


def run(*command, **options):
    """PYTHONPATH would find the checkout."""
    environment = {k: v for k, v in os.environ.items() if k[:6] != "PYTHON"}
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def environment(where):
    """A fresh one. Its interpreter."""
    run(sys.executable, "-m", "venv", where)
    return where / "bin" / "python"


def use(wheel, where):
    """Outside the tree, of which nothing is there but a test and the demo."""
    python = environment(where / "venv")
    run(python, *PIP, "install", "--no-index", wheel)
    elsewhere = where / "elsewhere"
    (elsewhere / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "release_smoke.py", elsewhere / "tests")
    shutil.copytree(ROOT / "examples", elsewhere / "examples")
    said = run(python, "tests/release_smoke.py", cwd=elsewhere)
    assert said.endswith(" works\n"), said
    assert str(where / "venv") in said


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    where = tmp_path_factory.mktemp("wheel")
    sdist = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", where]
    run(*sdist, cwd=ROOT)
    with tarfile.open(next(where.glob("*.tar.gz"))) as packed:
        packed.extractall(where / "sdist", filter="data")
    (tree,) = where.glob("sdist/*")
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    run(sys.executable, *PIP, "wheel", *options, "-w", where, tree)
    return next(where.glob("*.whl"))


def test_wheel_is_for_this_python(wheel):
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{tag}-{tag}{sys.abiflags}-linux_" in wheel.name


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < SMALL


def test_wheel_works_where_it_is_installed(wheel, tmp_path):
    use(wheel, tmp_path)
