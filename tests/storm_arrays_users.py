# SPDX-License-Identifier: MIT
"""What the users of a storm (storm_arrays.py) do, until they are killed."""

import contextlib
import os
import queue
import random
import signal
import time
import traceback

from arrays import np

import shmemext
from shmemext import arrays, handoff

WORDS = ("begun", "operations", "children", "forwarded", "kept", "gone")
HELD = 3  # arrays that a receiver has at a time
ODDS = 1 / 400  # of a death by one's own hand, between two steps
MOVED, SHARED, PART, KEPT = range(4)


PLACES = 16


def notes_of(memory):
    """A row of words for each place, which who is there writes alone."""
    return np.ndarray((PLACES, len(WORDS)), "u8", buffer=memory)


class User:
    def __init__(self, place, seed, memory, told):
        self.random = random.Random(seed)
        self.mine = notes_of(memory)[place]
        self.told = told
        self.held = []
        self.has_forked = False
        self.mine[WORDS.index("begun")] = os.getpid()

    def note(self, what):
        self.mine[WORDS.index(what)] += 1

    def tell(self, what, text):
        with open(self.told, "a") as file:  # noqa: PTH123 (hot)
            file.write(f"\n{what} {text}\n")

    def may_die(self):
        if self.random.random() < ODDS:
            os.kill(os.getpid(), signal.SIGKILL)

    def look(self, number, array, when):
        if not (array == number).all():
            seen = np.unique(array)[:4]
            self.tell("wrong", f"{when}: {seen} for {number}")

    # What is sent: a kind, the number in each word, and the array

    def make(self):
        number = self.random.getrandbits(60)
        length = self.random.randrange(1 << 13, 1 << 15)
        kind = self.random.choice((MOVED, MOVED, SHARED, PART, KEPT))
        if kind == MOVED:
            array = np.full(length, number, "u8")
        else:
            array = arrays.full(length, number, "u8")
        if kind == PART:
            array = array[:: self.random.choice((-1, 2, 3))]
        self.may_die()
        if kind == KEPT:
            array = shmemext.dumps(np.full(length, number, "u8"))
        return kind, number, array

    def load(self, message):
        """None: it was kept by who is dead by now."""
        kind, number, array = message
        self.may_die()
        if kind != KEPT:
            return message
        try:
            first, array = shmemext.loads(array), shmemext.loads(array)
        except LookupError:
            self.note("gone")
            return None
        self.note("kept")
        first[:] = 0  # its own
        return MOVED, number, array

    def use(self, message):
        """Looks, holds it for a while, and may give it to a child."""
        _, number, array = message
        self.look(number, array, "received")
        self.held.append(message)
        if self.random.random() < 0.02:
            self.leave_to_child()
        while len(self.held) >= self.random.randint(1, HELD):
            _, number, array = self.held.pop(0)
            self.look(number, array, "held")
        self.may_die()
        self.note("operations")

    def write(self, message):
        """Who has it alone may write there: not if a child has it, too."""
        kind, number, array = message
        forked, self.has_forked = self.has_forked, False
        if forked or kind != MOVED or self.random.random() < 0.5:
            return message
        number = self.random.getrandbits(60)
        array[:] = number
        time.sleep(self.random.random() * 0.001)
        self.look(number, array, "written")
        return kind, number, array

    def leave_to_child(self):
        self.note("children")
        self.has_forked = True
        if os.fork() == 0:
            try:
                for _ in range(3):
                    time.sleep(self.random.random() * 0.003)
                    for _, number, array in self.held:
                        self.look(number, array, "inherited")
            except BaseException:
                self.tell("failed", traceback.format_exc())
            finally:
                os._exit(0)

    @staticmethod
    def wait_for_children():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


# By a pipe, and by a queue of multiprocessing: one sends, one receives, and
# each of them ends when the other is dead.


def send_by_pipe(user, ends, onward):
    receiver, sender = ends
    receiver.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            sender.send(user.make())


def receive_by_pipe(user, ends, onward):
    receiver, sender = ends
    sender.close()
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            received(user, receiver.recv(), onward)


def send_by_queue(user, way, onward):
    while True:
        way.put(user.make())


def receive_by_queue(user, way, onward):
    while True:
        received(user, way.get(), onward)


def received(user, message, onward):
    message = user.load(message)
    if message is None:
        return
    user.use(message)
    user.held.clear()
    message = user.write(message)
    if user.random.random() < 0.3:
        with contextlib.suppress(queue.Full):
            onward.put(message, timeout=1)
            user.note("forwarded")
    user.wait_for_children()


# By a queue of ours, which stays.


def send_onward(user, nothing, onward):
    while True:
        onward.put(user.make())
        time.sleep(user.random.random() * 0.002)


def receive_onward(user, nothing, onward):
    while True:
        message = user.load(onward.get())
        if message is None:
            continue
        user.use(message)
        if user.random.random() < 0.5:
            user.held.clear()
            user.write(message)
        user.wait_for_children()


def work(use, place, seed, memory, told, way, onward):
    user = None
    try:
        handoff.enable()
        user = User(place, seed, memory, told)
        use(user, way, onward)
    except BaseException:
        if user is not None:
            user.tell("failed", traceback.format_exc())
    finally:
        os._exit(0)
