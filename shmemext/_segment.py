# SPDX-License-Identifier: MIT
"""A name in /dev/shm: what is told of it, and what kind of name it is."""

from dataclasses import dataclass
from typing import Literal

from ._ledgers import Family
from ._processes import Process

Kind = Literal[
    "family",
    "users",
    "pool",
    "queue",
    "untracked",
    "stdlib",
    "semaphore",
    "unknown",
]

# What names begin with of pools, and of queues that were given none.
POOL = "shmemext-pool."
_OURS: tuple[tuple[str, Kind], ...] = (
    (POOL, "pool"),
    ("shmemext-queue.", "queue"),
)

# What names begin with that no family owns, of how many bytes they are, if
# that matters, and what they are then.
_KINDS: tuple[tuple[str, tuple[int, ...], Kind], ...] = (
    ("sem.", (), "semaphore"),
    # multiprocessing's, where musl puts nothing before it: four long numbers.
    ("mp-", (16, 32), "semaphore"),
    ("psm_", (), "stdlib"),
)


def kind_of(
    name: str,
    size: int,
    family: Family | None,
    *,
    users: bool,
    unreadable: bool,
) -> Kind:
    """Of a name that this family owns, or nobody: `unreadable` says that
    there are ledgers of its user that may say otherwise."""
    if family is not None:
        for prefix, kind in _OURS:
            if name.startswith(prefix):
                return kind
        return "users" if users else "family"
    kind = "untracked"
    for prefix, sizes, one in _KINDS:
        if name.startswith(prefix) and (not sizes or size in sizes):
            kind = one
    # Nothing that a ledger has is a semaphore.
    return "unknown" if unreadable and kind != "semaphore" else kind


@dataclass(frozen=True, slots=True)
class Segment:
    """A name in /dev/shm, as it was when it was looked at."""

    name: str
    """Without a slash; undecodable bytes as os.fsdecode() has them."""
    size: int
    """Bytes."""
    held: int
    """Bytes of memory and swap that its pages really take."""
    mode: int
    """Permission bits, the sticky bit left out: it makes kind "users"."""
    uid: int
    owner: str
    """Whose it is: the user's name, or the uid where it has none."""
    inode: int
    changed: float
    """Unix time of its creation, or of a later resize, chmod or chown: what
    is written to the memory does not count."""
    age: float
    """Seconds from then until it was looked at."""
    kind: Kind
    """What it is, and who removes it.

    family: its family does. users: the last process that uses it does, its
    family where that one was killed. pool: who lets go of the last array in
    it, where its owner is dead, and its family at the latest. queue: as
    users, of a Queue without a name. untracked: somebody has to call unlink(),
    or a tracker of the stdlib does. stdlib: the same, under a name that
    multiprocessing makes up. semaphore: it is one, of sem_open(3). unknown:
    another user's, and so are the ledgers that would say."""
    family: Family | None
    """Who owns it, where kind is one of the first four."""
    processes: tuple[Process, ...]
    """Who has it open, by pid: the processes that we may look into, in this
    pid namespace."""


# Where programs import it from, and pickles look for it.
Segment.__module__ = "shmemext.lifetime"
