# SPDX-License-Identifier: MIT
"""What needs a fresh interpreter each time: the import, and the first create
together with whatever it starts and leaves running."""

from __future__ import annotations

import compileall
import ctypes
import os
import shutil
import subprocess
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import perf_counter

from bench import Bench
from paired import Samples, rounds
from table import OURS, STDLIB, Row, rows_of

PROC = Path("/proc")
PR_SET_CHILD_SUBREAPER = 36

MODULES = {STDLIB: "multiprocessing.shared_memory", OURS: "shmemext"}

FIRST_CREATE = """
import sys
from time import perf_counter
from {module} import SharedMemory
start = perf_counter()
shm = SharedMemory(name={name!r}, create=True, size=4096)
elapsed = perf_counter() - start
try:
    print(elapsed, flush=True)
    sys.stdin.readline()
    from resource import RUSAGE_CHILDREN, getrusage
    ended = getrusage(RUSAGE_CHILDREN)
    print(ended.ru_utime + ended.ru_stime, flush=True)
    shm.close()
finally:
    shm.unlink()
"""


class Fresh:
    """A virtual environment that holds a copy of the package and of the module
    beside it, compiled, and nothing else: what other packages import at every
    start, an editable install's finder among them, would hide a part of either
    import."""

    def __init__(self, package: Path, module: Path, directory: Path) -> None:
        builder = venv.EnvBuilder(symlinks=True)
        builder.create(directory)
        context = builder.ensure_directories(directory)
        self.python: str = context.env_exe
        purelib = sysconfig.get_path(
            "purelib", "venv", {"base": str(directory)}
        )
        copy = Path(purelib, package.name)
        shutil.copytree(
            package, copy, ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(module, purelib)
        compileall.compile_dir(purelib, quiet=1)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON")
        }

    def command(self, code: str) -> list[str]:
        """-P: the current directory is not searched."""
        return [self.python, "-P", "-c", code]

    def life(self, code: str) -> float:
        """Microseconds of CPU time from an interpreter's start to its end: it
        waits for nothing, but on a busy machine others make it wait."""
        words = self.command(code)
        pid = os.posix_spawn(words[0], words, self.environment)
        _, status, used = os.wait4(pid, 0)
        if status != 0:
            raise RuntimeError(f"failed: {code}")
        return (used.ru_utime + used.ru_stime) * 1e6

    def popen(self, code: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(code),
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def imports(fresh: Fresh, seconds: float, least: int) -> Samples:
    """Microseconds of CPU that an import adds to an interpreter's life."""
    codes = {"bare": "pass"}
    codes |= {side: f"import {of}" for side, of in MODULES.items()}
    sides = {side: partial(fresh.life, code) for side, code in codes.items()}
    samples, _ = rounds(sides, seconds, least)
    bare = samples["bare"]
    return {
        side: [a - b for a, b in zip(samples[side], bare, strict=True)]
        for side in MODULES
    }


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """A process that detaches itself becomes a child of this one: it is seen
    whatever its name is, and another program's is not taken for it."""
    prctl = ctypes.CDLL(None).prctl
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) is refused")
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def status_of(pid: int) -> tuple[int, str, float]:
    """Parent, state, and microseconds of CPU time so far."""
    text = (PROC / str(pid) / "stat").read_text()
    fields = text.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    cpu = ticks / os.sysconf("SC_CLK_TCK") * 1e6
    tasks = PROC / str(pid) / "task"
    with suppress(FileNotFoundError):  # nanoseconds, if they are counted
        cpu = sum(
            int((task / "schedstat").read_text().split()[0]) / 1e3
            for task in tasks.iterdir()
        )
    return int(fields[1]), fields[0], cpu


def resident(pid: int) -> float:
    """KiB of resident memory."""
    with suppress(FileNotFoundError, ProcessLookupError):
        text = (PROC / str(pid) / "status").read_text()
        for line in text.splitlines():
            if line.startswith("VmRSS:"):
                return float(line.split()[1])
    return 0.0  # it has ended


def descendants() -> dict[int, tuple[str, float]]:
    """State and CPU time of every process below this one."""
    everybody = {}
    for entry in os.listdir(PROC):  # noqa: PTH208 (hot)
        if entry.isdigit():
            try:
                everybody[int(entry)] = status_of(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                continue
    below: dict[int, tuple[str, float]] = {}
    wave = [os.getpid()]
    while wave:
        wave = [pid for pid, of in everybody.items() if of[0] in wave]
        below |= {pid: everybody[pid][1:] for pid in wave}
    return below


def settled(known: set[int], timeout: float = 30.0) -> dict[int, float]:
    """CPU time of the processes that were not known, once all of them sleep
    and none has used any for 20 ms."""
    deadline = perf_counter() + timeout
    before: dict[int, float] | None = None
    same = 0
    while same < 4:
        if perf_counter() > deadline:
            raise RuntimeError("what the first create started never rests")
        time.sleep(0.005)
        now = {p: of for p, of in descendants().items() if p not in known}
        cpu = {pid: used for pid, (_, used) in now.items()}
        resting = all(state in "SZ" for state, _ in now.values())
        same = same + 1 if resting and cpu == before else 0
        before = cpu
    assert before is not None
    return before


def bury(known: set[int], timeout: float = 30.0) -> None:
    """Waits for the end of what was adopted, and reaps it."""
    deadline = perf_counter() + timeout
    while True:
        left = descendants().keys() - known
        if not left:
            return
        for pid in left:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # not ours yet
        if perf_counter() > deadline:
            raise RuntimeError(f"still running after its program: {left}")
        time.sleep(0.001)


def first_create(
    fresh: Fresh, seconds: float, least: int
) -> dict[str, Samples]:
    """Of a fresh process: `time`, microseconds of its first create; `cpu`,
    microseconds of what that started, ended or not; `memory`, KiB of what is
    left running."""
    collected: dict[str, Samples] = {
        key: {side: [] for side in MODULES} for key in ("cpu", "memory")
    }
    name = f"shmemext-bench-first-{os.getpid()}"

    def measure(side: str) -> float:
        code = FIRST_CREATE.format(module=MODULES[side], name=name)
        known = set(descendants())
        with fresh.popen(code) as child:
            assert child.stdout is not None
            elapsed = child.stdout.readline()
            if not elapsed:
                raise RuntimeError(f"{side}: the first create failed")
            helpers = settled(known | {child.pid})
            memory = sum(map(resident, helpers))
            ended, _ = child.communicate("\n")
        bury(known)
        cpu = sum(helpers.values()) + float(ended) * 1e6
        collected["cpu"][side].append(cpu)
        collected["memory"][side].append(memory)
        return float(elapsed) * 1e6

    sides = {side: partial(measure, side) for side in MODULES}
    try:
        with adopting_orphans():
            samples, _ = rounds(sides, seconds, least)
    finally:
        Path("/dev/shm", name).unlink(missing_ok=True)
    # the first round warmed up
    rest = {
        key: {side: values[1:] for side, values in of.items()}
        for key, of in collected.items()
    }
    return {"time": samples, **rest}


@contextmanager
def clean() -> Iterator[Fresh]:
    import shmemext  # not in the processes of other peers
    import shmemext_family

    package, module = Path(shmemext.__file__), Path(shmemext_family.__file__)
    with tempfile.TemporaryDirectory() as directory:
        yield Fresh(package.parent, module, Path(directory, "venv"))


def measure_import(bench: Bench) -> Iterator[list[Row]]:
    with clean() as fresh:
        samples = imports(fresh, 3 * bench.seconds, 2 * bench.least)
    yield rows_of(
        "import",
        "import, over a bare start, CPU time",
        "us",
        samples,
        reach={OURS: 0.95},
    )


def measure_first(bench: Bench) -> Iterator[list[Row]]:
    with clean() as fresh:
        found = first_create(fresh, 3 * bench.seconds, 2 * bench.least)
    for key, work, unit in (
        ("time", "first create of a process", "us"),
        ("cpu", "CPU time of what that starts", "us"),
        ("memory", "memory of what runs on", "KiB"),
    ):
        yield rows_of("first", work, unit, found[key], reach={OURS: 1.0})
