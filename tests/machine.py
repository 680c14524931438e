# SPDX-License-Identifier: MIT
"""A /dev/shm of the test's own, so that what is collected there is nobody's.

Needs the right to make mount namespaces. Without it, it is the machine's
/dev/shm, and tests that collect orphans are skipped."""

import fcntl
import json
import os
import pty
import pwd
import select
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

NOBODY = 65534
PATIENCE = 60  # seconds, for the other side to do its part

_ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if key not in ("NO_COLOR", "FORCE_COLOR", "PYTHON_COLORS", "COLUMNS")
}
_ENVIRONMENT["TERM"] = "xterm"


class Machine:
    def __init__(self, enter, shm, private):
        self.enter = enter
        self.shm = shm
        self.private = private
        # In a namespace of its own a user is root.
        self.uid = 0 if private else os.geteuid()
        self.owner = pwd.getpwuid(self.uid).pw_name
        self.made = set()

    def command(self, *args, user=None):
        become = []
        if user is not None:
            become = [
                "setpriv",
                f"--reuid={user}",
                f"--regid={user}",
                "--clear-groups",
            ]
        return [*self.enter, *become, sys.executable, *map(str, args)]

    def run(self, *args, user=None, status=0, env=None, **options):
        done = subprocess.run(
            self.command(*args, user=user),
            text=True,
            timeout=300,
            env={**_ENVIRONMENT, **(env or {})},
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **options,
            },
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        return done

    def cli(self, *args, **options):
        return self.run("-m", "shmemext", *args, **options)

    def within(self, mount):
        """The same, but for what such commands of a shell mount, which is
        there for what runs on this machine alone."""
        unshare = ["unshare", "--mount", "--propagation", "private"]
        script = f'{mount} && exec "$@"'
        enter = [*self.enter, *unshare, "sh", "-c", script, "sh"]
        return Machine(enter, self.shm, private=True)

    def survey(self, expression):
        """Of what is found there, as JSON has it."""
        done = self.run(
            "-c",
            "import json\n"
            "from dataclasses import asdict\n"
            "from shmemext import lifetime\n"
            "found = lifetime.survey()\n"
            f"print(json.dumps({expression}))",
        )
        return json.loads(done.stdout)

    @contextmanager
    def running(self, code, *args, user=None):
        """A process that runs the code and waits until the block is over, or
        it is killed. Gives it, and the words of the line it printed."""
        wait = "\nimport sys; sys.stdout.flush(); sys.stdin.read()"
        with subprocess.Popen(
            self.command("-c", code + wait, *args, user=user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_ENVIRONMENT,
        ) as child:
            try:
                yield child, child.stdout.readline().split()
            except BaseException:
                child.kill()
                raise

    def creator(self, name, size=5000, track=None, user=None):
        """A running process with a segment. Gives it and its family's id."""
        self.made.add(name)
        return self.running(
            "import sys, shmemext\n"
            "name, size, track = sys.argv[1:]\n"
            "shm = shmemext.SharedMemory(name, create=True, size=int(size),"
            " track={'None': None, 'False': False}[track])\n"
            "print(shmemext._shmemext._own())",
            name,
            size,
            track,
            user=user,
        )

    def stranded(self, name, size=5000, user=None):
        """A segment of a family that was killed, reaper and all. Returns the
        family's id."""
        with self.creator(name, size, user=user) as (child, (family,)):
            self.kill_reapers(family)
            child.kill()
            child.wait()
        # Who reads its map in /proc right now keeps its memory, and in that
        # its share of the lock, a little longer.
        wait_until(lambda: is_dead(self.shm / f".shmemext-2-{family}"))
        assert self.has(name)
        return family

    def kill_reapers(self, family):
        """The family has one, or is about to: its start is not waited for."""
        directory = f"/dev/shm/.shmemext-2-{family}"
        wait_until(lambda: reapers(directory))
        for reaper in reapers(directory):
            with suppress(ProcessLookupError):
                os.kill(reaper, signal.SIGKILL)
            wait_until(lambda pid=reaper: is_gone(pid))

    def file(self, name, size=5000, uid=None, mode=0o600):
        """A segment that nobody has open, as ftruncate and close leave it."""
        self.made.add(name)
        path = self.shm / name
        path.write_bytes(b"\1" * size)
        path.chmod(mode)
        if uid is not None:
            os.chown(path, uid, uid)
        return path

    def has(self, name):
        return (self.shm / name).exists()

    def families(self):
        return set(self.shm.glob(".shmemext-*"))

    def clean(self):
        for name in self.made:
            (self.shm / name).unlink(missing_ok=True)


def reapers(directory):
    """The pids of a family's reapers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            argument = (process / "cmdline").read_bytes().split(b"\0")[1:2]
            program = (process / "exe").readlink().name
            if program.startswith("shmemext-reaper") and argument == [
                os.fsencode(directory)
            ]:
                found.append(int(process.name))
    return found


def is_dead(family):
    """Does nobody share the lock of that directory?"""
    with (family / ".lock").open("rb") as lock:
        return lock_type(lock) != fcntl.F_RDLCK


def record(inode, name):
    """A ledger's, of a file of which nobody knows when it was born."""
    return struct.pack("=QQ256s", inode, 0, os.fsencode(name))


# struct flock: its type, and all of the file.
_FLOCK = struct.Struct("hhqqi4x")


def lock_type(file, start=0, length=0):
    """How others have locked it."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    return _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0]


def lock(file, how, start=0, length=0):
    """Locks it as a member of a family does .lock."""
    flock = _FLOCK.pack(how, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, flock)


def is_gone(pid):
    """Or a zombie that nobody has waited for: it has closed everything."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@contextmanager
def boot():
    """A machine."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    enter = ["nsenter", "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
        enter += ["--user", "--preserve-credentials"]
    script = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && echo up && read x"
    try:
        holder = subprocess.Popen(
            [*unshare, "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError:  # no unshare
        holder = None
    if holder is not None and holder.stdout.readline() != "up\n":
        with holder:
            holder.stdin.close()
        holder = None
    if holder is None:
        yield from _clean(Machine([], Path("/dev/shm"), False))
        return
    with holder:
        enter = [*enter, f"--target={holder.pid}"]
        shm = Path(f"/proc/{holder.pid}/root/dev/shm")
        yield from _clean(Machine(enter, shm, True))
        holder.stdin.close()


def _clean(machine):
    try:
        yield machine
    finally:
        machine.clean()


def need_two_users(machine):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be two users")
    try:
        machine.run("-c", "import shmemext", user=NOBODY)
    except (OSError, AssertionError):
        pytest.skip("another user cannot run this Python")


def on_terminal(command, answer="", env=None, columns=200):
    """Runs it with a terminal on all three, and returns its exit status and
    what it printed. The answer is typed when it asks."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**_ENVIRONMENT, "COLUMNS": str(columns), **(env or {})},
    ) as child:
        os.close(theirs)
        printed = b""
        deadline = time.monotonic() + 300
        try:
            while time.monotonic() < deadline:
                if select.select([ours], [], [], 1)[0]:
                    printed += os.read(ours, 65536)
                if answer and b"[y/N] " in printed:
                    os.write(ours, os.fsencode(answer))
                    answer = ""
        except OSError:  # EIO: everybody has closed the terminal
            pass
        finally:
            os.close(ours)
    return child.returncode, os.fsdecode(printed).replace("\r\n", "\n")
