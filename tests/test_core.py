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
STANDARD = ["-std=c11", "-D_FILE_OFFSET_BITS=64"]
FLAGS = [
    *STANDARD,
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


def link(source, directory):
    """A C program of tests/core and the core: nothing else is in it."""
    words = compiler()
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    made = subprocess.run(
        [*words, *SANITIZERS, probe, "-o", directory / "probe"],
        capture_output=True,
    )
    if made.returncode != 0:
        pytest.skip(f"{words[0]} has no sanitizers")
    path = directory / source.removesuffix(".c")
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
            ROOT / "tests" / "core" / source,
            *sources,
            "-pthread",
            "-o",
            path,
        ],
        check=True,
    )
    return path


def run(*words):
    """The tests' own LD_PRELOAD would put another sanitizer before this."""
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=600, env=env
    )


@pytest.fixture(
    scope="module",
    params=["test_core.c", "test_contest.c", "test_ledger.c", "test_users.c"],
)
def program(request, tmp_path_factory):
    return link(request.param, tmp_path_factory.mktemp("core"))


def test_core_from_plain_c(program, name, tmp_path):
    directory = tmp_path / "family"
    directory.mkdir(mode=0o700)
    done = run(program, directory, name)
    assert (done.returncode, done.stdout) == (0, "all passed\n"), done.stderr


@pytest.fixture
def of_32_bits(tmp_path):
    """What looks at a source as if words had 32 bits. The headers are this
    system's: only the C library's 32-bit ones may be missing."""
    words = compiler()
    multiarch = subprocess.run(
        [*words, "-print-multiarch"], capture_output=True, text=True
    ).stdout.strip()
    (tmp_path / "gnu").mkdir()
    (tmp_path / "gnu" / "stubs-32.h").touch()
    command = [
        *words,
        *("-m32", "-fsyntax-only", f"-I{CORE.parent}"),
        *("-isystem", tmp_path, "-isystem", f"/usr/include/{multiarch}"),
    ]
    probe = tmp_path / "probe.c"
    probe.write_text(
        "#include <stdint.h>\nint i[sizeof(void *) == 4 ? 1 : -1];\n"
    )
    if subprocess.run([*command, probe], capture_output=True).returncode:
        pytest.skip(f"{words[0]} makes no 32-bit programs")
    return command


def test_core_is_clean_where_words_have_32_bits(of_32_bits):
    """Every place that makes a size_t of 64 bits says so."""
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion"]
    sources = sorted(CORE.rglob("*.c"))
    subprocess.run(
        [*of_32_bits, *STANDARD, *warnings, "-Werror", *sources], check=True
    )


def test_files_of_32_bits_are_refused(of_32_bits):
    """Locks far beyond the end, and files of any length, need 64."""
    for source in CORE.glob("os/*.c"):
        done = subprocess.run(
            [*of_32_bits, "-std=c11", source], capture_output=True, text=True
        )
        assert done.returncode != 0, source
        assert "compile with -D_FILE_OFFSET_BITS=64" in done.stderr


def test_core_does_not_know_python():
    for path in CORE.rglob("*.[ch]"):
        assert not re.search(r"#\s*include.*Python\.h", path.read_text()), path


def test_core_links_without_python(program):
    assert b"PyObject" not in program.read_bytes()
