# SPDX-License-Identifier: MIT
"""The core compiles for systems that have no body of os.h yet, so that writing
one is all there is to do, and for the oldest C library that has ours.

`make portable`: by zig, which brings the headers and C libraries of others.
Nothing is run. See csrc/core/os/os.h.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "tools"))
import look

CSRC = Path(__file__).parent.parent / "csrc"
FLAGS = [
    "-std=c11",
    "-fno-sanitize=undefined",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    f"-I{CSRC}",
]
CONTRACT = "".join(
    (CSRC / "core" / "os" / name).read_text()
    for name in ("os.h", "os_sleep.h")
)


def files(pattern):
    return sorted((CSRC / "core").rglob(pattern))


def build(target, *words):
    """What zig says of it, and whether it was made."""
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target]
    done = subprocess.run(
        [*zig, *FLAGS, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout, done.returncode == 0


@pytest.fixture
def headers(tmp_path):
    """A source of each, which includes nothing else."""
    made = []
    for header in files("*.h"):
        name = header.relative_to(CSRC)
        path = tmp_path / f"{'_'.join(name.with_suffix('').parts)}.c"
        path.write_text(f'#include "{name}"\n')
        made.append(path)
    return made


@pytest.mark.parametrize(
    "target, options",
    [
        ("aarch64-macos", ["-dynamiclib"]),
        ("x86_64-macos", ["-dynamiclib"]),
        ("x86_64-freebsd", ["-shared", "-fPIC", "-Wl,-z,defs"]),
    ],
)
def test_core_lacks_nothing_but_the_system(target, options, headers, tmp_path):
    """What is undefined in all of it but os_linux*.c is in the contract: no
    header, constant or function of Linux has crept in."""
    bodies = files("os_linux*.c")
    sources = [path for path in files("*.c") if path not in bodies]
    output = ["-o", tmp_path / "library"]
    said, _ = build(target, *options, *sources, *headers, *output)
    errors = re.findall(r"error: (.*)", said)
    lacking = {
        found[1]
        for error in errors
        if (found := re.fullmatch(r"undefined symbol: _?(\w+)", error))
    }
    assert len(errors) == len(lacking), said
    assert "shx_os_publish" in lacking, said
    assert [n for n in lacking if not re.search(rf"\b{n}\b", CONTRACT)] == []


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_reaper_links_with_the_oldest_glibc(machine, tmp_path):
    target = "{}-linux-gnu.{}.{}".format(machine, *look.OLDEST_GLIBC)
    said, made = build(
        target, *files("*.c"), "-pthread", "-lrt", "-o", tmp_path / "reaper"
    )
    assert made, said
