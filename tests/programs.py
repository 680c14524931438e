# SPDX-License-Identifier: MIT
"""Programs that tests start, hear, and kill."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

from family_children import (
    command,
    environment,
    processes,
    reapers,
    sweep,
    there,
    wait_until,
)


class Program:
    """A running program in a session of its own."""

    def __init__(
        self,
        code,
        *args,
        before=(),
        prelude="from family_children import *",
        python=sys.executable,
        env=None,
        **options,
    ):
        code = f"{prelude}\n{textwrap.dedent(code)}"
        self.process = subprocess.Popen(
            [*before, python, "-W", "ignore", "-c", code]
            + [str(arg) for arg in args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment() if env is None else env,
            start_new_session=True,
            **options,
        )
        self.pid = self.process.pid
        self.lines = iter(self.process.stdout.readline, "")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill_all()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.stderr.close()

    def heard(self):
        line = next(self.lines, None)
        assert line is not None, self.process.stderr.read()
        return line.rstrip("\n")

    def pids(self, count):
        return [int(self.heard()) for _ in range(count)]

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def kill_all(self):
        """The session's processes, all at once. It has not been waited for,
        or nobody has been given its number since."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def ended(self):
        """What it says until its end."""
        out, err = self.process.communicate(timeout=300)
        assert (self.process.returncode, err) == (0, ""), (out, err)
        return out.splitlines()


def ran(code, *args, **options):
    with Program(code, *args, **options) as program:
        return program.ended()


def session(pid):
    """The command lines of a session's processes."""
    return [command(one) for one, _, sid in processes() if sid == pid]


def reaper_of(where):
    """Its pid: of a program that starts, the name shows a little later."""
    assert wait_until(lambda: len(reapers(where)) == 1)
    return reapers(where)[0]


def stay(*names):
    """Are they all still there, after those that may remove them had time?"""
    time.sleep(0.15)
    sweep()
    return there(*names) == list(names)
