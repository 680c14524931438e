# SPDX-License-Identifier: MIT
"""The system calls of a program, and a SIGKILL before any of them: by
strace(1)."""

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path


def calls_of(trace):
    """Names of the system calls, in order."""
    return re.findall(r"^(\w+)\(", trace, re.MULTILINE)


def points(calls, first, last):
    """(name, how manieth of that name) for calls in that range."""
    seen = Counter()
    for i, name in enumerate(calls):
        seen[name] += 1
        if first < i <= last and name not in ("read", "restart_syscall"):
            yield name, seen[name]


def inject(name, when):
    how = f"inject={name}:signal=SIGKILL:when={when}"
    return ["-e", f"trace={name}", "-e", how]


def has_strace():
    """That may attach to a process which is not its child."""
    if shutil.which("strace") is None:
        return False
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if os.geteuid() != 0 and scope.exists() and scope.read_text() != "0\n":
        return False
    done = subprocess.run(["strace", "true"], capture_output=True)
    return done.returncode == 0
