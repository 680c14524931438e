# SPDX-License-Identifier: MIT
"""What other processes do with arrays: importable there by name."""

import os
import signal

from shmemext import arrays


def add_one(array):
    array += 1


def add_one_and_say(array, connection):
    """And how large it is here, and whether it may be written."""
    array += 1
    connection.send((array.shape, array.dtype.str, array.flags.writeable))
    connection.close()


def describe(array):
    return array.shape, array.dtype.str, array.flags.writeable, array.tobytes()


def double(part):
    part *= 2
    return part


def make(shape, dtype="f8", value=7):
    return arrays.full(shape, value, dtype)


def send_and_end(connection, how):
    """What it has made, and is dead a moment later."""
    connection.send(make((100, 100)))
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    connection.close()


def serve(requests, replies):
    """Adds one to each array that comes, and sends it back."""
    while (array := requests.get()) is not None:
        array += 1
        replies.put(array)


def pass_on(connection):
    """What comes, to where it came from: views of it, until None does."""
    while (array := connection.recv()) is not None:
        array += 1
        connection.send(array[::-1])
    connection.close()


def write_into_both(pair):
    """The second is a view of the first."""
    first, second = pair
    first[0] = 5
    return second[0]
