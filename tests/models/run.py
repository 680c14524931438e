# SPDX-License-Identifier: MIT
"""Spin looks at every state of the models here: `make model`.

A model says in comments at its top what is run, each with the options that
it is made with:

    /* quick: -DN=2 -DKILLS=1 */            must hold; the tests run it too
    /* run: -DN=3 -DKILLS=1 */              must hold
    /* mutant: -DNO_PROOF -DN=2 -DKILLS=1 */
        must be caught: a model that has the error named by its first option.
        The others are those of a quick or of a run, so that what is caught
        is that error. A comment may be of two lines.

A run that did not see every state is none: neither one that was cut off at
some depth or for want of memory, nor one that keeps bits instead of states.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
MEGABYTES = 2000
DEPTH = 1_000_000
LINE = re.compile(r"/\* (quick|run|mutant): *(.*?) *\*/", re.DOTALL)
MISSING = "make model needs {}: apt install spin gcc (Debian, Ubuntu)"


class Wrong(Exception):
    """The model or the checker is not what this program takes it for."""


@dataclass
class Run:
    model: Path
    kind: str
    options: list[str]

    def __str__(self):
        mutant = "mutant " if self.kind == "mutant" else ""
        return f"{self.model.stem} {mutant}{' '.join(self.options)}"


@dataclass
class Outcome:
    error: str | None
    states: int
    megabytes: float
    seconds: float


def runs(model):
    """What a model says is to be run, in its order."""
    found = [
        Run(model, kind, options.replace("\n *", " ").split())
        for kind, options in LINE.findall(model.read_text())
    ]
    sizes = [run.options for run in found if run.kind != "mutant"]
    for run in found:
        if run.kind == "mutant" and run.options[1:] not in sizes:
            raise Wrong(f"{run}: nothing is run with these options alone")
    return found


def output(command, directory):
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True
    )
    if done.returncode:
        raise Wrong(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def search(run):
    """Makes the checker of one model, and has it look."""
    with TemporaryDirectory() as directory:
        spin = ["spin", "-a", *run.options, str(run.model)]
        output(spin, directory)
        limit = f"-DMEMLIM={MEGABYTES}"
        # Without -DNOREDUCE Spin leaves out orders of steps that it takes
        # for the same. It may be wrong about processes that are killed.
        options = ["-DSAFETY", "-DCOLLAPSE", "-DNOREDUCE", limit]
        compiler = ["gcc", "-O1", "-w", *options, "pan.c", "-o", "pan"]
        output(compiler, directory)
        began = time.monotonic()
        said = output(["./pan", f"-m{DEPTH}"], directory)
        return read(said, time.monotonic() - began)


def read(said, seconds):
    """What the checker found, if it found it in all states."""

    def number(pattern):
        match = re.search(pattern, said)
        if not match:
            raise Wrong(f"not understood:\n{said}")
        return float(match[1])

    if "Full statespace search" not in said:
        raise Wrong(f"not all states are kept:\n{said}")
    for check in ("assertion violations", "invalid end states"):
        if not re.search(rf"{check}\s+\+", said):
            raise Wrong(f"{check} are not looked for:\n{said}")
    error = re.search(r"^pan:1: (.*?)(?: \(at depth -?\d+\))?$", said, re.M)
    found = number(r"errors: (\d+)") > 0
    if "max search depth too small" in said or (
        not found and "Search not completed" in said
    ):
        raise Wrong(f"not all states were seen:\n{said}")
    if found and not error:
        raise Wrong(f"an error without words:\n{said}")
    return Outcome(
        error[1] if found else None,
        int(number(r"([\d.e+]+) states, stored")),
        number(r"([\d.]+)\s+total actual memory usage"),
        seconds,
    )


def tell(run, outcome):
    """Prints a line, and returns whether it is as it should be."""
    good = (outcome.error is not None) == (run.kind == "mutant")
    what = "holds"
    if outcome.error:
        what = "caught" if good else "WRONG"
        what += f": {outcome.error}"
    elif not good:
        what = "NOT CAUGHT"
    print(
        f"{run!s:60} {outcome.states:>10,} states"
        f" {outcome.megabytes:>6.0f} MB {outcome.seconds:>5.1f} s  {what}",
        flush=True,
    )
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small ones only")
    parser.add_argument("models", nargs="*", help="all, if none is named")
    arguments = parser.parse_args()
    for tool in ("spin", "gcc"):
        if not shutil.which(tool):
            sys.exit(MISSING.format(tool))
    names = arguments.models or sorted(p.stem for p in HERE.glob("*.pml"))
    good = True
    try:
        for name in names:
            for run in runs(HERE / f"{name}.pml"):
                if run.kind == "quick" or not arguments.quick:
                    good &= tell(run, search(run))
    except Wrong as wrong:
        sys.exit(str(wrong))
    return not good


if __name__ == "__main__":
    sys.exit(main())
