# SPDX-License-Identifier: MIT
"""The cases of the crash matrix: `python crash_cases.py CASE PEER` prints
"pass", or what went wrong in a word. It expects a /dev/shm of its own.

Everybody in a case is a process: crash_actors.py has what they do."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import peers
from crash_actors import DATA, PATIENCE, STAYS, Bad, got, left
from machine import DEV_SHM

SMALL_TMPFS = "1m"
GOES = 5.0  # seconds, within which a name has to go that should
TURNS = 40  # of the race


def start(peer: Any, action: str, name: str) -> subprocess.Popen[str]:
    """In a session of its own: who kills its group kills all it started."""
    program = str(Path(__file__).with_name("crash_actors.py"))
    command = [sys.executable, program, action, peer.name, name]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    """Its next line; how it died, where there is none."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line:
        return line
    status = process.wait(PATIENCE)
    if status < 0:
        raise Bad(signal.Signals(-status).name)
    raise Bad("not run: an actor failed")


def is_ready(process: subprocess.Popen[str]) -> None:
    word = said(process)
    if word != "ready":
        raise Bad(f"not run: {word}")


def tell(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()


def release(process: subprocess.Popen[str]) -> None:
    with suppress(BrokenPipeError):
        process.communicate("\n", timeout=PATIENCE)


def goes(peer: Any, name: str) -> None:
    deadline = monotonic() + GOES
    while left(peer, name):
        if monotonic() > deadline:
            raise Bad("left")
        sleep(0.02)


def still_there(peer: Any, name: str) -> None:
    """For others, after what may take it away has had its time."""
    deadline = monotonic() + STAYS
    while left(peer, name) and monotonic() < deadline:
        sleep(0.02)
    try:
        handle = peer.attach(name)
        data = got(peer, handle)
    except Exception:
        raise Bad("gone") from None
    if data != DATA:
        raise Bad("other data")


def attacher_exits(peer: Any, name: str) -> None:
    owner = start(peer, "creator", name)
    is_ready(owner)
    with start(peer, "attacher", name) as other:
        other.communicate(timeout=PATIENCE)
    if other.returncode != 0:
        raise Bad("not run: it cannot attach")
    still_there(peer, name)
    release(owner)


def creator_killed(peer: Any, name: str) -> None:
    owner = start(peer, "creator", name)
    is_ready(owner)
    owner.kill()
    owner.wait(PATIENCE)
    goes(peer, name)


def everybody_killed(peer: Any, name: str) -> None:
    """As by a supervisor or a terminal: the whole process group."""
    owner = start(peer, "family", name)
    is_ready(owner)
    os.killpg(owner.pid, signal.SIGKILL)
    owner.wait(PATIENCE)
    goes(peer, name)


def full(peer: Any, name: str) -> None:
    remount = ["mount", "-o", f"remount,size={SMALL_TMPFS}", str(DEV_SHM)]
    if subprocess.run(remount, capture_output=True).returncode != 0:
        raise Bad("not run: /dev/shm cannot be made small")
    word = said(start(peer, "filler", name))
    if word == "other data":
        raise Bad(word)


def array_outlives(peer: Any, name: str) -> None:
    word = said(start(peer, "outliver", name))
    if word != "same":
        raise Bad(word)


def failed_attach(peer: Any, name: str) -> None:
    owner = start(peer, "large_creator", name)
    is_ready(owner)
    word = said(start(peer, "failing_attacher", name))
    if word != "failed":
        raise Bad(f"not run: {word}")
    still_there(peer, name)
    release(owner)


def worker_exits(peer: Any, name: str) -> None:
    program = start(peer, "parent", name)
    for _ in ("fork", "spawn"):
        word = said(program)
        if word != "same":
            raise Bad(word)


def name_race(peer: Any, name: str) -> None:
    """One process creates names, another waits for each of them to appear."""
    maker = start(peer, "creates_often", name)
    is_ready(maker)
    taker = start(peer, "attaches_often", name)
    is_ready(taker)
    for turn in range(TURNS):
        tell(taker, turn)
        is_ready(taker)
        tell(maker, turn)
        word = said(taker)
        if word != "none":
            raise Bad(word)
        is_ready(maker)
        tell(maker, turn)  # they can go
        is_ready(maker)
    for process in (maker, taker):
        process.communicate(timeout=PATIENCE)


# words of the table, what the peer must be able to do, the case
CASES: dict[str, tuple[str, str, Callable[[Any, str], None]]] = {
    "attacher": ("attacher exits", "attach", attacher_exits),
    "creator": ("creator SIGKILLed", "create", creator_killed),
    "everybody": ("everybody SIGKILLed", "create", everybody_killed),
    "full": ("full /dev/shm", "create", full),
    "array": ("array outlives segment", "array", array_outlives),
    "attach": ("failed attach", "attach", failed_attach),
    "worker": ("worker creates, exits", "attach", worker_exits),
    "race": ("name race at size 0", "attach", name_race),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("peer")
    options = parser.parse_args()
    _, _, case = CASES[options.case]
    try:
        case(peers.load(options.peer), f"crash-{os.getpid()}")
    except Bad as word:
        print(word)
    else:
        print("pass")


if __name__ == "__main__":
    main()
