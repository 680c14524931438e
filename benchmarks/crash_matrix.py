# SPDX-License-Identifier: MIT
"""The crash matrix: what each peer does when processes die, memory is full,
or calls fail. Run for real, each case in processes and with a /dev/shm of its
own, where private mounts are permitted. crash_cases.py has the cases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import crash_cases
import crash_locks
import peers
from bench import Bench
from machine import private

TIMEOUT = 240.0
QUICK = ("shmemext", "stdlib", "multiprocessing")
PASS, NONE = "pass", "-"
# what the variants of a peer cannot change
SKIPPED = ("shmemext reserve=False", "shmemext write()", "shmemext populate()")
# has locks inside, and gives none away
NO_LOCK = ("faster-fifo",)
# by what is asked: the cases, and the program that has them
ASKED = {
    "memory": (crash_cases.CASES, "crash_cases.py"),
    "locks": (crash_locks.CASES, "crash_locks.py"),
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


def one(asked: str, case: str, peer: str) -> str:
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
        [*private(), sys.executable, str(program), case, peer],
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
    able = (
        peers.able("create")
        if asked == "memory"
        else [*peers.able("lock"), *NO_LOCK]
    )
    names = [
        name
        for name in bench.of(able)
        if name not in SKIPPED and (not bench.quick or name in QUICK)
    ]
    private()
    jobs = [(name, case) for name in names for case in cases]
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        cells = list(pool.map(lambda job: one(asked, job[1], job[0]), jobs))
    matrix: Matrix = {name: {} for name in names}
    for (name, case), cell in zip(jobs, cells, strict=True):
        matrix[name][case] = cell
    return matrix


def show(
    matrix: Matrix, labels: Mapping[str, str], asked: str = "memory"
) -> None:
    print(f"matrix of {asked}: what happens when things go wrong\n")
    titles = {case: words for case, (words, _, _) in ASKED[asked][0].items()}
    halves = {case: split(words) for case, words in titles.items()}
    for half in (0, 1):
        print(f"  {'':<26}", *(f"{h[half]:<14}" for h in halves.values()))
    notes = []
    for name, cells in matrix.items():
        line = [f"  {labels.get(name, name):<26}"]
        for case, title in titles.items():
            cell = cells[case]
            if cell.startswith("not run"):
                notes.append(f"{name}, {title}: {cell}")
                cell = "not run"
            line.append(f"{short(cell):<14}")
        print(*line)
    legend = LEGEND if asked == "memory" else LEGEND_OF_LOCKS
    print("", *notes, legend, "", sep="\n")


def short(cell: str) -> str:
    """What fits; the JSON has the rest."""
    return cell if len(cell) < 14 else cell.partition(" ")[0][:13]


def split(words: str) -> tuple[str, str]:
    """In two, for a heading of two lines."""
    first, _, rest = words.partition(" ")
    if len(rest) > 14:
        first, _, rest = words.rpartition(" ")
    return first, rest
