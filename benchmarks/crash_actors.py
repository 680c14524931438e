# SPDX-License-Identifier: MIT
"""Who takes part in a case of the crash matrix: `python crash_actors.py ACTION
PEER NAME` does its part, says "ready", waits for a line where it has to, and
may die of it."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import signal
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import peers
from machine import DEV_SHM

SIZE = 8192
DATA = bytes(range(256)) * (SIZE // 256)
LARGE = 64 << 20
TOO_LARGE = 8 << 20
PATIENCE = 60.0  # seconds, for an actor to do its part
STAYS = 1.5  # after which a name that should not go has not gone
RACES = 500  # names in a turn


class Bad(Exception):
    """The case went wrong; or, where it says so, could not be run."""


def put(peer: Any, handle: Any, data: bytes) -> None:
    if hasattr(peer, "put"):
        peer.put(handle, data)
    else:
        peer.memory(handle)[: len(data)] = data


def got(peer: Any, handle: Any, size: int = SIZE) -> bytes:
    if hasattr(peer, "get"):
        return bytes(peer.get(handle, size))[:size]
    return bytes(peer.memory(handle)[:size])


def ready() -> None:
    print("ready", flush=True)


def wait() -> None:
    ready()
    sys.stdin.readline()


def create(peer: Any, name: str, size: int = SIZE) -> Any:
    handle = peer.create(name, size)
    put(peer, handle, DATA)
    return handle


def creator(peer: Any, name: str) -> None:
    handle = create(peer, name)
    wait()
    del handle


def large_creator(peer: Any, name: str) -> None:
    """What is in it is as large as it is."""
    handle = peer.create(name, LARGE)
    put(peer, handle, DATA * (LARGE // SIZE))
    wait()
    del handle


def attacher(peer: Any, name: str) -> None:
    handle = peer.attach(name)
    if got(peer, handle) != DATA:
        raise Bad("other data")
    peer.close(handle)


def failing_attacher(peer: Any, name: str) -> None:
    """There is no room in its address space. What it says is how that went."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + LARGE // 4
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        got(peer, peer.attach(name), LARGE)
    except Exception:
        print("failed", flush=True)
    else:
        print("it did not fail", flush=True)


def hold(peer_name: str, name: str, connection: Any) -> None:
    peer = peers.load(peer_name)
    handle = peer.attach(name) if hasattr(peer, "attach") else None
    connection.send("attached")
    signal.pause()
    del handle


def family(peer: Any, name: str) -> None:
    """A creator and a worker that has attached."""
    handle = create(peer, name)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=hold, args=(peer.name, name, theirs))
    worker.start()
    ours.recv()
    wait()
    del handle


def work(peer_name: str, name: str) -> None:
    peer = peers.load(peer_name)
    peer.close(create(peer, name))


def left(peer: Any, name: str) -> bool:
    if hasattr(peer, "left"):
        return bool(peer.left(name))
    return any(
        entry.name.startswith((name, f"sm_{name}"))
        for entry in DEV_SHM.iterdir()
    )


def parent(peer: Any, name: str) -> None:
    """A worker creates and exits, by both methods that start it afresh."""
    for method in ("fork", "spawn"):
        own = f"{name}-{method}"
        context = multiprocessing.get_context(method)
        worker = context.Process(target=work, args=(peer.name, own))
        worker.start()
        worker.join(PATIENCE)
        deadline = monotonic() + STAYS
        while left(peer, own) and monotonic() < deadline:
            sleep(0.02)
        try:
            handle = peer.attach(own)
            same = got(peer, handle) == DATA
        except Exception:
            same = False
        print("same" if same else f"gone ({method})", flush=True)


def filler(peer: Any, name: str) -> None:
    """An exception is right, and so is whatever finds room elsewhere."""
    try:
        handle = peer.create(name, TOO_LARGE)
        put(peer, handle, DATA * (TOO_LARGE // SIZE))
    except Exception as error:
        print(type(error).__name__, flush=True)
    else:
        same = got(peer, handle) == DATA
        print("it had room" if same else "other data", flush=True)


def outliver(peer: Any, name: str) -> None:
    handle = peer.create(name, SIZE)
    array = peer.array(handle)
    array[:] = 7
    try:
        peer.close(handle)
    except BufferError:
        print("BufferError", flush=True)
        return
    peer.unlink(name, handle)
    del handle
    gc.collect()
    print("same" if int(array.sum()) == 7 * SIZE else "lost", flush=True)


def creates_often(peer: Any, name: str) -> None:
    """At each line: many names, one after the other."""
    ready()
    for line in sys.stdin:
        names = names_of(name, line)
        for own in names:
            handle = peer.create(own, SIZE)
            if hasattr(peer, "put"):
                put(peer, handle, DATA)
            peer.close(handle)
        ready()
        sys.stdin.readline()
        for own in names:
            handle = peer.attach(own)
            peer.close(handle)
            peer.unlink(own, handle)
        ready()


def names_of(name: str, line: str) -> list[str]:
    return [f"{name}-{line.strip()}-{at}" for at in range(RACES)]


def is_not_there(error: Exception) -> bool:
    """What each of them says of a name that nobody has."""
    own = ("ExistentialError", "CannotAttachSharedMemory")
    return (
        isinstance(error, FileNotFoundError)
        or type(error).__name__ in own
        or "No such file" in str(error)
    )


def attaches_often(peer: Any, name: str) -> None:
    """Is there before each name, and tries until it can be attached."""
    ready()
    for line in sys.stdin:
        ready()
        for own in names_of(name, line):
            word = attached(peer, own)
            if word:
                print(word, flush=True)
                return
        print("none", flush=True)


def attached(peer: Any, name: str) -> str:
    """Nothing, or what is wrong with it."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        try:
            handle = peer.attach(name)
        except Exception as error:
            if not is_not_there(error):
                return f"{type(error).__name__} {error}"
            continue
        size = len(peer.memory(handle)) if hasattr(peer, "memory") else SIZE
        peer.close(handle)
        return "" if size >= SIZE else f"{size} bytes"
    return "not run: too slow"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action")
    parser.add_argument("peer")
    parser.add_argument("name")
    options = parser.parse_args()
    globals()[options.action](peers.load(options.peer), options.name)


if __name__ == "__main__":
    main()
