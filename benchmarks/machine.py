# SPDX-License-Identifier: MIT
"""What the numbers were measured on, where processes are pinned, and how one
gets a /dev/shm of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from contextlib import suppress
from functools import cache
from multiprocessing import shared_memory as stdlib
from pathlib import Path
from typing import Any

DEV_SHM = Path("/dev/shm")


def check_sides() -> None:
    """Neither side may be the other in disguise. The only import of ours here:
    the processes of other peers use this module too."""
    import shmemext

    home = Path(sysconfig.get_path("stdlib")).resolve()
    if home not in Path(stdlib.__file__).resolve().parents:
        sys.exit(f"not the standard library's: {stdlib.__file__}")
    for name in ("SharedMemory", "ShareableList"):
        if getattr(stdlib, name) is getattr(shmemext, name):
            sys.exit("multiprocessing.shared_memory has been replaced")


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_total() -> int:
    """GiB."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return round(pages / 2**30)


def about() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": memory_total(),
        "load": os.getloadavg()[0],
    }


def caption(of: dict[str, Any]) -> str:
    gil = "" if of["gil"] else " without GIL"
    return (
        f"CPython {of['python']}{gil}, {of['system']}, {of['processor']}, "
        f"{of['cpus']} CPUs, {of['memory_gib']} GiB, load {of['load']:.2f}"
    )


def room() -> int:
    """Free bytes in /dev/shm; a lot, where it has no limit."""
    fs = os.statvfs(DEV_SHM)
    return fs.f_bavail * fs.f_frsize if fs.f_blocks else 1 << 40


def spare() -> int:
    """Bytes that may be used without anybody's missing them."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return min(room(), int(line.split()[1]) * 1024 * 2 // 3)
    return room()


@cache
def places() -> tuple[set[int], set[int]]:
    """CPUs for what measures and for what it starts: one each, where there
    are two; else both may run anywhere. Asked before anybody is pinned."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return set(cpus), set(cpus)
    return {cpus[-1]}, {cpus[-2]}


@cache
def private() -> tuple[str, ...]:
    """What to put before a command that needs a /dev/shm of its own; empty,
    where that is not permitted."""
    script = 'mount -t tmpfs -o size=512m tmpfs /dev/shm && exec "$@"'
    for who in ((), ("--user", "--map-root-user")):
        prefix = ("unshare", *who, "--mount", "--ipc", "sh", "-c", script, "-")
        with suppress(FileNotFoundError):
            done = subprocess.run([*prefix, "true"], capture_output=True)
            if done.returncode == 0:
                return prefix
    return ()
