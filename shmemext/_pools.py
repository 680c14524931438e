# SPDX-License-Identifier: MIT
"""The pools that arrays travel through: which there are in this process.

    shmemext-pool.<pair>          who holds which block, and what is in flight
    shmemext-pool.<pair>.data     the blocks: as much as is in use

Each process that sends has one of its own, made when it first sends, and
attaches those of others when it first receives from them. A forked child has
none of its own: its parent's is another's pool there. One whose owner is dead
goes, with both names, when nobody has anything of it: whoever lets go of the
last block sees to that, or attaches another one, or makes one. What nobody
sees to goes with the family.

Nothing here is locked, so a fork finds it in order, and so does whatever runs
in the middle of it: threads that make a pool, or attach one, at the same time
do so once each, at worst.
"""

import atexit
import errno
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from . import _shmemext
from ._shmemext import Lease, SharedMemory, _Pool

if TYPE_CHECKING:
    from typing_extensions import Buffer

PREFIX = "shmemext-pool."
READONLY, SHARED, KEPT = 1, 2, 4

#: pair, block, generation, offset and length in bytes, flags
Reference = tuple[int, int, int, int, int, int]

_PAGE = 4096
_BLOCKS = 4096
_LEAST = 1 << 16  # bytes: a smaller pool is none
_MOST = 1 << 45
_PAUSE = 1.0  # seconds, after a pool could not be made

_limit: int | None = None
_own: _Pool | None = None
_pools: dict[int, _Pool] = {}
_known: tuple[_Pool, ...] = ()  # the same, to look through
_stock: dict[Reference, list[Lease]] = {}
_refused = 0
_not_before = 0.0  # is another pool made


def configure(limit: int | None) -> None:
    """How many bytes a pool of our own may take, if it is not made yet. None:
    half of what is free in /dev/shm then."""
    global _limit, _not_before
    _limit = limit
    _not_before = 0.0


def refer(buffer: "Buffer", *, kept: bool = False) -> Reference | None:
    """A reference to these bytes, which are C-contiguous: to where they lie,
    if that is shared, else to a copy in our own pool, which whoever receives
    it has alone.

    It is in flight until it is received, once, or withdrawn. kept: it can be
    received any number of times, until it is withdrawn, or we end. None: there
    is no room, or no pool."""
    global _refused
    try:
        reference = _shmemext._pool_share(_known, buffer)
        if reference is None:
            pool = _our_own()
            lease = None if pool is None else pool.store(buffer)
            if lease is None:
                _refused += 1
                return None
            reference = lease.send()
        return _keep(reference) if kept else reference
    except (OSError, MemoryError):
        _refused += 1
        return None


def keeping(reference: Reference) -> Reference:
    """The same, which receive() leaves where it is: for others to receive,
    until the one that is in flight is withdrawn."""
    return (*reference[:5], reference[5] | KEPT)


def _keep(reference: Reference) -> Reference:
    """Out of flight, into our hands."""
    try:
        lease = _pool_of(reference[0]).receive(reference, False)
    except BaseException:
        withdraw((reference,))
        raise
    if not isinstance(lease, Lease):
        raise MemoryError("there is no place for who would hold it")
    kept = keeping(reference)
    _stock.setdefault(kept, []).append(lease)
    return kept


def withdraw(references: Iterable[Reference]) -> None:
    """They are not to be received any more: they were not sent after all, or
    are done with."""
    for reference in references:
        if reference[5] & KEPT:
            leases = _stock.pop(reference, [])
            if len(leases) > 1:
                _stock.setdefault(reference, []).extend(leases[1:])
        else:
            with suppress(Exception):
                _pool_of(reference[0]).withdraw(reference)


def receive(
    reference: Reference, *, private: bool = False
) -> Lease | bytes | bytearray:
    """The bytes, which can be written unless they were sent from what could
    not. private: what is written there nobody else sees, unless it is shared.

    LookupError: they were received before, or were kept by a process that has
    ended. OSError: the pool is not to be had, or damaged."""
    return _pool_of(reference[0]).receive(reference, private)


def make(size: int) -> Lease | None:
    """So many bytes, which may be anything, in our own pool: what refers to
    them shares them. None: there is no room, or no pool."""
    global _refused
    lease = None
    with suppress(OSError, MemoryError):
        pool = _our_own()
        if pool is not None:
            lease = pool.make(size)
    _refused += lease is None
    return lease


def is_shared(buffer: "Buffer") -> bool:
    """Does it lie in what make() made, here or where it came from?"""
    return _shmemext._pool_is_shared(_known, buffer)


def stats() -> dict[str, int]:
    """Of our own pool, bytes: size, used, idle; counts: blocks, of them
    in_flight, held, pinned, kept; places of processes that hold any. refused:
    how often there was no room. pools: how many are known."""
    totals = dict.fromkeys(_KEYS, 0)
    for pool in _known:
        if pool.own:
            for key, value in pool.look().items():
                totals[key] += value
    kept = sum([len(leases) for leases in _stock.copy().values()])
    return {
        **totals,
        "kept": kept,
        "refused": _refused,
        "pools": len(_known),
    }


_KEYS = (
    "size",
    "used",
    "idle",
    "blocks",
    "in_flight",
    "held",
    "places",
    "pinned",
)


# Our own


def _our_own() -> _Pool | None:
    global _own, _not_before
    pool = _own
    if pool is not None and pool.own:
        return pool
    if time.monotonic() < _not_before:
        return None
    _look_around()
    pool = _create()
    if pool is None:
        _not_before = time.monotonic() + _PAUSE
        return None
    _refresh()
    _own = pool
    return pool


def _create() -> _Pool | None:
    """As large as it may be, and can be mapped: see RLIMIT_AS, RLIMIT_FSIZE in
    getrlimit(2)."""
    limit = _room() // 2 if _limit is None else _limit
    limit = min(limit, _MOST, _address_space() // 8)
    while limit >= _LEAST:
        try:
            return _create_of(limit // _PAGE * _PAGE)
        except MemoryError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOMEM, errno.EFBIG):
                return None
        except Exception:  # an audit hook's, or at the interpreter's end
            return None
        limit //= 2
    return None


def _room() -> int:
    """Bytes that are free in /dev/shm."""
    try:
        status = os.statvfs(_shmemext.DIRECTORY)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def _address_space() -> int:
    """Bytes of it that a process may have. Others need theirs, too."""
    with suppress(ImportError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            return soft
    return sys.maxsize


def _create_of(size: int) -> _Pool:
    pair = int.from_bytes(os.urandom(8), sys.byteorder)
    blocks = min(_BLOCKS, size // _PAGE)
    name, control_size = _name(pair), _Pool.size_of(size, blocks)
    data = SharedMemory(_data(name), create=True, size=size, reserve=False)
    try:
        control = SharedMemory(
            name, create=True, size=control_size, reserve=True
        )
        try:
            pool = _pools[pair] = _Pool(control, data, pair, blocks)
            return pool
        except BaseException:
            _remove(control)
            raise
    except BaseException:
        _remove(data)
        raise


def _remove(memory: SharedMemory) -> None:
    memory.unlink(missing_ok=True)
    memory.close()


def _name(pair: int) -> str:
    return f"{PREFIX}{pair:016x}"


def _data(name: str) -> str:
    return f"{name}.data"


# Others'


def _pool_of(pair: int) -> _Pool:
    for pool in _known:
        if pool.pair == pair:
            return pool
    return _attach(pair)


def _attach(pair: int) -> _Pool:
    _forget()
    name = _name(pair)
    try:
        control, data = SharedMemory(name), _attach_data(_data(name))
    except FileNotFoundError:
        raise LookupError(
            f"{name} is gone: what was sent through it was received before, "
            "or was kept by a process that has ended"
        ) from None
    pool = _pools.setdefault(pair, _Pool(control, data, pair, 0))
    _refresh()
    return pool


def _attach_data(name: str) -> SharedMemory | None:
    try:
        try:
            return SharedMemory(name)
        except PermissionError:
            return SharedMemory(name, readonly=True)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return None  # there is no address space for all of it


def _forget() -> None:
    """Those of the dead, that nobody has anything of any more."""
    global _own
    for pool in _known:
        if not pool.own and pool.is_abandoned():
            with suppress(Exception):
                pool.unlink()
            if pool.leases == 0:
                _pools.pop(pool.pair, None)
                if pool is _own:
                    _own = None
    _refresh()


def _look_around() -> None:
    """Those of the dead that nobody who lives has attached: who received from
    them died as well. Where each who sends looks once, they do not add up."""
    with suppress(OSError), os.scandir(_shmemext.DIRECTORY) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with suppress(Exception):
                    _look_at(entry.name)


def _look_at(name: str) -> None:
    pair = int(name[len(PREFIX) :], 16)  # ValueError: of blocks, no pool's
    if pair in _pools:
        return
    with SharedMemory(name) as control, SharedMemory(_data(name)) as data:
        pool = _Pool(control, data, pair, 0)
        if pool.is_abandoned():
            pool.unlink()


def _refresh() -> None:
    """Whoever else does the same at the same time looks again as well: so the
    last one to write has seen all."""
    global _known
    while True:
        pools = tuple(_pools.copy().values())
        if pools == _known:
            return
        _known = pools


# Forks, and the end


def _begin_child() -> None:
    """Of a fork. Another thread may have left any dict locked for ever, where
    there is no GIL: so they are made anew, and not looked at. What its parent
    keeps is its parent's."""
    global _own, _pools, _stock, _not_before
    _own = None
    _not_before = 0.0
    _pools = {pool.pair: pool for pool in _known}
    _stock = {}


def leave() -> None:
    """At the end of this process: the names of its pool go, if nobody else has
    anything of it."""
    global _own
    _refresh()  # there was no memory, maybe
    for pool in _known:
        if pool.own and pool.is_abandoned():
            _own = None
            with suppress(Exception):
                pool.unlink()
    _forget()


os.register_at_fork(after_in_child=_begin_child)
atexit.register(leave)
