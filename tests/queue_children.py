# SPDX-License-Identifier: MIT
"""What the tests of queues run in other processes: importable there by
name."""

import os
import signal
import sys
import time

from channel_children import kept

from shmemext import _queues


def add_up(queue, back):
    """To None: how many, and their sum."""
    numbers = list(iter(queue.get, None))
    back.put((len(numbers), sum(numbers)))


def get_and_stay(queue, connection):
    """Has one in hand, until it is killed."""
    connection.send(queue.get())
    connection.recv()
    time.sleep(600)


def get_two_and_stay(queue, connection):
    """Owes one, and has one in hand."""
    connection.send([queue.get(), queue.get()])
    time.sleep(600)


def get_say_done_and_stay(queue, connection):
    connection.send(queue.get())
    queue.task_done()
    connection.send("done")
    time.sleep(600)


def wait_for_another(queue, connection):
    """Done with the first one by that."""
    connection.send(queue.get())
    queue.get()


def get_and_end(queue, how, connection):
    kept.append(queue)
    connection.send(queue.get())
    if how == "exit":
        sys.exit(0)
    elif how == "raise":
        sys.stderr = None
        raise ValueError
    elif how == "_exit":
        os._exit(0)


def do_tasks(queue, back):
    for task in iter(queue.get, None):
        time.sleep(task)
        back.put(task)
        queue.task_done()
    queue.task_done()


def wait_to_put(queue, connection):
    connection.send("here")
    queue.put("late")
    connection.send("put")


def wait_to_join(queue, connection):
    connection.send("here")
    queue.join()
    connection.send("joined")


def put_and_wait(queue, connection):
    """What is put is in, whoever is killed after that."""
    queue.put(b"x" * 100_000)
    connection.send("put")
    time.sleep(600)


def look_and_scribble(queue, connection):
    """Says what it got, and then writes there."""
    (view,) = queue.get()
    connection.send((len(view), bytes(view[:4])))
    view[:4] = b"mine"
    connection.send(bytes(view[:4]))
    time.sleep(600)


def get_and_keep(queue, connection):
    """The bytes, when the message is long given back."""
    kept.append(queue.get())
    queue.task_done()
    connection.send("done")
    connection.recv()
    connection.send(bytes(kept[0][0][:4]))


def die_giving_back(queue, times, connection):
    """In the middle of that: before it withdraws so many."""
    left = times

    def withdraw(reference):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        before(reference)

    before = _queues.withdraw
    _queues.withdraw = withdraw
    connection.send(len(queue.get()))
    queue.task_done()
