# SPDX-License-Identifier: MIT
"""Libraries that stand before libc, built from tests/faults."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FAULTS = Path(__file__).parent / "faults"


def build(name, directory, *options):
    """Compiles a source, and says where the library is."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip(f"no C compiler to build tests/faults/{name}.c with")
    library = directory / f"{name}.so"
    done = subprocess.run(
        [
            *(compiler, "-O1", "-shared", "-fPIC", "-fno-builtin"),
            *("-Wall", "-Werror", *options, "-o", library),
            *(FAULTS / f"{name}.c", "-ldl"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    if refused := re.search('#error "(.+)"', done.stderr):
        pytest.skip(refused[1])
    assert done.returncode == 0, done.stderr
    return library


def environment(library):
    """Of a process that has it before libc, and before a sanitizer."""
    libraries = [str(library), os.environ.get("LD_PRELOAD", "")]
    options = os.environ.get("ASAN_OPTIONS", "")
    return {
        "LD_PRELOAD": ":".join(filter(None, libraries)),
        "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0",
    }
