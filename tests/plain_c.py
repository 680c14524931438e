# SPDX-License-Identifier: MIT
"""Programs of C, linked with csrc/core and nothing else.

The core is compiled once for each set of options, and by no test twice."""

import os
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "csrc" / "core"
PROGRAMS = ROOT / "tests" / "core"
STANDARD = ("-std=c11", "-D_FILE_OFFSET_BITS=64")
FLAGS = (*STANDARD, "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# gcc warns of fences, which it does not follow: nothing here needs them.
THREADS = ("-fsanitize=thread", "-Wno-error")
# How long a storm takes, and after how many instructions one is killed.
SECONDS = float(os.environ.get("SHMEMEXT_STORM_SECONDS", "8"))
POINTS = 300 if SECONDS > 20 else 25


def compiler():
    """$CC, or the first that is there."""
    named = os.environ.get("CC")
    for words in (shlex.split(named),) if named else (["cc"], ["clang"]):
        if words and shutil.which(words[0]):
            return words
    pytest.skip("there is no C compiler")


@cache
def works(words, flags):
    """Do programs run that are made so? musl has no sanitizers."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "probe")
        path.with_suffix(".c").write_text("int main(void) { return 0; }\n")
        command = [*words, *flags, path.with_suffix(".c"), "-o", path]
        made = subprocess.run(command, capture_output=True)
        return made.returncode == 0 and run(path).returncode == 0


def sanitizers():
    """Those that programs of this compiler run with."""
    return SANITIZERS if works(tuple(compiler()), SANITIZERS) else ()


def sources():
    # The reaper is a program of its own.
    return [p for p in sorted(CORE.rglob("*.c")) if p.name != "reaper.c"]


def compile_one(source, into, *flags, root=CORE.parent):
    subprocess.run(
        [*compiler(), *FLAGS, *flags, f"-I{root}", "-c", source, "-o", into],
        check=True,
    )
    return into


@cache
def core_folder():
    return TemporaryDirectory(prefix="shmemext-core-")


@cache
def core(*flags):
    """The core's objects, by the name of what each was made of."""
    folder = Path(core_folder().name, str(abs(hash(flags))))
    folder.mkdir(exist_ok=True)  # the last time it failed
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = {
            source: pool.submit(
                compile_one, source, folder / f"{source.stem}.o", *flags
            )
            for source in sources()
        }
    return {source: one.result() for source, one in made.items()}


def link(source, path, *flags, objects=None, root=CORE.parent):
    """A program, of the core's objects or of others."""
    objects = core(*flags) if objects is None else objects
    include = (f"-I{root}", f"-I{PROGRAMS}")
    linked = [source, *objects.values(), "-pthread", "-o", path]
    subprocess.run(
        [*compiler(), *FLAGS, *flags, *include, *linked], check=True
    )
    return path


def link_sanitized(source, directory):
    return link(source, directory / source.stem, "-O1", *sanitizers())


def run(*words, timeout=600):
    """The tests' own LD_PRELOAD would put another sanitizer before this."""
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=timeout, env=env
    )


def passed(*words):
    """A program that says nothing of a fault."""
    done = run(*map(str, words), timeout=SECONDS + 600)
    said = f"{done.returncode}\n{done.stdout}{done.stderr}"
    assert (done.returncode, done.stderr) == (0, ""), said
