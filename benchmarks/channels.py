# SPDX-License-Identifier: MIT
"""Messages between processes, against what others send them through.

flows         writers and readers in processes of their own go as fast as they
              can: from the first put to the last get, by the messages
round trips   two processes, each on a core of its own or both on one, answer
              each other
frames        one process writes them, two see each of them and say so

Each reader compares what it got. Times are a message's, and the ratios are to
ours: how many times as long the others take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from statistics import median
from time import perf_counter, sleep
from typing import Any, NamedTuple

import peers
from bench import PATIENCE, Bench, asking
from machine import places
from peers.messages import CONTEXT, READERS
from side import Lost, Sides
from table import OURS, Row

SMALL, LARGE = 64, 4096  # bytes
FRAME = 1920 * 1080 * 3
QUICKLY = 20  # a quick run has so many times fewer messages
QUICK = (OURS, "mp.Queue")  # and these sides
OFTENER = 10  # ours sends so many times as many: it takes milliseconds else
TRIPS = 2000
BATCH = 100
PAUSE = 0.002  # seconds, in which who waits falls asleep
FRAMES = 5
ANYWHERE = os.sched_getaffinity(0)


class Flow(NamedTuple):
    """So many messages of so many bytes; and how many times as long as ours
    each of the others is to take, at least, or less than that."""

    size: int
    writers: int
    readers: int
    messages: int
    many: bool
    reach: dict[str, float]


FLOWS = {
    "64 bytes, one to one": Flow(
        *(SMALL, 1, 1, 60_000, False),
        {"mp.Queue": 18, "faster-fifo": 12, "posix_ipc": 8},
    ),
    "64 bytes, four to four": Flow(
        *(SMALL, 4, 4, 60_000, False), {"mp.Queue": 14, "posix_ipc": 6}
    ),
    "64 bytes, one to one, put_many, get_many": Flow(
        *(SMALL, 1, 1, 200_000, True), {"faster-fifo": 25}
    ),
    "4 KiB, one to one": Flow(*(LARGE, 1, 1, 30_000, False), {"mp.Queue": 6}),
}
ROUND_TRIP = {"mp.Pipe": 1 / 0.9, "posix_ipc": 1 / 1.2}
ROUND_TRIPS: tuple[tuple[str, bool, float, dict[str, float]], ...] = (
    ("a core each", True, 0, ROUND_TRIP),
    ("one core", False, 0, ROUND_TRIP),
    ("the other asleep", True, PAUSE, {}),
)
TWO_READERS = {"mp.Pipe": 10.0}


# --- in the workers ---------------------------------------------------------


def put_each(queue: Any, size: int, count: int) -> None:
    put, message = queue.put, b"x" * size
    for _ in range(count):
        put(message)


def get_each(queue: Any, size: int, count: int) -> None:
    get, message = queue.get, b"x" * size
    for _ in range(count):
        if get() != message:
            raise Lost("another message")


def put_many(queue: Any, size: int, count: int) -> None:
    put, batch = queue.put_many, [b"x" * size] * BATCH
    for _ in range(count // BATCH):
        put(batch)


def get_many(queue: Any, size: int, count: int) -> None:
    get, message = queue.get_many, b"x" * size
    while count > 0:
        for got in (batch := get()):
            if got != message:
                raise Lost("another message")
        count -= len(batch)


def echo(queues: tuple[Any, Any], size: int, count: int) -> None:
    get, put = queues[1].get, queues[0].put
    for _ in range(count):
        put(get())


def see(reader: Any, size: int, count: int) -> int:
    """The sum of the last one's pages."""
    for _ in range(count):
        seen: int = reader.seen()
    return seen


Role = Callable[[Any, int, int], Any]


def serve(
    role: Role, queue: Any, size: int, orders: Any, cpus: set[int] | None
) -> None:
    """Plays the role as often as it is told, and says from when to when and
    what came out, or what went wrong."""
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    for count in iter(orders.recv, None):
        begin = perf_counter()
        try:
            result = role(queue, size, count)
            answer: Any = (begin, perf_counter(), result)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        orders.send(answer)


# --- in the sides -----------------------------------------------------------


class Worker:
    def __init__(
        self, role: Role, queue: Any, size: int, cpus: set[int] | None = None
    ) -> None:
        self.orders, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(
            target=serve, args=(role, queue, size, theirs, cpus), daemon=True
        )
        self.process.start()
        theirs.close()

    def order(self, count: int) -> None:
        self.orders.send(count)

    def answer(self) -> tuple[float, float, Any]:
        if not self.orders.poll(PATIENCE):
            raise TimeoutError("a worker does not answer")
        answer = self.orders.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        begin, end, result = answer
        return begin, end, result

    def close(self) -> None:
        with suppress(OSError):
            self.orders.send(None)
        self.process.join(1)
        self.process.kill()
        self.process.join()


class Group:
    """Who works on one kind of work. They go before those of the next come."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.closed: list[Callable[[], None]] = []

    def add(self, *worker: Any) -> None:
        self.workers.append(Worker(*worker))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for close in self.closed:
            close()


def group_of(
    state: dict[str, Any], work: str, make: Callable[[Group], None]
) -> Group:
    if state.get("work") != work:
        if "work" in state:
            state["close"].pop()()
        os.sched_setaffinity(0, ANYWHERE)
        group = Group()
        state["work"], state["group"] = work, group
        state["close"].append(group.close)
        make(group)
    made: Group = state["group"]
    return made


def flow(peer: Any, state: dict[str, Any], of: str, share: int) -> float:
    """Microseconds of a message."""
    how = FLOWS[of]
    count = how.messages // share * (OFTENER if peer.name == OURS else 1)

    def make(group: Group) -> None:
        queue = peer.queue()
        group.closed.append(queue.close)
        write, read = (
            (put_many, get_many) if how.many else (put_each, get_each)
        )
        for _ in range(how.writers):
            group.add(write, queue, how.size)
        for _ in range(how.readers):
            group.add(read, queue, how.size)

    workers = group_of(state, of, make).workers
    writers, readers = workers[: how.writers], workers[how.writers :]
    for worker in readers:
        worker.order(count // how.readers)
    for worker in writers:
        worker.order(count // how.writers)
    begin = min(worker.answer()[0] for worker in writers)
    end = max(worker.answer()[1] for worker in readers)
    return (end - begin) / count * 1e6


def round_trip(
    peer: Any, state: dict[str, Any], trips: int, apart: bool, pause: float
) -> float:
    """Microseconds of one: the median, since a busy machine stops some of
    them for long."""

    def make(group: Group) -> None:
        queues = peer.queue(), peer.queue()
        group.closed += [queue.close for queue in queues]
        group.add(echo, queues, SMALL, places()[apart])
        state["queues"] = queues
        os.sched_setaffinity(0, places()[0])

    worker = group_of(state, f"round trip {apart} {pause}", make).workers[0]
    put, get = state["queues"][1].put, state["queues"][0].get
    message = b"x" * SMALL
    worker.order(trips)
    took = []
    for _ in range(trips):
        if pause:
            sleep(pause)
        begin = perf_counter()
        put(message)
        answer = get()
        took.append(perf_counter() - begin)
        if answer != message:
            raise Lost("another message")
    worker.answer()
    return median(took) * 1e6


def frames(peer: Any, state: dict[str, Any], count: int) -> float:
    """Milliseconds until both have seen one."""

    def make(group: Group) -> None:
        cast = peer.broadcast(FRAME)
        group.closed.append(cast.close)
        for index in range(READERS):
            group.add(see, cast.reader(index), FRAME)
        state["cast"], state["frame"] = cast, peers.payload(FRAME)

    workers = group_of(state, "frames", make).workers
    cast, frame = state["cast"], memoryview(state["frame"])
    took = 0.0
    for serial in range(count):
        expected = peers.put_in_pages(frame, serial + 1)
        for worker in workers:
            worker.order(1)
        sleep(PAUSE)
        begin = perf_counter()
        cast.put(frame)
        answers = [worker.answer() for worker in workers]
        took += perf_counter() - begin
        for _, _, seen in answers:
            if seen != expected:
                raise Lost(f"a reader saw {seen}, not {expected}")
    return took / count * 1e3


# --- in the measuring process -----------------------------------------------


def takes_part(name: str, how: Flow) -> bool:
    kind = peers.kind(name)
    return (kind.sends_many or not how.many) and (
        kind.is_for_all or how.writers == how.readers == 1
    )


def measure(bench: Bench) -> Iterator[list[Row]]:
    share = QUICKLY if bench.quick else 1
    names = [
        name
        for name in bench.of(peers.able("queue"))
        if not bench.quick or name in QUICK
    ]
    with Sides(names) as sides:

        def rows(
            work: str,
            unit: str,
            function: str,
            reach: dict[str, float],
            able: list[str] = names,
            **more: Any,
        ) -> list[Row]:
            return bench.paired(
                "channels",
                work,
                unit,
                {
                    name: asking(sides[name], "channels", function, **more)
                    for name in names
                    if name in able
                },
                base=OURS,
                reach=reach,
            )

        for work, how in FLOWS.items():
            able = [name for name in names if takes_part(name, how)]
            yield rows(
                work, "us", "flow", how.reach, able, of=work, share=share
            )
        trips = TRIPS // share
        for work, apart, pause, reach in ROUND_TRIPS:
            yield rows(
                f"a round trip of 64 bytes, {work}",
                "us",
                "round_trip",
                reach,
                trips=trips // 10 or 1 if pause else trips,
                apart=apart,
                pause=pause,
            )
        yield rows(
            "6.2 MB to two readers",
            "ms",
            "frames",
            TWO_READERS,
            peers.able("broadcast"),
            count=1 if bench.quick else FRAMES,
        )
