# SPDX-License-Identifier: MIT
"""The crash matrix's cases of queues, frames and arrays on their way: `python
crash_queues.py CASE PEER` prints "pass", or what went wrong in a word. It
expects a /dev/shm of its own. peers/tasks.py says what a peer has to have for
a case. Whoever puts or gets is a process, so that none that hangs hangs the
others."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import peers
from crash_actors import Bad
from crash_locks import LIMIT, SHORT, Actor
from machine import DEV_SHM

KILLS = 10  # of one kind in a case
FILLING = 200  # messages, which are more than there is room for
SLEEP = 0.0002  # seconds between two messages, lest they fill the memory
AT_WORK = (0.02, 0.06)  # seconds, after which one is killed
LARGE = 32 << 20
MUCH = 5 * LARGE  # bytes, which is half of what could be left
END = b"end"


def message(number: int) -> bytes:
    return number.to_bytes(4, "big") * 2000


def good(data: bytes) -> bool:
    return data == END or data == data[:4] * 2000


# What the processes do, each with a pipe to say how far it is.


def takes(pipe: Any, queue: Any) -> None:
    pipe.send(queue.take(LIMIT))
    signal.pause()


def waits(pipe: Any, queue: Any) -> None:
    pipe.send("ready")
    queue.get(10 * LIMIT)
    signal.pause()


def puts(pipe: Any, queue: Any) -> None:
    queue.put(END)
    pipe.send("put")
    signal.pause()


def fills(pipe: Any, queue: Any) -> None:
    pipe.send("ready")
    for number in range(FILLING):
        queue.put(message(number))
    signal.pause()


def puts_on(pipe: Any, queue: Any) -> None:
    pipe.send("ready")
    number = 0
    while True:
        queue.put(message(number))
        number += 1
        sleep(SLEEP)


def puts_fast(pipe: Any, queue: Any) -> None:
    pipe.send("ready")
    while True:
        queue.put(message(0))


def takes_on(pipe: Any, queue: Any) -> None:
    pipe.send("ready")
    while True:
        queue.take(LIMIT)


def drains(pipe: Any, queue: Any) -> None:
    """Until the end comes, or nothing, or something else."""
    pipe.send("ready")
    while True:
        try:
            data = queue.get(LIMIT)
        except Exception as error:
            pipe.send(type(error).__name__)
            return
        if data is None:
            pipe.send("stuck")
            return
        if not good(data):
            pipe.send("garbage")
            return
        if data == END:
            pipe.send("end")
            return


def sees(pipe: Any, frames: Any) -> None:
    reader = frames.reader()
    pipe.send("ready")
    pipe.send(reader.see(LIMIT))
    signal.pause()


def writes_half(pipe: Any, job: tuple[Any, int]) -> None:
    frames, number = job
    frames.write_half(number)
    pipe.send("ready")
    signal.pause()


def writes_on(pipe: Any, job: tuple[Any, int]) -> None:
    frames, number = job
    frames.write(number)
    pipe.send("ready")
    while True:
        frames.write(number)
        sleep(0.01)


def has_array(pipe: Any, job: tuple[str, str, Any]) -> None:
    name, mode, shared = job
    receiver = peers.load(name).receiver(mode, shared)
    pipe.send("ready")
    buffer = receiver.receive(None)
    pipe.send(peers.sum_of_pages(buffer))
    signal.pause()


def stops(actor: Actor) -> None:
    """It is at work: it is killed at any moment of it."""
    actor.is_ready()
    sleep(random.uniform(*AT_WORK))
    actor.kill()


# The cases.


def in_hand(peer: Any, name: str) -> None:
    queue = peer.tasks(name)
    sender = Actor(puts, queue)
    first = Actor(takes, queue)
    if first.said() != END:
        raise Bad("not run: it did not come")
    sleep(SHORT)
    first.kill()
    if Actor(takes, queue).said(2 * LIMIT) != END:
        raise Bad("lost")
    sender.kill()


def arrives(queue: Any) -> bool:
    """What one more puts, at one more."""
    receiver = Actor(takes, queue)
    Actor(puts, queue)
    word = receiver.said(2 * LIMIT)
    receiver.kill()
    return bool(word == END)


def sleeper(peer: Any, name: str) -> None:
    queue = peer.tasks(name)
    waiter = Actor(waits, queue)
    waiter.is_ready()
    sleep(SHORT)
    waiter.kill()
    if not arrives(queue):
        raise Bad("lost" if arrives(queue) else "stuck")


def last_word(queue: Any, reader: Actor) -> None:
    """What one more sender's end becomes of."""
    Actor(puts, queue)
    word = reader.said(3 * LIMIT) or "stuck"
    if word != "end":
        raise Bad(word)


def no_room(peer: Any, name: str) -> None:
    """It waits for room, in the midst of a message if that is how."""
    queue = peer.tasks(name)
    filler = Actor(fills, queue)
    filler.is_ready()
    sleep(2 * SHORT)
    filler.kill()
    reader = Actor(drains, queue)
    reader.is_ready()
    last_word(queue, reader)


def receivers(peer: Any, name: str) -> None:
    queue = peer.tasks(name)
    sender = Actor(puts_on, queue)
    sender.is_ready()
    for _ in range(KILLS):
        stops(Actor(takes_on, queue))
    reader = Actor(drains, queue)
    reader.is_ready()
    sleep(SHORT)
    sender.kill()
    last_word(queue, reader)


def senders(peer: Any, name: str) -> None:
    queue = peer.tasks(name)
    reader = Actor(drains, queue)
    reader.is_ready()
    for _ in range(KILLS):
        stops(Actor(puts_fast, queue))
    last_word(queue, reader)


def everybody(peer: Any, name: str) -> None:
    """The process group of one who has made it, and put something."""
    before = set(DEV_SHM.iterdir())

    def left() -> bool:
        if hasattr(peer, "left_tasks"):
            return bool(peer.left_tasks(name))
        return bool(set(DEV_SHM.iterdir()) - before)

    program = [sys.executable, __file__, "--owner", "-", peer.name, name]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as owner:
        assert owner.stdout is not None
        if owner.stdout.readline() != "ready\n":
            raise Bad("not run: an actor failed")
        sleep(SHORT)
        os.killpg(owner.pid, signal.SIGKILL)
    deadline = monotonic() + LIMIT
    while left():
        if monotonic() > deadline:
            raise Bad("left")
        sleep(0.02)


def owns(peer: Any, name: str) -> None:
    if hasattr(peer, "tasks"):
        made = peer.tasks(name)
        made.put(END)
    else:
        made = peer.frames(name)
        made.write(1)
    print("ready", flush=True)
    signal.pause()
    del made


def frame_in_hand(peer: Any, name: str) -> None:
    """Readers are killed, each with a frame; then one more sees the next."""
    frames = peer.frames(name)
    writer = Actor(writes_on, (frames, 7))
    writer.is_ready()
    for _ in range(KILLS):
        reader = Actor(sees, frames)
        reader.is_ready()
        if reader.said(2 * LIMIT) != 7:
            raise Bad("stuck")
        reader.kill()
    if writer.process.exitcode is not None:
        raise Bad("writer failed")
    last = Actor(sees, frames)
    last.is_ready()
    if last.said(2 * LIMIT) != 7:
        raise Bad("stuck")


def half_a_frame(peer: Any, name: str) -> None:
    """Writers are killed, each in a frame; then one more writes, and what is
    seen is its frame."""
    frames = peer.frames(name)
    for number in range(KILLS):
        writer = Actor(writes_half, (frames, number + 1))
        writer.is_ready()
        writer.kill()
    reader = Actor(sees, frames)
    reader.is_ready()
    last = Actor(writes_on, (frames, 77))
    last.is_ready()
    if reader.said(2 * LIMIT) != 77:
        raise Bad("stuck")


def shared_memory() -> int:
    """Bytes of it: in this /dev/shm, with a name or without, or mapped here.
    What only the dead had is the kernel's again."""
    fs = os.statvfs(DEV_SHM)
    mapped = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssShmem:"):
            mapped = int(line.split()[1]) * 1024
    return max((fs.f_blocks - fs.f_bfree) * fs.f_frsize, mapped)


def array_in_hand(peer: Any, name: str) -> None:
    """Whoever has got a large array is killed, again and again: its memory
    goes, or is used again."""
    array = peers.payload(LARGE)
    before = shared_memory()
    for number in range(KILLS):
        expected = peers.put_in_pages(array, number + 1)
        mode = peer.modes[0]
        sender = peer.sender(mode, LARGE, multiprocessing.get_context("spawn"))
        worker = Actor(has_array, (peer.name, mode, sender.shared))
        worker.is_ready()
        if mode == "in place":
            sender.made(array)
        sender.send(array)
        if worker.said() != expected:
            raise Bad("other data")
        worker.kill()
        sender.done()
        sender.close()
        del sender
    deadline = monotonic() + LIMIT
    while shared_memory() - before > MUCH:
        if monotonic() > deadline:
            raise Bad("left")
        sleep(0.05)


# words of the table, what the peer must be able to do, the case
CASES: dict[str, tuple[str, str, Callable[[Any, str], None]]] = {
    "hand": ("message in hand: receiver killed", "tasks", in_hand),
    "sleeper": ("asleep: receiver killed", "tasks", sleeper),
    "receivers": ("at work: receivers killed", "tasks", receivers),
    "room": ("full: sender killed", "tasks", no_room),
    "senders": ("at work: senders killed", "tasks", senders),
    "everybody": ("everybody SIGKILLed", "owned", everybody),
    "frame": ("frame in hand: readers killed", "frames", frame_in_hand),
    "half": ("half a frame: writers killed", "frames", half_a_frame),
    "array": ("array in hand: workers killed", "sends_arrays", array_in_hand),
}


def main() -> None:
    global KILLS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owner", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("case", choices=[*CASES, "-"])
    parser.add_argument("peer")
    parser.add_argument("name", nargs="?", default=f"crash-{os.getpid()}")
    parser.add_argument(
        "--kills", type=int, default=KILLS, help="of one kind in a case"
    )
    options = parser.parse_args()
    KILLS = options.kills
    peer = peers.load(options.peer)
    if options.owner:
        owns(peer, options.name)
        return
    try:
        CASES[options.case][2](peer, options.name)
    except Bad as word:
        print(word, flush=True)
    else:
        print("pass", flush=True)
    for child in multiprocessing.active_children():
        child.kill()
    with suppress(Exception):
        peer.tidy(options.name)
    os._exit(0)  # what hangs has a thread


if __name__ == "__main__":
    main()
