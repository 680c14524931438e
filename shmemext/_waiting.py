# SPDX-License-Identifier: MIT
"""How a task waits for what other processes have.

A task takes what it waits for in the loop, without waiting; a thread only
watches, for a slice of a second, whether it may be had. So a task that is
cancelled has taken nothing, and what it has taken nobody forgets. Of the tasks
of one loop the first in line looks, and the others queue behind it."""

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, Full
from typing import Any, Protocol
from weakref import WeakValueDictionary

_SLICE = 0.064  # seconds, for which a thread watches
_PAUSE = 0.001
_THREADS = 32


class _Awaitable(Protocol):
    def _try(self) -> bool: ...
    def _watch(self, timeout: float | None, /) -> None: ...
    def release(self) -> None: ...


# By what is waited for, and the loop: whoever stands in a line keeps both.
_lines: WeakValueDictionary[tuple[int, int, str], asyncio.Lock]
_lines = WeakValueDictionary()
_threads: ThreadPoolExecutor | None = None


def _forget() -> None:
    """In a forked child: it has none of the threads. Without a GIL one of them
    may have had the dict locked: so it is another one."""
    global _threads, _lines
    _threads = None
    _lines = WeakValueDictionary()


os.register_at_fork(after_in_child=_forget)


def _begin(function: Any, *args: Any) -> Future[Any]:
    """Of threads of our own: the loop's are the program's."""
    global _threads
    if _threads is None:
        _threads = ThreadPoolExecutor(_THREADS, "shmemext")
    return _threads.submit(function, *args)


async def in_thread(function: Any, *args: Any) -> Any:
    return await asyncio.wrap_future(_begin(function, *args))


def line(of: Any, side: str = "") -> asyncio.Lock:
    """That the tasks of this loop stand in who wait for the same. It goes with
    the last of them: it would keep its loop."""
    loop = asyncio.get_running_loop()
    return _lines.setdefault((id(of), id(loop), side), asyncio.Lock())


async def acquire(of: _Awaitable) -> bool:
    queue = line(of)
    if not queue.locked() and of._try():
        return True
    async with queue:
        while not of._try():
            await in_thread(of._watch, _SLICE)
    return True


class _Writer(_Awaitable, Protocol):
    def _claim(self) -> bool: ...
    def _is_drained(self) -> bool: ...
    def _watch_drain(self, timeout: float | None, /) -> None: ...


async def write(of: _Writer) -> bool:
    """The word first, so that no other reader gets in; then those who are in
    are waited for."""
    queue = line(of)
    if not queue.locked() and of._try():
        return True
    async with queue:
        while not of._claim():
            await in_thread(of._watch, _SLICE)
        try:
            while not of._is_drained():
                await in_thread(of._watch_drain, _SLICE)
        except BaseException:
            of.release()
            raise
    return True


async def release(of: _Awaitable) -> None:
    of.release()


async def wait_event(event: Any) -> bool:
    """Until it is set, or was since this began."""
    times = event._times()
    if event.is_set():
        return True
    async with line(event):
        while not event._wait_since(times, 0):
            await in_thread(event._wait_since, times, _SLICE)
    return True


async def enter(handle: Any) -> Any:
    return handle.__enter__()


async def leave(handle: Any) -> None:
    handle.close()


async def get(channel: Any) -> bytes:
    """The next message."""
    pause = _PAUSE
    async with line(channel, "get"):
        while True:
            with suppress(Empty):
                while (data := channel._get_soon()) is None:
                    pause = await _while_somebody_stops(pause)
                return bytes(data)
            await in_thread(channel._watch, _SLICE, None)


async def put(channel: Any, data: Any) -> None:
    pause = _PAUSE
    async with line(channel, "put"):
        while True:
            with suppress(Full):
                while channel._put_soon(data) is False:
                    pause = await _while_somebody_stops(pause)
                return
            await in_thread(channel._watch, _SLICE, data)


async def _while_somebody_stops(pause: float) -> float:
    """A process that is stopped by a debugger or a SIGSTOP may have one of the
    channel's locks. The loop goes on."""
    await asyncio.sleep(pause)
    return min(2 * pause, _SLICE)


async def receive(broadcast: Any) -> Any:
    """The next frame that was not received."""
    async with line(broadcast, "receive"):
        while True:
            with suppress(Empty):
                return broadcast.receive(0)
            await in_thread(broadcast._watch, _SLICE)


async def following(channel: Any) -> bytes:
    """The next one of `async for`."""
    from ._channels import ShutDown

    try:
        return await get(channel)
    except ShutDown:
        raise StopAsyncIteration from None


async def pass_barrier(barrier: Any) -> int:
    """Which one of the parties this is. Who has come stays in its place while
    it waits, so a task that is cancelled has to go back; the loop may be gone
    by the time that the thread is done."""
    index, visit = barrier._stay(0)
    while index is None:
        staying = _begin(barrier._stay, _SLICE, visit)
        try:
            index, visit = await asyncio.wrap_future(staying)
        except BaseException:
            staying.add_done_callback(partial(_go_back, barrier, visit))
            raise
    return int(index)


def _go_back(barrier: Any, visit: int, staying: Future[Any]) -> None:
    if not staying.cancelled():
        if staying.exception() is not None:
            return
        _, visit = staying.result()
    if visit is not None:
        barrier._take_back(visit)


async def to_its_end(function: Any, *args: Any) -> Any:
    """In a thread that looks at what is ours: a task that is cancelled goes on
    when that is done, in a slice at most."""
    task = asyncio.ensure_future(in_thread(function, *args))
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


async def _relock(
    condition: Any, depth: int
) -> tuple[bool | None, BaseException | None]:
    """Whatever happens meanwhile: that is told, and whether it is sound."""
    cancelled = None
    while True:
        taken = condition._retake(depth)
        if taken is not False:
            return taken, cancelled
        try:
            await in_thread(condition.lock._watch, _SLICE)
        except asyncio.CancelledError as error:
            cancelled = error


async def wait(condition: Any) -> bool:
    """Until notified; with the lock before and after, whatever is raised."""
    slot, depth = condition._begin()
    failed: BaseException | None = None
    left = False
    try:
        while True:
            try:
                while failed is None:
                    if await to_its_end(condition._sleep, slot, _SLICE):
                        break
            except (asyncio.CancelledError, Exception) as error:
                failed = error
            taken, cancelled = await _relock(condition, depth)
            failed = failed or cancelled
            fails = failed is not None or taken is None
            notified = condition._leave(slot, fails)
            left = notified is not None
            if failed is not None:
                raise failed
            if taken is None:
                condition._raise_died()
            if notified:
                return True
            condition._let_go()
    finally:
        if not left:
            condition._abandon(slot)
