# SPDX-License-Identifier: MIT
"""Who has a segment open: /proc says."""

import os
import re
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ._ledgers import DIRECTORY, FAMILY_PREFIX

_PROC = "/proc"
DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that has a segment open."""

    pid: int
    command: str
    """At most 15 characters, as in ps -o comm."""
    mapped: bool
    """In its memory."""
    open: bool
    """By a descriptor."""


# Where programs import it from, and pickles look for it.
Process.__module__ = "shmemext.lifetime"


# Every process


@dataclass(slots=True)
class Glimpse:
    """What /proc says of a process."""

    pid: int
    maps: bytes
    """A line for each mapping, as in proc_pid_maps(5)."""
    links: list[tuple[str, str]]
    """The number of each descriptor, and what it is of."""

    def status(self, number: str) -> os.stat_result | None:
        """Of a descriptor's file, which must not be on a file system that may
        not answer. None: it has been closed."""
        try:
            return os.stat(f"{_PROC}/{self.pid}/fd/{number}")  # noqa: PTH116
        except OSError:
            return None

    def command(self) -> str:
        """Raises if it has ended."""
        return os.fsdecode(_read(f"{_PROC}/{self.pid}/comm").rstrip(b"\n"))


def look_into_all(lookers: Iterable[Callable[[Glimpse], None]]) -> int:
    """Shows each of them all processes, by pid. Returns how many, at least,
    could not be looked into."""
    pids: list[int] = []
    hidden = 0
    with suppress(OSError), os.scandir(_PROC) as entries:
        pids = sorted(int(one.name) for one in entries if one.name.isdecimal())
    for pid in pids:
        try:
            glimpse, is_whole = _look_into(pid)
            hidden += not is_whole
            for look in lookers:
                look(glimpse)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            pass
        except OSError:
            hidden += _is_program(pid)
    return hidden + _hides_some(set(pids))


def _look_into(pid: int) -> tuple[Glimpse, bool]:
    glimpse = Glimpse(pid, _read(f"{_PROC}/{pid}/maps"), [])
    folder = f"{_PROC}/{pid}/fd"
    try:
        # Names only, and strings: there are processes with many.
        for number in os.listdir(folder):  # noqa: PTH208
            with suppress(FileNotFoundError):
                link = os.readlink(f"{folder}/{number}")  # noqa: PTH115
                glimpse.links.append((number, link))
    except PermissionError:
        if glimpse.maps:
            return glimpse, False
        raise
    return glimpse, True


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def _is_program(pid: int) -> bool:
    """A thread of the kernel shows an empty map, and no descriptors."""
    try:
        return _read(f"{_PROC}/{pid}/cmdline") != b""
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:  # where /proc is mounted with hidepid=1
        return True


def _hides_some(listed: set[int]) -> bool:
    """Does /proc not list all that there are? It does not where there is
    none, or where it is mounted with hidepid=2, which spares us and what is
    our user's: but of each pid namespace the first process is listed to all
    who see everybody."""
    return not {1, os.getpid()} <= listed or (
        os.geteuid() != 0 and _is_mounted_to_hide()
    )


def _is_mounted_to_hide() -> bool:
    """The last that is mounted there counts."""
    options = ""
    with suppress(OSError):
        mounts = os.fsdecode(_read(f"{_PROC}/self/mountinfo"))
        for line in mounts.splitlines():
            mount, _, file_system = line.partition(" - ")
            if mount.split(" ")[4] == _PROC:
                options = file_system.split(" ")[-1]
    return "hidepid=" in options


# Who has what

_Key = TypeVar("_Key", bound=Hashable)


class Holders(Generic[_Key]):
    """Which processes have which files."""

    def __init__(self) -> None:
        self._processes: dict[_Key, list[Process]] = {}

    def note(
        self, glimpse: Glimpse, mapped: set[_Key], opened: set[_Key]
    ) -> None:
        if not mapped and not opened:
            return
        command = glimpse.command()
        for files, is_mapped, is_open in (
            (mapped - opened, True, False),
            (opened - mapped, False, True),
            (mapped & opened, True, True),
        ):
            process = Process(glimpse.pid, command, is_mapped, is_open)
            for file in files:
                self._processes.setdefault(file, []).append(process)

    def of(self, file: _Key) -> tuple[Process, ...]:
        return tuple(self._processes.get(file, ()))


def lines_of(device: bytes, flags: bytes, path: bytes) -> re.Pattern[bytes]:
    """The lines of a map that are of such a device, have such flags and such
    a path: groups start, end, offset, device, inode and path."""
    return re.compile(
        rb"^(?P<start>\w+)-(?P<end>\w+) %b (?P<offset>\w+) (?P<device>%b) "
        rb"(?P<inode>\d+) *(?P<path>%b)$" % (flags, device, path),
        re.MULTILINE,
    )


def path_in(line: re.Match[bytes]) -> str:
    """The kernel writes a newline as four characters, and nothing else."""
    return os.fsdecode(line["path"].replace(rb"\012", b"\n"))


def reach_of(line: re.Match[bytes]) -> int:
    """Up to which byte of the file it is mapped."""
    start, end = int(line["start"], 16), int(line["end"], 16)
    return int(line["offset"], 16) + end - start


# What has no name


@dataclass(frozen=True, slots=True)
class Deleted:
    """Memory without a name, which goes when its last process does. The
    semaphores that multiprocessing makes, which lose their name at once, are
    left out."""

    name: str
    """What it was called; # and the inode if that is not known."""
    size: int
    """Bytes, as far as they are mapped."""
    processes: tuple[Process, ...]


@dataclass(slots=True)
class _Nameless:
    names: set[str] = field(default_factory=set)
    size: int = 0


# What sem_open(3) calls a semaphore that is in the making; multiprocessing
# takes the name of its own away at once. In glibc, before 2.35, in musl.
_SEMAPHORE = re.compile(r"sem\..+|[A-Za-z0-9]{6}|tmp-\d+", re.DOTALL)
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Users:
    """Which processes have which files of the device open."""

    def __init__(self, device: int, named: set[int]) -> None:
        # What has no name, as far as `named` goes.
        self.nameless: dict[int, _Nameless] = {}
        self._device = device
        self._named = named
        self._holders = Holders[int]()
        major, minor = os.major(device), os.minor(device)
        self._mark = b" %02x:%02x " % (major, minor)
        self._line = lines_of(self._mark.strip(), rb"\S+", rb".*")

    def of(self, inode: int) -> tuple[Process, ...]:
        return self._holders.of(inode)

    def deleted(self, named: set[int], gone: dict[int, str]) -> list[Deleted]:
        """What has no name, but for those inodes. `gone` is what others than
        /proc know of their names."""
        return [
            Deleted(
                min(nameless.names, default=gone.get(inode, f"#{inode}")),
                nameless.size,
                processes,
            )
            for inode, nameless in sorted(self.nameless.items())
            if inode not in named
            and (processes := self.of(inode))
            and (inode in gone or not _is_semaphore(nameless, processes))
        ]

    def look(self, glimpse: Glimpse) -> None:
        mapped = set()
        if self._mark in glimpse.maps:
            for line in self._line.finditer(glimpse.maps):
                inode = int(line["inode"])
                mapped.add(inode)
                if inode not in self._named:
                    self._note(inode, path_in(line), reach_of(line))
        opened = set()
        for number, path in glimpse.links:
            # Others may be on a file system that does not answer.
            if f"{DIRECTORY}/" not in path:
                continue
            status = glimpse.status(number)
            if status is not None and status.st_dev == self._device:
                opened.add(status.st_ino)
                if status.st_ino not in self._named:
                    self._note(status.st_ino, path, status.st_size)
        self._holders.note(glimpse, mapped, opened)

    def _note(self, inode: int, path: str, size: int) -> None:
        if not path.endswith(DELETED):
            return
        folder, _, name = path.removesuffix(DELETED).rpartition("/")
        if folder.rpartition("/")[2].startswith(FAMILY_PREFIX):
            return
        nameless = self.nameless.setdefault(inode, _Nameless())
        nameless.size = max(nameless.size, size)
        # A file that was created without a name is # and its inode for ever
        # to the process that did.
        if not name.startswith("#"):
            nameless.names.add(name)


def _is_semaphore(nameless: _Nameless, processes: tuple[Process, ...]) -> bool:
    """Of a kind that nobody means to see: as far as one can tell, from its
    name, its size and that nobody has a descriptor of it."""
    return (
        nameless.size <= _PAGE
        and len(nameless.names) == 1
        and _SEMAPHORE.fullmatch(min(nameless.names)) is not None
        and not any(process.open for process in processes)
    )
