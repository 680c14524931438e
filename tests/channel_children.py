# SPDX-License-Identifier: MIT
"""What the tests of channels run in other processes: importable there by
name."""

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time

from shmemext.channels import ShutDown

PATIENCE = 60
kept = []  # until the process ends


def echo(channel, back):
    """Sends all that comes back again, until the end."""
    for data in channel:
        back.put(data)


def put_all(channel, messages):
    for message in messages:
        channel.put(message)


def put_many_numbers(channel, first, count):
    for number in range(first, first + count):
        channel.put(number.to_bytes(4, "little"))


def drain(channel, connection):
    connection.send(list(channel))


def report(channel, connection):
    """What a child sees of it."""
    connection.send((channel.name, channel.size, channel.peers))
    connection.recv()
    channel.close()


def take_and_stay(channel, connection):
    """Has one in hand, until it is killed."""
    message = channel.receive()
    kept.append(message)
    connection.send((bytes(message), message.deliveries))
    time.sleep(600)


def take_and_go(channel, how, connection):
    """Ends as it was told to, with one in hand and one that it writes."""
    message = channel.receive()
    reservation = channel.reserve(100)
    kept.extend([message, reservation, reservation.__enter__()])
    connection.send(bytes(message))
    connection.recv()
    if how == "exit":
        sys.exit(0)
    elif how == "_exit":
        os._exit(0)


def read_in_tasks(channel, seed, connection):
    """Three tasks, each of which is cancelled all the time."""
    chance, got = random.Random(seed), []

    async def read():
        with contextlib.suppress(ShutDown):
            while True:
                with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                    patience = chance.random() / 100
                    got.append(
                        await asyncio.wait_for(channel.get_async(), patience)
                    )

    async def main():
        await asyncio.gather(read(), read(), read())

    asyncio.run(main())
    connection.send(got)


def write_in_tasks(channel, first, count, seed, connection):
    """Three tasks as well: a number is sent again if the task that was to send
    it was cancelled."""
    chance, numbers = random.Random(seed), list(range(first, first + count))

    async def write():
        while numbers:
            number = numbers.pop()
            try:
                patience = chance.random() / 100
                data = b"%d" % number * 50
                await asyncio.wait_for(channel.put_async(data), patience)
            except TimeoutError:
                numbers.append(number)

    async def main():
        await asyncio.gather(write(), write(), write())

    asyncio.run(main())
    connection.send("done")


def reserve_and_stay(channel, length, connection):
    reservation = channel.reserve(length)
    view = reservation.__enter__()
    view[:] = b"x" * length
    kept.append((reservation, view))
    connection.send("reserved")
    time.sleep(600)


def get_and_die(channel):
    channel.get()
    os.kill(os.getpid(), signal.SIGKILL)


def wait_to_get(channel, connection):
    connection.send("here")
    try:
        connection.send(channel.get())
    except ShutDown as error:
        connection.send(error)


def wait_to_put(channel, data, connection):
    connection.send("here")
    try:
        connection.send(channel.put(data))
    except ShutDown as error:
        connection.send(error)


def wait_for_ever(channel, connection):
    connection.send("here")
    channel.get()


# By whom they are started


def started(function, *arguments, method="fork"):
    context = multiprocessing.get_context(method)
    child = context.Process(target=function, args=arguments, daemon=True)
    child.start()
    return child


def told(function, *arguments, method="fork"):
    """A child that says something by the end of a pipe that it gets."""
    ours, theirs = multiprocessing.get_context(method).Pipe()
    child = started(function, *arguments, theirs, method=method)
    theirs.close()
    return child, ours


def forked(function):
    """The pid of a child that does only that."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return child


def ended_well(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def in_a_fork(function):
    ended_well(forked(function))


def ended(child):
    child.join(PATIENCE)
    assert child.exitcode == 0


def kill(child):
    child.kill()
    child.join()
