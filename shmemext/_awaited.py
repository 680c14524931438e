# SPDX-License-Identifier: MIT
"""Waiting for several things at a time."""

from collections.abc import Iterable
from itertools import compress
from selectors import EVENT_READ, PollSelector
from typing import Any, TypeVar

from . import _shmemext

_T = TypeVar("_T")


def wait(things: Iterable[_T], timeout: float | None = None) -> list[_T]:
    """Wait until any of these is ready; return those that are, in their order.

    A Channel is ready while get() would find a message, or learn that there
    are no more; a Broadcast while it has a frame that this object has not
    received; an Event while it is set, and also if it was since wait() began.
    Beside them may be whatever multiprocessing.connection.wait() takes: a
    process's sentinel, a Connection, a socket, a descriptor.

    Nothing is taken: others may be faster. [] if none was ready in time. If
    nothing of ours is there multiprocessing.connection.wait() does it all.

    things: any number of these
    timeout: seconds, 0 or less: at once; None: for ever

    ValueError: one is closed, or is nothing that can be waited for.
    TypeError: one is of ours, and none of these: a Lock. KeyError: a
    descriptor is there twice."""
    if hasattr(type(things), "_awaited"):  # or a Channel gave its messages
        raise TypeError(f"a list of things, not one {type(things).__name__!r}")
    all = tuple(things)
    begins = [getattr(type(one), "_awaited", None) for one in all]
    for one, begin in zip(all, begins, strict=True):
        if begin is None and _is_of_ours(one):
            raise TypeError(
                f"a {type(one).__name__} cannot be waited for beside others: "
                "a Channel, a Broadcast and an Event can, and what "
                "multiprocessing.connection.wait() takes"
            )
    if not any(begins):
        from multiprocessing import connection

        return connection.wait(all, timeout)  # type: ignore[arg-type,return-value]
    # Not by a comprehension that uses these: CPython 3.11 does not let go of
    # what a function was given that gets no memory for what it shares with an
    # inner one, nor of what a list is to hold that gets none.
    return [*map(all.__getitem__, sorted(_wait(all, begins, timeout)))]


def _is_of_ours(one: Any) -> bool:
    """And no file, which a SharedMemory is."""
    modules = [base.__module__ for base in type(one).__mro__]
    packages = [module.partition(".")[0] for module in modules]
    return __package__ in packages and not hasattr(type(one), "fileno")


def _wait(
    all: tuple[Any, ...], begins: list[Any], timeout: float | None
) -> set[int]:
    """Which of them are ready, by their places."""
    ours, awaited = [], []
    with PollSelector() as selector:
        for at, (one, begin) in enumerate(zip(all, begins, strict=True)):
            if begin is None:
                selector.register(one, EVENT_READ, at)
            else:
                ours.append(at)
                awaited.append(begin(one))
        fds = tuple([key.fd for key in selector.get_map().values()])
        there = _shmemext._await_any(tuple(awaited), fds, timeout)
        ready = {*compress(ours, there)}
        if len(ours) != len(all):
            ready |= {key.data for key, _ in selector.select(0)}
    return ready
