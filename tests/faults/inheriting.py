# SPDX-License-Identifier: MIT
"""Makes each system call of a fork fail, with a frame and a message in hand,
and a reservation of each. Argument: the errno. Prints how many calls there
were.

What is in hand stays the parent's, and stays as it is in the child. That one
does what it can: what fails is an error, and works the next time."""

import ctypes
import os
import sys
from pathlib import Path

import operations

from shmemext import Broadcast, Channel

libc = ctypes.CDLL(None)
libc.failing_name.restype = ctypes.c_char_p
code = int(sys.argv[1])


def again(function, *args):
    """Once more, if it failed."""
    try:
        return function(*args)
    except OSError as error:
        assert error.errno == code, error
        return function(*args)


def use(channel, cast, held, told):
    """In the child, while its parent writes one frame after the other."""
    message, frame, room, place = held
    assert bytes(message) == bytes(frame) == b"first"
    again(channel.put, b"child's")
    assert again(channel.get) == b"second"
    os.read(told, 1)
    with again(cast.receive, 0) as newest:
        assert bytes(newest) == b"9"
    assert bytes(message) == bytes(frame) == b"first"
    again(channel.put, b"goodbye")
    del message, frame, room, place
    held.clear()
    channel.close()
    cast.close()


def fork(k, channel, cast, told, tell):
    """How many calls that takes."""
    channel.put(b"first")
    channel.put(b"second")
    cast.put(b"first")
    held = [channel.receive(), cast.receive()]
    held += [channel.reserve(5), cast.reserve(5)]
    libc.failing_arm(b"_shmemext", k, code)
    child = os.fork()
    calls = libc.failing_disarm()
    if child == 0:
        os.close(tell)  # it does not wait for a parent that has failed
        status = 1
        try:
            use(channel, cast, held, told)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    message, frame, room, place = held
    with place as view:
        view[:] = b"third"
    for i in range(10):
        cast.put(b"%d" % i)
    os.write(tell, b"x")
    _, status = os.waitpid(child, 0)
    assert status == 0
    with room as view:
        view[:] = b"third"
    assert bytes(message) == bytes(frame) == b"first"
    with message, frame:
        pass
    left = [channel.get() for _ in range(3)]
    assert left == [b"third", b"child's", b"goodbye"], left
    with cast.receive() as newest:
        assert bytes(newest) == b"9"
    return calls


operations.awaiting.let_go()
told, tell = os.pipe()
calls = k = 1
while k <= calls:
    before = operations.held()
    with (
        Channel(create=True, size=4096, lifetime="users") as channel,
        Broadcast(f"{operations.NEW}-cast", True, 9, lifetime="users") as cast,
    ):
        calls = fork(k, channel, cast, told, tell)
    after = operations.held()
    if libc.failing_name() == b"fstat":
        # A descriptor that cannot be told to be still ours is left open, and
        # what it is a user of is used.
        for name in after[0] - before[0]:
            Path("/dev/shm", name).unlink()
    else:
        assert after == before, (k, libc.failing_name(), before, after)
    k += 1
print(calls)
