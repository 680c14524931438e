# SPDX-License-Identifier: MIT
"""What the tests of the core must catch: each mutant is a fault put into one
file of it, and the smallest program that fails then. One that passes shows
that it would not have been missed.
"""

import shutil
import subprocess
from dataclasses import dataclass

from plain_c import CORE, PROGRAMS, compile_one, core, link, run

FLAGS = ("-O1",)
TRIES = 10
SECONDS = 60  # that a program may take: who waits for ever fails too


@dataclass
class Mutant:
    why: str
    file: str
    old: str
    new: str
    program: str
    arguments: tuple[str, ...] = ()
    flags: tuple[str, ...] = FLAGS


def run_program(path, mutant, name, directory):
    words = [path, *mutant.arguments]
    if mutant.program.startswith("test_"):
        words = [path, directory, name]
    try:
        return run(*map(str, words), timeout=SECONDS).returncode
    except subprocess.TimeoutExpired:
        return -1


def check_caught(mutant, name, tmp_path):
    root = tmp_path / "csrc"
    shutil.copytree(CORE, root / "core")
    path = root / "core" / mutant.file
    text = path.read_text()
    assert text.count(mutant.old) == 1, "the mutant is of another time"
    path.write_text(text.replace(mutant.old, mutant.new))
    flags = (*mutant.flags, "-Wno-error")
    changed = compile_one(path, tmp_path / "changed.o", *flags, root=root)
    objects = core(*mutant.flags) | {CORE / mutant.file: changed}
    source = PROGRAMS / f"{mutant.program}.c"
    program = link(
        source, tmp_path / "program", *mutant.flags, objects=objects
    )
    (tmp_path / "family").mkdir(mode=0o700)
    # Chance has a part in storms, and in what is hostile; a greater one where
    # others use the machine.
    failed = any(
        run_program(program, mutant, name, tmp_path / "family")
        for _ in range(TRIES)
    )
    assert failed, f"{mutant.program} does not notice"
