# SPDX-License-Identifier: MIT
"""The core without Python: the programs in tests/core, and the reaper, linked
with csrc/core and nothing else. Under AddressSanitizer and
UndefinedBehaviorSanitizer, where the compiler has them.

`make core` runs these only, by CORE_CC: `make musl` is with another C library
than Python's.
"""

import re
import subprocess
import sys

import pytest
from family_children import gone
from plain_c import (
    CORE,
    FLAGS,
    PROGRAMS,
    STANDARD,
    compiler,
    link_sanitized,
    run,
)

NOUNS = "core", "contest", "ledger", "users", "party", "death"


@pytest.fixture(scope="module", params=NOUNS)
def program(request, tmp_path_factory):
    source = PROGRAMS / f"test_{request.param}.c"
    return link_sanitized(source, tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def reaper(tmp_path_factory):
    source = CORE / "life" / "reaper.c"
    return link_sanitized(source, tmp_path_factory.mktemp("core"))


def test_core_from_plain_c(program, name, tmp_path):
    directory = tmp_path / "family"
    directory.mkdir(mode=0o700)
    done = run(program, directory, name)
    assert (done.returncode, done.stdout) == (0, "all passed\n"), done.stderr


CREATOR = """
import os, signal, sys
import shmemext._family
shmemext._family.REAPER = sys.argv[1]
shmemext.SharedMemory(sys.argv[2], create=True, size=100)
print("made", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reaper_from_plain_c(reaper, name):
    """Also where Python and we are of another C library."""
    usage = run(reaper)
    assert usage.returncode == 2
    assert usage.stderr.startswith("usage: shmemext-reaper")
    made = subprocess.run(  # of Python, which needs what stands before libc
        [sys.executable, "-c", CREATOR, reaper, name],
        capture_output=True,
        text=True,
    )
    assert made.stdout == "made\n", made.stderr
    assert gone(name), "the reaper did not come"


def test_core_is_clean():
    """More than the tests are."""
    more = "-Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes"
    words = [*compiler(), *FLAGS, *more.split(), f"-I{CORE.parent}"]
    words += ["-O1", "-fsyntax-only"]
    subprocess.run([*words, *sorted(CORE.rglob("*.c"))], check=True)


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
        "#include <errno.h>\nint i[sizeof(void *) == 4 ? 1 : -1];\n"
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
