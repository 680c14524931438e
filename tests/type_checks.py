# SPDX-License-Identifier: MIT
"""What type checkers say of users' programs: those in tests/typing, those in
README.md, and the examples. `make lint` runs it; where basedpyright is
installed, it is asked too.

A line that ends in `# E: code` is wrong, and mypy says so by that code. No
other line is, to `mypy --strict`. The examples leave out annotations, as
examples do.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import blocks

ROOT = Path(__file__).parent.parent
VERSIONS = ["3.11", "3.12", "3.14"]  # numpy's stubs know of buffers from 3.12
UNTYPED = {"no-untyped-def", "no-untyped-call", "import-untyped"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """All in one directory, by the names that are shown here."""
    directory = tmp_path_factory.mktemp("programs")
    for path in sorted((ROOT / "tests" / "typing").glob("*.py")):
        shutil.copy(path, directory)
    for path in sorted((ROOT / "examples").glob("*.py")):
        shutil.copy(path, directory)
    for block in blocks(ROOT / "README.md"):
        if block.language == "python" and block.mark != "not run":
            program = directory / f"readme_{block.line}.py"
            program.write_text(block.text)
    return directory


def is_example(name):
    return (ROOT / "examples" / name).exists()


def expected(programs):
    return {
        (path.name, number, code)
        for path in programs.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for code in re.findall("# E: ([a-z-]+)$", line)
    }


def checker(name, *arguments, programs):
    return subprocess.run(
        [sys.executable, "-m", name, *arguments],
        cwd=programs,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_mypy(programs, version):
    options = ["--strict", f"--python-version={version}", "--no-pretty"]
    names = sorted(path.name for path in programs.glob("*.py"))
    done = checker("mypy", *options, *names, programs=programs)
    errors = re.findall(
        r"^([^:]+):(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE
    )
    found = {
        (name, int(number), code)
        for name, number, code in errors
        if not (is_example(name) and code in UNTYPED)
    }
    assert found == expected(programs), done.stdout + done.stderr


@pytest.mark.skipif(
    find_spec("basedpyright") is None, reason="basedpyright is not installed"
)
@pytest.mark.parametrize("version", VERSIONS)
def test_pyright(programs, version):
    """The same lines: its codes are others. Of the examples it asks more than
    has to do with us."""
    options = {
        "typeCheckingMode": "standard",
        "pythonVersion": version,
        "extraPaths": [str(ROOT)],
    }
    (programs / "pyrightconfig.json").write_text(json.dumps(options))
    arguments = ["--outputjson", "--level=error", "--pythonpath"]
    done = checker(
        "basedpyright", *arguments, sys.executable, programs=programs
    )
    found = {
        (Path(error["file"]).name, error["range"]["start"]["line"] + 1)
        for error in json.loads(done.stdout)["generalDiagnostics"]
    }
    wrong = {(name, line) for name, line, _ in expected(programs)}
    assert {f for f in found if not is_example(f[0])} == wrong, done.stdout
