# SPDX-License-Identifier: MIT
"""The crash matrix: what each peer does when processes die, memory is full,
or calls fail. Run for real, each case in processes and with a /dev/shm of its
own, where private mounts are permitted. crash_cases.py, crash_locks.py and
crash_queues.py have the cases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from textwrap import wrap

import crash_cases
import crash_locks
import crash_queues
import peers
from bench import Bench
from machine import private

TIMEOUT = 120.0
WIDTH = 14  # of a cell
# The others take the seconds that they are waited for.
QUICK = ("shmemext", "shmemext Channel")
PASS, NONE = "pass", "-"
# what the variants of a peer cannot change
SKIPPED = ("shmemext reserve=False", "shmemext write()", "shmemext populate()")
# has locks inside, and gives none away
NO_LOCK = ("faster-fifo",)
# by what is asked: the cases, and the program that has them
ASKED = {
    "memory": (crash_cases.CASES, "crash_cases.py"),
    "locks": (crash_locks.CASES, "crash_locks.py"),
    "queues": (crash_queues.CASES, "crash_queues.py"),
}
Matrix = dict[str, dict[str, str]]

LEGEND = """\
pass         what should stay stays, what should go goes, nobody dies
left         the name is still there 5 s later: memory until the reboot
gone         the name was taken from those who use it
SIG...       a process that did nothing wrong died of it
other word   what came instead of success or of a plain exception
-            the peer has no such thing, or the case is not for it"""
LEGEND_OF_LOCKS = """\
pass         it goes on, and whoever is next is told who died with a lock
silent       the next one has the lock, and is not told: half of a change
stuck, hangs nobody has it any more; a call that needs no time never returns
lost         one less for everybody, until the last one ends
not woken    the dead had the call
-            not there"""
LEGEND_OF_QUEUES = """\
pass         whole messages arrive, and go on arriving; nothing is left over
lost         what the dead one had got and not done is nobody's
stuck        nobody gets anything any more
other word   what came instead of a message; garbage: one that nobody sent
left         the name, or the memory, is still there 5 s later
-            it has no such thing"""
LEGENDS = {
    "memory": LEGEND,
    "locks": LEGEND_OF_LOCKS,
    "queues": LEGEND_OF_QUEUES,
}
# By what is asked, what a peer has to be able to do for a row.
NEEDED = {
    "memory": ("create",),
    "locks": ("lock",),
    "queues": ("tasks", "frames", "sends_arrays"),
}


def takes_part(asked: str, name: str) -> bool:
    if name in SKIPPED:
        return False
    return (asked == "locks" and name in NO_LOCK) or any(
        hasattr(peers.kind(name), of) for of in NEEDED[asked]
    )


def alone(kind: type) -> tuple[str, ...]:
    """With a /dev/shm of its own, and a folder that the peer shares else."""
    folder = getattr(kind, "folder", None)
    if folder is None or not private():
        return private()
    script = f'mkdir -p {folder} && mount -t tmpfs tmpfs {folder} && exec "$@"'
    return (*private(), "sh", "-c", script, "-")


def one(asked: str, case: str, peer: str, *options: str) -> str:
    """A cell."""
    cases, name = ASKED[asked]
    _, needed, _ = cases[case]
    kind = peers.kind(peer)
    if not hasattr(kind, needed) or case in kind.not_asked:
        return NONE
    if not private() and case == "full":
        return "not run: private mounts are not permitted"
    program = Path(__file__).with_name(name)
    process = subprocess.Popen(
        [*alone(kind), sys.executable, str(program), case, peer, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "hangs"
    lines = out.strip().splitlines()
    return lines[-1] if lines else "not run: the case failed"


def measure(bench: Bench, asked: str = "memory") -> Matrix:
    """By the peer, then by the case."""
    cases, _ = ASKED[asked]
    names = [
        name
        for name in bench.of([*peers.NAMES])
        if takes_part(asked, name) and (not bench.quick or name in QUICK)
    ]
    private()
    jobs = [(name, case) for name in names for case in cases]
    # who hangs waits, and takes nothing
    workers = max(2, os.cpu_count() or 2) * (1 if asked == "memory" else 2)
    workers *= 2 if bench.quick else 1
    few = ("--kills=2",) if bench.quick and asked == "queues" else ()
    with ThreadPoolExecutor(workers) as pool:
        cells = list(
            pool.map(lambda job: one(asked, job[1], job[0], *few), jobs)
        )
    matrix: Matrix = {name: {} for name in names}
    for (name, case), cell in zip(jobs, cells, strict=True):
        matrix[name][case] = cell
    return matrix


def show(
    matrix: Matrix, labels: Mapping[str, str], asked: str = "memory"
) -> None:
    print(f"matrix of {asked}: what happens when things go wrong\n")
    titles = {case: words for case, (words, _, _) in ASKED[asked][0].items()}
    heads = [wrap(words, WIDTH - 1) for words in titles.values()]
    for at in range(max(map(len, heads))):
        cells_ = [head[at] if at < len(head) else "" for head in heads]
        print(f"  {'':<26}", *(f"{cell:<{WIDTH}}" for cell in cells_))
    notes = []
    for name, cells in matrix.items():
        line = [f"  {labels.get(name, name):<26}"]
        for case, title in titles.items():
            cell = cells[case]
            if cell.startswith("not run"):
                notes.append(f"{name}, {title}: {cell}")
                cell = "not run"
            line.append(f"{short(cell):<{WIDTH}}")
        print(*line)
    print("", *notes, LEGENDS[asked], "", sep="\n")


def short(cell: str) -> str:
    """What fits; the JSON has the rest."""
    return cell if len(cell) < WIDTH else cell.partition(" ")[0][: WIDTH - 1]
