# SPDX-License-Identifier: MIT
"""Large arrays travel by reference wherever multiprocessing sends them to a
process of this machine: Pool, ProcessPoolExecutor, Queue, Pipe, managers,
arguments of processes.

    import shmemext.handoff

    shmemext.handoff.enable()

Only the sender needs it. What is received is what was sent, and belongs to
the receiver alone, as if it had been pickled; it can be written, unless it
could not be where it came from. Whatever does not go by reference is pickled
as ever."""

from operator import index

from . import _hooks, _pickles, _pools, _stock

__all__ = ["disable", "enable", "stats"]


def enable(
    min_size: int = _pickles.MIN_SIZE, limit: int | None = None
) -> None:
    """From now on what this process sends goes by reference: buffers of
    min_size bytes and more, in what pickles of protocol 5 keep beside them:
    arrays, data frames, tables, pickle.PickleBuffer.

    Before a Pool or an executor is made is the time to call it: in this
    process for what it sends, in the module that its workers import for what
    they do. A second call does nothing, but for what is new in the arguments.
    See disable().

    min_size: bytes, of the least that do
    limit: bytes of /dev/shm that they may take on their way, where nothing
        was sent yet: beyond it, and wherever else there is no room, they are
        pickled as ever; None: half of what is free

    ValueError: min_size or limit is below 0."""
    min_size = index(min_size)
    if min_size < 0:
        raise ValueError(f"min_size is {min_size}: bytes, 0 or more")
    if limit is not None:
        limit = index(limit)
        if limit < 0:
            raise ValueError(f"limit is {limit}: bytes, 0 or more")
    _pools.configure(limit)
    _hooks.begin(_hooks.HANDOFF)
    _pickles.Sending.least = max(min_size, 1)


def disable() -> None:
    """Put everything in multiprocessing back. What was sent can be received
    all the same. Does nothing without an enable()."""
    _pickles.Sending.least = _pickles.NEVER
    _hooks.end(_hooks.HANDOFF)


def stats() -> dict[str, int]:
    """What travels, as this process sees it.

    In bytes: size, that its own pool may take; used, and idle, which is kept
    for what comes next; stock, which dumps() keeps. How many: blocks of
    memory; of them in_flight, sent and not received yet, held by anybody,
    pinned for children that are not known; kept by dumps(); places of
    processes that hold any; pools that are known; and refused, how often
    there was no room."""
    return {**_pools.stats(), "stock": _stock.size()}
