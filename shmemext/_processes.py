# SPDX-License-Identifier: MIT
"""Who has a segment open: /proc says."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ._ledgers import DIRECTORY, FAMILY_PREFIX


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


_PROC = Path("/proc")

# Where programs import it from, and pickles look for it.
Process.__module__ = "shmemext.lifetime"


@dataclass(frozen=True, slots=True)
class Deleted:
    """Memory without a name, which goes when its last process does."""

    name: str
    """What it was called; # and the inode if that is not known."""
    size: int
    """Bytes, as far as they are mapped."""
    processes: tuple[Process, ...]


@dataclass(slots=True)
class _Use:
    command: str
    mapped: bool = False
    open: bool = False


@dataclass(slots=True)
class _Nameless:
    names: set[str] = field(default_factory=set)
    size: int = 0


class Users:
    """Which processes have which files of the device open: /proc says."""

    def __init__(self, device: int, named: set[int]) -> None:
        # At least so many could not be looked into.
        self.hidden = 0
        self._device = device
        self._named = named
        self._uses: dict[int, dict[int, _Use]] = {}
        self._nameless: dict[int, _Nameless] = {}
        # As the maps have it, between blanks.
        major, minor = os.major(device), os.minor(device)
        self._mark = b" %02x:%02x " % (major, minor)
        listed = []
        with suppress(OSError):
            listed = [one for one in _PROC.iterdir() if one.name.isdecimal()]
        for process in listed:
            self._look_into(process)
        if _hides_some({process.name for process in listed}):
            self.hidden += 1

    def of(self, inode: int) -> tuple[Process, ...]:
        return tuple(
            Process(pid, use.command, use.mapped, use.open)
            for pid, use in sorted(self._uses.get(inode, {}).items())
        )

    def deleted(self, named: set[int], gone: dict[int, str]) -> list[Deleted]:
        """What has no name, but for those inodes. `gone` is what others than
        /proc know of their names."""
        return [
            Deleted(
                min(nameless.names, default=gone.get(inode, f"#{inode}")),
                nameless.size,
                self.of(inode),
            )
            for inode, nameless in sorted(self._nameless.items())
            if inode not in named
        ]

    def _look_into(self, process: Path) -> None:
        try:
            maps = (process / "maps").read_bytes()
            if self._mark in maps:
                self._read_maps(process, maps)
            self._read_descriptors(process)
        except PermissionError:
            self.hidden += _is_program(process)
        except (FileNotFoundError, ProcessLookupError):
            pass

    def _read_maps(self, process: Path, maps: bytes) -> None:
        for line in maps.splitlines():
            if self._mark in line:
                area, _, offset, _, inode, *path = line.split(None, 5)
                start, _, end = area.partition(b"-")
                self._note(
                    process,
                    int(inode),
                    os.fsdecode(path[0]) if path else "",
                    int(offset, 16) + int(end, 16) - int(start, 16),
                ).mapped = True

    def _read_descriptors(self, process: Path) -> None:
        for link in (process / "fd").iterdir():
            with suppress(FileNotFoundError):
                path = str(link.readlink())
                # Others may be on a file system that does not answer.
                if f"{DIRECTORY}/" not in path:
                    continue
                status = link.stat()
                if status.st_dev == self._device:
                    self._note(
                        process, status.st_ino, path, status.st_size
                    ).open = True

    def _note(self, process: Path, inode: int, path: str, size: int) -> _Use:
        if inode not in self._named and path.endswith(" (deleted)"):
            self._note_nameless(inode, path, size)
        uses = self._uses.setdefault(inode, {})
        pid = int(process.name)
        if pid not in uses:
            command = (process / "comm").read_bytes().rstrip(b"\n")
            uses[pid] = _Use(os.fsdecode(command))
        return uses[pid]

    def _note_nameless(self, inode: int, path: str, size: int) -> None:
        folder, _, name = path.removesuffix(" (deleted)").rpartition("/")
        if Path(folder).name.startswith(FAMILY_PREFIX):
            return
        nameless = self._nameless.setdefault(inode, _Nameless())
        nameless.size = max(nameless.size, size)
        # A file that was created without a name is # and its inode for ever
        # to the process that did.
        if not name.startswith("#"):
            nameless.names.add(name)


def _is_program(process: Path) -> bool:
    """A thread of the kernel shows an empty map, and no descriptors."""
    try:
        return (process / "cmdline").read_bytes() != b""
    except PermissionError:  # where /proc is mounted with hidepid=1
        return True
    except OSError:  # it has ended
        return False


def _hides_some(listed: set[str]) -> bool:
    """Does /proc not list all that there are? It does not where there is
    none, or where it is mounted with hidepid=2, which spares us and what is
    our user's: but of each pid namespace the first process is listed to all
    who see everybody."""
    return not {"1", str(os.getpid())} <= listed or (
        os.geteuid() != 0 and _is_mounted_to_hide()
    )


def _is_mounted_to_hide() -> bool:
    """The last that is mounted there counts."""
    options = ""
    with suppress(OSError):
        mounts = (_PROC / "self/mountinfo").read_text(errors="replace")
        for line in mounts.splitlines():
            mount, _, file_system = line.partition(" - ")
            if mount.split(" ")[4] == str(_PROC):
                options = file_system.split(" ")[-1]
    return "hidepid=" in options
