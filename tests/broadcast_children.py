# SPDX-License-Identifier: MIT
"""What the tests of broadcasts run in other processes: importable there by
name."""

import os
import signal
import time

kept = []  # until the process ends


def report(cast, connection):
    """What a child sees of it."""
    with cast.receive(60) as frame:
        connection.send((cast.name, frame.seq, bytes(frame), cast.writer))
    connection.recv()
    cast.close()


def see_until(cast, last, connection):
    """All that it sees, until it sees this one: they are whole."""
    seen = []
    while not seen or seen[-1] < last:
        with cast.receive(60) as frame:
            assert len(set(bytes(frame))) == 1
            seen.append(frame.seq)
    connection.send((seen, cast.missed))


def hold_and_stay(cast, connection):
    """Has one in hand, until it is killed."""
    frame = cast.receive(60)
    kept.append(frame)
    connection.send((frame.seq, bytes(frame)))
    time.sleep(600)


def put_and_stay(cast, frames, connection):
    for frame in frames:
        cast.put(frame)
    connection.send(os.getpid())
    time.sleep(600)


def put_and_end(cast, frames):
    for frame in frames:
        cast.put(frame)


def reserve_and_die(cast):
    cast.put(b"whole")
    with cast.reserve() as view:
        view[:] = b"x" * len(view)
        os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(cast, connection):
    connection.send("here")
    cast.receive()
