# SPDX-License-Identifier: MIT
"""Who has a segment open: /proc says."""

import os
import re
import stat
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ._ledgers import DIRECTORY, FAMILY_PREFIX, is_of_family

PROC = "/proc"
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
            return os.stat(f"{PROC}/{self.pid}/fd/{number}")  # noqa: PTH116
        except OSError:
            return None

    def is_on(self, number: str, device: int) -> bool:
        """Is a descriptor's file on that one? Asks no file system. Where the
        process does not see it mounted: no."""
        told = f"{PROC}/{self.pid}/fdinfo/{number}"
        with suppress(OSError):
            found = re.search(rb"^mnt_id:\s*(\d+)$", _read(told), re.MULTILINE)
            for mount, _ in mounts(self.pid) if found else []:
                if found and int(mount[0]) == int(found[1]):
                    return device_of(mount) == device
        return False

    def command(self) -> str:
        """Raises if it has ended."""
        return os.fsdecode(_read(f"{PROC}/{self.pid}/comm").rstrip(b"\n"))


def look_into_all(lookers: Iterable[Callable[[Glimpse], None]]) -> int:
    """Shows each of them all processes, by pid. Returns how many, at least,
    could not be looked into."""
    pids: list[int] = []
    hidden, doubtful = 0, False
    with suppress(OSError), os.scandir(PROC) as entries:
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
            is_program = _is_program(pid)
            hidden += is_program is True
            doubtful |= is_program is None
    return hidden + (doubtful or _hides_some(set(pids)))


def _look_into(pid: int) -> tuple[Glimpse, bool]:
    glimpse = Glimpse(pid, _read(f"{PROC}/{pid}/maps"), [])
    folder = f"{PROC}/{pid}/fd"
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


def _is_program(pid: int) -> bool | None:
    """A thread of the kernel shows an empty map, and no descriptors. None:
    nobody can say, as where /proc is mounted with hidepid=1."""
    try:
        return _read(f"{PROC}/{pid}/cmdline") != b""
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return None


def _hides_some(listed: set[int]) -> bool:
    """Does /proc not list all that there are? It does not where there is
    none, or where it is mounted with hidepid=2, which spares us and what is
    our user's: but of each pid namespace the first process is listed to all
    who see everybody."""
    return not {1, os.getpid()} <= listed or (
        os.geteuid() != 0 and _is_mounted_to_hide()
    )


def _is_mounted_to_hide() -> bool:
    """From us, too, who may be of the group that sees all. The last that is
    mounted there counts."""
    options = ""
    for mount, file_system in mounts():
        if mount[4] == PROC:
            options = file_system[-1]
    group = re.search(r"\bgid=(\d+)", options)
    return "hidepid=" in options and (int(group[1]) if group else 0) not in (
        os.getegid(),
        *os.getgroups(),
    )


def mounts(pid: int | str = "self") -> list[tuple[list[str], list[str]]]:
    """As they are in proc_pid_mountinfo(5), before and after the dash."""
    try:
        text = os.fsdecode(_read(f"{PROC}/{pid}/mountinfo"))
    except OSError:
        return []
    halves = [line.partition(" - ") for line in text.rstrip("\n").split("\n")]
    return [
        (mount.split(" "), file_system.split(" "))
        for mount, dash, file_system in halves
        if dash
    ]


def device_of(mount: list[str]) -> int:
    major, _, minor = mount[2].partition(":")
    return os.makedev(int(major), int(minor))


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
        rb"^(?P<start>[\da-f]+)-(?P<end>[\da-f]+) %b (?P<offset>[\da-f]+) "
        rb"(?P<device>%b) (?P<inode>\d+) *(?P<path>%b)$"
        % (flags, device, path),
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
    semaphores of multiprocessing's locks and queues, which lose their name at
    once where its start method is fork, are left out: what is a page at most,
    is called as these are, and is open by no descriptor."""

    name: str
    """What it was called; # and the inode if that is not known."""
    size: int
    """Bytes, as far as they are mapped."""
    processes: tuple[Process, ...]


@dataclass(slots=True)
class _Nameless:
    names: set[str] = field(default_factory=set)
    size: int = 0
    is_ours: bool = False


# What sem_open(3) calls a semaphore while it makes it, and its maker's map
# for ever: in glibc, in older ones, in musl. And those of multiprocessing to
# who opens them.
_SEMAPHORE = re.compile(r"sem\..+|[A-Za-z0-9]{6}|tmp-\d+|mp-\w{8}", re.DOTALL)
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Users:
    """Which processes have which files of the device open."""

    def __init__(self, device: int, named: set[int]) -> None:
        # What has no name, as far as `named` goes.
        self.nameless: dict[int, _Nameless] = {}
        self._device = device
        self._named = named
        self._folder = f"{DIRECTORY}/"
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
            and not (_is_semaphore(nameless, processes) and inode not in gone)
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
            if not path.startswith(self._folder) and not (
                self._folder in path and glimpse.is_on(number, self._device)
            ):
                continue
            status = glimpse.status(number)
            if (
                status is not None
                and status.st_dev == self._device
                and stat.S_ISREG(status.st_mode)
            ):
                opened.add(status.st_ino)
                if status.st_ino not in self._named:
                    self._note(status.st_ino, path, status.st_size)
        self._holders.note(glimpse, mapped, opened)

    def _note(self, inode: int, path: str, size: int) -> None:
        if not path.endswith(DELETED):
            return
        folder, _, name = path.removesuffix(DELETED).rpartition("/")
        in_family = folder.rpartition("/")[2].startswith(FAMILY_PREFIX)
        if in_family and is_of_family(name):
            return
        nameless = self.nameless.setdefault(inode, _Nameless())
        nameless.size = max(nameless.size, size)
        # To the process that created it, it is for ever what it was before it
        # was given its name: # and its inode, or a draft in a family.
        if in_family or name.startswith("#"):
            nameless.is_ours = True
        else:
            nameless.names.add(name)


def _is_semaphore(nameless: _Nameless, processes: tuple[Process, ...]) -> bool:
    """Of a kind that nobody means to see: as far as one can tell, from its
    name, its size and that nobody has a descriptor of it."""
    return (
        nameless.size <= _PAGE
        and not nameless.is_ours
        and all(map(_SEMAPHORE.fullmatch, nameless.names))
        and not any(process.open for process in processes)
    )
