# SPDX-License-Identifier: MIT
"""What the lifetime tests' programs are made of.

Most functions here run in processes that a test started, as members of a
process family. Those that look from outside say so: they know a family by
its directory, as csrc/core/life/family.h draws it.
"""

import contextlib
import fcntl
import functools
import multiprocessing
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from shmemext import SharedMemory, _shmemext

DEV_SHM = Path("/dev/shm")
FAMILY = ".shmemext-2-"
HERE = Path(__file__).parent
METHODS = ["fork", "spawn", "forkserver"]
PATIENCE = 60  # seconds: what is to happen soon takes longer under load

kept = []  # segments that stay open until the process ends


def directory():
    """The directory of this process's family, which is founded if there is
    none."""
    if _shmemext._own() is None:
        os.close(_shmemext._share()[1])
    return DEV_SHM / f"{FAMILY}{_shmemext._own()}"


def has_family():
    return _shmemext._own() is not None


def new_family():
    """From now on, what this process creates is another family's. The one it
    was in ends if it was its only member."""
    _shmemext._leave()


def lock(file, how, wait=False):
    """The whole of an open file, as csrc/core/os/os.h's shx_os_claim()."""
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    fcntl.fcntl(file, command, struct.pack("hhqqi4x", how, 0, 0, 0, 0))


def create(name, size=1, **options):
    segment = SharedMemory(name, create=True, size=size, **options)
    kept.append(segment)
    return segment


def create_all(*names):
    for name in names:
        create(name)


def attach(name):
    segment = SharedMemory(name)
    kept.append(segment)
    return segment


def unlink(*names):
    for name in names:
        SharedMemory(name).unlink()


def say(*words):
    print(*words, flush=True)


def run(method, target, *args):
    """Runs a function in a child, to its end."""
    child = multiprocessing.get_context(method).Process(
        target=target, args=args
    )
    child.start()
    child.join()
    assert child.exitcode == 0, child.exitcode


def grow(method, names):
    """A chain of processes: one for each name, which it owns. Each says its
    pid and waits for its end."""
    create(names[0])
    say(os.getpid())
    if len(names) > 1:
        child = multiprocessing.get_context(method).Process(
            target=grow, args=(method, names[1:])
        )
        child.start()
    time.sleep(600)


def sleep_after(function, *args):
    """A child that does something, says its pid and stays."""
    function(*args)
    say(os.getpid())
    time.sleep(600)


def sleep_until_told(file):
    while not Path(file).exists():
        time.sleep(0.01)


def records(where):
    """From outside: the names in a family's ledgers."""
    found = []
    for ledger in where.glob("l*"):
        data = ledger.read_bytes()
        for at in range(0, len(data) - 271, 272):
            if data[at : at + 8] != bytes(8):
                name = data[at + 16 : at + 272].partition(b"\0")[0]
                found.append(os.fsdecode(name))
    return found


def processes():
    """From outside: (pid, state, session) of everybody who is not dead."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            text = (entry / "stat").read_text()
            fields = text[text.rindex(")") + 2 :].split()
            if fields[0] not in "ZX":
                yield int(entry.name), fields[0], int(fields[3])


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def open_files(pid):
    """From outside: where its descriptors lead, while they come and go."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(fd.readlink()))
    return found


def reapers(*directories):
    """From outside: the pids of the families' reapers, zombies left out."""
    wanted = {os.fsencode(where) for where in directories}
    return [
        pid
        for pid, _, _ in processes()
        if len(words := command(pid)) == 2
        and words[0].endswith(b"shmemext-reaper")
        and words[1] in wanted
    ]


def is_alive(where):
    """From outside: does the family have a member?"""
    try:
        with (where / ".lock").open("rb") as file:
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
            told = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
            return struct.unpack("hhqqi4x", told)[0] == fcntl.F_RDLCK
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=PATIENCE):
    """Was it so in time?"""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def path(name):
    return DEV_SHM / name


def there(*names):
    return [name for name in names if os.path.lexists(DEV_SHM / name)]


def gone(*names):
    """From outside: are all of them gone, soon?"""
    return wait_until(lambda: not there(*names))


def sweep():
    """Removes what dead families left."""
    return _shmemext._sweep(False)


def record(name, inode, born=0):
    """A ledger's record, as csrc/core/life/ledger.h draws it."""
    name = os.fsencode(name)
    return struct.pack("=QQ256s", inode, born, name)


def bury(where, *ledgers):
    """Makes the directory of a dead family, with ledgers of that content. It
    appears whole: a reaper that has just started sweeps all of the dead."""
    made = where.with_name(f".grave-{where.name}")
    made.mkdir(mode=0o700)
    (made / ".lock").touch(mode=0o600)
    for i, content in enumerate(ledgers):
        (made / f"l{i:016x}").write_bytes(content)
    return made.rename(where)


def some_directory():
    return DEV_SHM / f"{FAMILY}{os.urandom(16).hex()}"


def environment():
    """For a program that imports this module."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def with_private_shm(words, options="mode=1777"):
    """The command line that runs `words` where /dev/shm is its own, and goes
    with it."""
    script = 'mount -t tmpfs -o "$0" tmpfs /dev/shm && exec "$@"'
    return [
        "unshare",
        *([] if os.geteuid() == 0 else ["--map-root-user"]),
        *["--mount", "--propagation", "private"],
        *["sh", "-c", script, options, *words],
    ]


@functools.cache
def has_private_shm():
    with contextlib.suppress(OSError):
        done = subprocess.run(with_private_shm(["true"]), capture_output=True)
        return done.returncode == 0
    return False


if __name__ == "__main__":
    sys.exit(f"{__file__}: is imported by programs, is none itself")
