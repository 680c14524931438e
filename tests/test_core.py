# SPDX-License-Identifier: MIT
"""The core without Python: the programs in tests/core, linked with csrc/core
and nothing else, under AddressSanitizer and UndefinedBehaviorSanitizer."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "csrc" / "core"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS = [
    "-std=c11",
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
]


def compiler():
    """$CC, or the first that is there; it must have the sanitizers."""
    named = os.environ.get("CC")
    for words in (shlex.split(named),) if named else (["cc"], ["clang"]):
        if words and shutil.which(words[0]):
            return words
    pytest.skip("there is no C compiler")


@pytest.fixture(
    scope="module", params=["test_core", "test_contest", "test_ledger"]
)
def program(request, tmp_path_factory):
    words = compiler()
    directory = tmp_path_factory.mktemp("core")
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    made = subprocess.run(
        [*words, *SANITIZERS, probe, "-o", directory / "probe"],
        capture_output=True,
    )
    if made.returncode != 0:
        pytest.skip(f"{words[0]} has no sanitizers")
    path = directory / request.param
    sources = [
        path
        for path in sorted(CORE.rglob("*.c"))
        if path.name != "reaper.c"  # a program of its own
    ]
    subprocess.run(
        [
            *words,
            *FLAGS,
            *SANITIZERS,
            f"-I{CORE.parent}",
            ROOT / "tests" / "core" / f"{request.param}.c",
            *sources,
            "-pthread",
            "-o",
            path,
        ],
        check=True,
    )
    return path


def test_core_from_plain_c(program, name, tmp_path):
    # The tests' own LD_PRELOAD would put another sanitizer before this one.
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    directory = tmp_path / "family"
    directory.mkdir(mode=0o700)
    done = subprocess.run(
        [program, directory, name],
        capture_output=True,
        text=True,
        timeout=600,
        env=env,
    )
    assert (done.returncode, done.stdout) == (0, "all passed\n"), done.stderr


def test_core_does_not_know_python():
    for path in CORE.rglob("*.[ch]"):
        assert not re.search(r"#\s*include.*Python\.h", path.read_text()), path


def test_core_links_without_python(program):
    assert b"PyObject" not in program.read_bytes()
