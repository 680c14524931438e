# SPDX-License-Identifier: MIT
"""The crash matrix's cases of locks and the like: `python crash_locks.py CASE
PEER` prints "pass", or what went wrong in a word. It expects a /dev/shm of
its own. peers/locks.py says what a peer has to have for a case."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from threading import Thread
from time import sleep
from typing import Any

import peers
from crash_actors import PATIENCE, Bad
from peers.locks import GOT, NONE

LIMIT = 5.0  # seconds, within which it has to go on
SHORT = 0.3  # by which it waits, and is had by somebody else


# What the processes do, each with a pipe to say how far it is.


def holds(pipe: Any, lock: Any) -> None:
    pipe.send(lock.take(LIMIT))
    signal.pause()


def takes(pipe: Any, lock: Any) -> None:
    pipe.send(lock.take(LIMIT))


def waits(pipe: Any, event: Any) -> None:
    pipe.send("ready")
    pipe.send(event.wait())


def waits_in(pipe: Any, condition: Any) -> None:
    with condition:
        pipe.send("ready")
        pipe.send(condition.wait())


def meets(pipe: Any, barrier: Any) -> None:
    """Once, and again when it is told to."""
    barrier.wait()
    pipe.send("ready")
    pipe.recv()
    try:
        barrier.wait()
    except Exception as error:
        pipe.send(type(error).__name__)
    else:
        pipe.send("passed")


class Actor:
    def __init__(self, action: Callable[..., None], thing: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=action, args=(theirs, thing), daemon=True
        )
        self.process.start()
        theirs.close()

    def said(self, seconds: float = PATIENCE) -> Any:
        """None: nothing within that time."""
        if not self.pipe.poll(seconds):
            return None
        try:
            return self.pipe.recv()
        except EOFError:
            raise Bad("not run: an actor failed") from None

    def is_ready(self, word: str = "ready") -> None:
        said = self.said()
        if said != word:
            raise Bad(f"not run: {said}")

    def kill(self) -> None:
        self.process.kill()
        self.process.join(PATIENCE)


def killed(action: Callable[..., None], thing: Any, word: str) -> None:
    """It does its part up to that word, and is killed in the midst."""
    actor = Actor(action, thing)
    actor.is_ready(word)
    sleep(SHORT)
    actor.kill()


def returns(call: Callable[[], Any]) -> None:
    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if thread.is_alive():
        raise Bad("hangs")


def told(word: str) -> None:
    """What the next one to take it got."""
    if word == NONE:
        raise Bad("stuck")
    if word == GOT:
        raise Bad("silent")


def by_name(peer: Any, name: str) -> None:
    program = [sys.executable, __file__, "--named", "-", peer.name, name]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        if other.stdout.readline() != "got\n":
            raise Bad("not run: an actor failed")
        lock = peer.named(name)
        if lock.take(SHORT) != NONE:
            raise Bad("two have it")
        other.stdin.write("\n")
        other.stdin.flush()
        if lock.take(LIMIT) != GOT:
            raise Bad("stuck")
        lock.give()


def has_named(peer: Any, name: str) -> None:
    lock = peer.named(name)
    print(lock.take(LIMIT), flush=True)
    sys.stdin.readline()
    lock.give()


def holder_killed(peer: Any, name: str) -> None:
    lock = peer.lock(name)
    killed(holds, lock, GOT)
    told(lock.take(LIMIT))


def sleeper_told(peer: Any, name: str) -> None:
    """Who waits already when the holder is killed."""
    lock = peer.lock(name)
    holder = Actor(holds, lock)
    holder.is_ready(GOT)
    sleeper = Actor(takes, lock)
    sleep(2 * SHORT)
    holder.kill()
    told(sleeper.said() or NONE)


def permit_comes_back(peer: Any, name: str) -> None:
    permit = peer.permit(name)
    killed(holds, permit, GOT)
    if permit.take(LIMIT) == NONE:
        raise Bad("lost")


def event_is_set(peer: Any, name: str) -> None:
    event = peer.event()
    other = Actor(waits, event)
    other.is_ready()
    killed(waits, event, "ready")
    returns(event.set)
    if other.said(LIMIT) is not True:
        raise Bad("not woken")


def all_are_notified(peer: Any, name: str) -> None:
    notified(peer.condition(), lambda condition: condition.notify_all())


def the_living_is_notified(peer: Any, name: str) -> None:
    """Though the dead was the first to wait."""
    notified(peer.condition(), lambda condition: condition.notify())


def notified(condition: Any, notify: Callable[[Any], None]) -> None:
    dead = Actor(waits_in, condition)
    dead.is_ready()
    sleep(SHORT)
    other = Actor(waits_in, condition)
    other.is_ready()
    sleep(SHORT)
    dead.kill()

    def call() -> None:
        with condition:
            notify(condition)

    returns(call)
    if other.said(LIMIT) is not True:
        raise Bad("not woken")


def barrier_breaks(peer: Any, name: str) -> None:
    """A party is killed before it comes again."""
    barrier = peer.barrier(3)
    parties = [Actor(meets, barrier) for _ in range(3)]
    for party in parties:
        party.is_ready()
    parties[0].kill()
    for party in parties[1:]:
        party.pipe.send("again")
    for party in parties[1:]:
        word = party.said(LIMIT)
        if word != "BrokenBarrierError":
            raise Bad(word or "stuck")


def reader_killed(peer: Any, name: str) -> None:
    lock = peer.rwlock(name)
    killed(holds, lock.read, GOT)
    if lock.write.take(LIMIT) != GOT:
        raise Bad("stuck")


def writer_killed(peer: Any, name: str) -> None:
    lock = peer.rwlock(name)
    killed(holds, lock.write, GOT)
    told(lock.read.take(LIMIT))


# words of the table, what the peer must be able to do, the case
CASES: dict[str, tuple[str, str, Callable[[Any, str], None]]] = {
    "named": ("name: two programs", "named", by_name),
    "holder": ("holder SIGKILLed", "lock", holder_killed),
    "sleeper": ("sleeper: holder killed", "lock", sleeper_told),
    "permit": ("permit: holder killed", "permit", permit_comes_back),
    "event": ("set(): waiter killed", "event", event_is_set),
    "all": ("notify_all(): waiter killed", "condition", all_are_notified),
    "one": ("notify(): waiter killed", "condition", the_living_is_notified),
    "barrier": ("Barrier: party killed", "barrier", barrier_breaks),
    "reader": ("reader SIGKILLed", "rwlock", reader_killed),
    "writer": ("writer SIGKILLed", "rwlock", writer_killed),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--named", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("case", choices=[*CASES, "-"])
    parser.add_argument("peer")
    parser.add_argument("name", nargs="?", default=f"crash-{os.getpid()}")
    options = parser.parse_args()
    peer = peers.load(options.peer)
    if options.named:
        has_named(peer, options.name)
        return
    try:
        CASES[options.case][2](peer, options.name)
    except Bad as word:
        print(word, flush=True)
    else:
        print("pass", flush=True)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)  # what hangs has a thread


if __name__ == "__main__":
    main()
