# SPDX-License-Identifier: MIT
"""What the tests of pools run in other processes: importable there by name."""

import os
import signal
import time

from shmemext import _pools

PATIENCE = 60
kept = []  # until the process ends


def echo(connection):
    """Receives references, and sends what they stand for again, in a pool of
    its own; until None comes."""
    while (reference := connection.recv()) is not None:
        lease = _pools.receive(reference)
        connection.send(_pools.refer(lease))
        del lease


def write(connection):
    """Receives what is shared, and writes its first byte."""
    while (reference := connection.recv()) is not None:
        memoryview(_pools.receive(reference))[0] += 1
        connection.send(None)


def hold(connection):
    """Receives references, and holds what they stand for, for good."""
    while (reference := connection.recv()) is not None:
        try:
            kept.append(_pools.receive(reference))
            connection.send(bytes(kept[-1]))
        except LookupError as error:
            connection.send(error)


def send(connection, data, how):
    """Sends one reference, and ends in that way."""
    connection.send(_pools.refer(data, kept=how == "kept"))
    if how == "kept":
        connection.recv()
    elif how == "killed":
        connection.recv()
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "stays":
        time.sleep(600)


def work(data):
    """What a worker of a Pool returns for a reference."""
    lease = _pools.receive(data)
    reversed_ = bytes(lease)[::-1]
    return _pools.refer(bytearray(reversed_))
