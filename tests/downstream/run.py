# SPDX-License-Identifier: MIT
"""The suites of others, on the standard library and over install().

    python tests/downstream/run.py [PACKAGE ...]

Each package of packages.toml is installed from its sdist into an environment
of its own, in build/downstream, and its tests are run twice: as they are, and
with a .pth file that puts shmemext in place, the one that runs this. Each run
has an empty /dev/shm and its own processes, where the machine allows it. The
outcomes have to be the same, test by test, but for those that packages.toml
gives a reason for. Tests that differ are run once more on both sides: what is
only slow or unlucky does not differ twice.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import shmemext
import shmemext_family
import shmemext_hook

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "build" / "downstream"
PACKAGES = tomllib.loads((HERE / "packages.toml").read_text())
SUITE_LIMIT = 240  # seconds for one run of a suite
SETUP_LIMIT = 300  # seconds for pip
JOBS = 2
SIDES = "stdlib", "shmemext"
PYTEST = "pytest==9.2.0"

# Whatever a suite leaves running ends with the first process of the namespace.
PRIVATE = [
    *["unshare", "--mount", "--pid", "--fork", "--kill-child"],
    *["--mount-proc", "sh", "-c"],
]
ON_TMPFS = "mount -t tmpfs -o size=50%,mode=1777 tmpfs /dev/shm && "


class Failed(Exception):
    """What a package's environment could not be made of."""


def call(*command, limit=SETUP_LIMIT, **options):
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
        **options,
    )
    if done.returncode:
        raise Failed(f"{command}: {done.stdout[-2000:]}")
    return done.stdout


@cache
def is_private():
    """May we have a /dev/shm of our own?"""
    try:
        return not subprocess.call(
            [*PRIVATE, ON_TMPFS + "exit 0"], stderr=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return False


def pip(python, *arguments):
    quiet = ["--quiet", "--disable-pip-version-check"]
    return call(python, "-m", "pip", *quiet, *arguments)


class Package:
    def __init__(self, name):
        self.name = name
        self.about = PACKAGES[name]
        self.place = WORK / name
        self.python = self.place / "venv" / "bin" / "python"
        self.tree = self.site_packages = None

    def set_up(self):
        shutil.rmtree(self.place, ignore_errors=True)
        venv.create(self.place / "venv", with_pip=True, symlinks=True)
        requirement = f"{self.name}=={self.about['version']}"
        source = ["--no-deps", "--no-binary", self.name]
        pip(
            self.python,
            *["download", *source, "--dest", self.place / "sdist"],
            requirement,
        )
        (sdist,) = (self.place / "sdist").iterdir()
        with tarfile.open(sdist) as archive:
            archive.extractall(self.place / "tree", filter="data")
        (self.tree,) = (self.place / "tree").iterdir()
        needs = [PYTEST, *self.about["needs"]]
        pip(self.python, "install", "--prefer-binary", sdist, *needs)
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site_packages = Path(call(self.python, "-c", code).strip())
        for module in (
            Path(shmemext.__file__).parent,
            shmemext_family.__file__,
            shmemext_hook.__file__,
        ):
            link = self.site_packages / Path(module).name
            link.symlink_to(module)

    def install(self, side):
        """A suite proves nothing if it meets the wrong module."""
        package = self.about.get("install", "multiprocessing")
        module = f"{package}.shared_memory"
        pth = self.site_packages / "shmemext-install.pth"
        line = f"import shmemext_hook; shmemext_hook.install({package!r})\n"
        pth.write_text(line if side == "shmemext" else "")
        code = f"import {module} as m; print(m.__name__)"
        found = call(self.python, "-c", code).strip()
        if found != (
            "shmemext.shared_memory" if side == "shmemext" else module
        ):
            raise Failed(f"{module} is {found}")

    def command(self, tests):
        # a pyproject.toml, so that it is not ours, which is further up
        return [
            *[self.python, "-m", "pytest", "-p", "outcomes", "-ra"],
            *["-p", "no:cacheprovider", "-c", "pyproject.toml"],
            f"--rootdir={self.about.get('root', '.')}",
            *(f"--deselect={name}" for name in self.about.get("left_out", ())),
            *tests,
        ]

    def run(self, side, tests=None):
        """The outcome of each test by name, and the names left behind."""
        self.install(side)
        report = self.place / f"{side}.outcomes"
        left = self.place / f"{side}.left"
        report.write_text("")
        left.write_text("")
        command = self.command(tests or self.about["tests"])
        script = '"$@"; status=$?; ls -A /dev/shm >"$LEFT"; exit $status'
        if is_private():
            command = [*PRIVATE, f"{ON_TMPFS} {{ {script}; }}", "-", *command]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "SHMEMEXT_OUTCOMES": str(report),
            "LEFT": str(left),
        }
        mode = "a" if tests else "w"
        with (self.place / f"{side}.log").open(mode) as log:
            suite = subprocess.Popen(
                list(map(str, command)),
                cwd=self.tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                suite.wait(SUITE_LIMIT)
            except subprocess.TimeoutExpired:
                suite.kill()  # and so what is in its namespace
                suite.wait()
        outcomes = map(json.loads, report.read_text().splitlines())
        names = left.read_text().split()
        ours = [name for name in names if name.startswith(".shmemext-")]
        return dict(outcomes), len(names) - len(ours)

    def reason(self, test):
        """Why its outcome is another, if there is a reason."""
        for pattern, reason in self.about.get("expected", {}).items():
            if fnmatchcase(test, pattern):
                return reason
        return None

    def differ(self, stdlib, shmemext):
        """The tests whose outcomes are not as they should be."""
        return [
            test
            for test in sorted({*stdlib, *shmemext})
            if (stdlib.get(test) == shmemext.get(test))
            is bool(self.reason(test))
        ]

    def compare(self):
        """The results of both sides, and the tests that differ twice."""
        results = [self.run(side) for side in SIDES]
        both = [outcomes for outcomes, _ in results]
        tests = self.differ(*both)
        if 0 < len(tests) <= 20:
            for side, outcomes in zip(SIDES, both, strict=True):
                outcomes |= self.run(side, tests)[0]
            tests = self.differ(*both)
        return results, tests


def outcome_of(outcomes):
    values = list(outcomes.values())
    good = values.count("passed"), values.count("skipped")
    return f"{good[0]}/{len(values) - sum(good)}"


def take_turns(name):
    """The cells of a package's row, and what is wrong."""
    package = Package(name)
    label = f"{name} {package.about['version']}"
    begin = time.monotonic()
    try:
        package.set_up()
        results, tests = package.compare()
    except (Failed, subprocess.TimeoutExpired) as error:
        return [label, "", "", "", "", "no", ""], [str(error)]
    wrong = []
    for test in tests:
        said = [outcomes.get(test, "not run") for outcomes, _ in results]
        wrong.append(f"{test}: {' / '.join(said)}")
        if reason := package.reason(test):
            wrong[-1] += f", expected to differ: {reason}"
    ran = [test for outcomes, _ in results for test in outcomes]
    for pattern in package.about.get("expected", {}):
        if not any(fnmatchcase(test, pattern) for test in ran):
            wrong.append(f"{pattern}: no such test, though expected to differ")
    if not all(outcomes for outcomes, _ in results):
        wrong.append(f"ran no test: see {package.place}")
    cells = [label]
    for outcomes, left in results:
        cells += [outcome_of(outcomes), str(left)]
    count = len(package.about.get("expected", {}))
    cells.append("no" if wrong else f"but for {count}" if count else "yes")
    return [*cells, f"{time.monotonic() - begin:.0f} s"], wrong


def table(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


HEADER = [
    *["package", "stdlib passed/failed", "names left"],
    *["shmemext passed/failed", "names left", "same", "took"],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", default=list(PACKAGES))
    names = parser.parse_args().packages
    begin = time.monotonic()
    with ThreadPoolExecutor(JOBS) as pool:
        done = list(pool.map(take_turns, names))
    table([HEADER, *(cells for cells, _ in done)])
    for name in names:
        for pattern, reason in PACKAGES[name].get("expected", {}).items():
            print(f"{name}: {pattern}: {reason}")
    bad = 0
    for (package, *_), wrong in done:
        bad += bool(wrong)
        for line in wrong:
            print(f"{package}: {line}")
    print(f"the logs are in {WORK}")
    print(
        f"{len(done) - bad} passed, {bad} failed in "
        f"{time.monotonic() - begin:.1f}s"
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
