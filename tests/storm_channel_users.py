# SPDX-License-Identifier: MIT
"""Who uses channels in a storm (storm_channels.py): what it notes, and where
it kills itself."""

import os
import random
import signal
import time

from storm_channel_notes import (
    BEGUN,
    NUMBERS,
    PUT,
    TOLD,
    Notes,
    message,
    read,
)

STUCK = 5  # seconds


class Drop(Exception):
    pass


class User:
    """Who has a place, until it is killed."""

    def __init__(self, place, seed, memory, told):
        self.place = place
        self.chance = random.Random(f"{seed}-{os.getpid()}")
        self.notes = Notes(memory)
        self.told = told
        self.parent = os.getppid()
        self.last = {}

    def tell(self, what, text):
        end = os.open(self.told, os.O_WRONLY | os.O_APPEND)
        os.write(end, f"\n{what} place {self.place}: {text}\n".encode())
        os.close(end)

    def go_on(self):
        """Until nobody counts any more."""
        return os.getppid() == self.parent

    def timeout(self):
        """Some do not wait for as long as it takes. See waited()."""
        self.since = time.monotonic()
        if self.chance.random() < 0.75:
            return STUCK
        return self.chance.random() * 0.003

    def waited(self):
        length = int((time.monotonic() - self.since) * 1000)
        if length > self.notes.get(self.place, "longest"):
            self.notes.set(self.place, "longest", length)

    def is_late(self, timeout):
        if timeout == STUCK:
            self.tell("wrong", f"nothing for {STUCK} seconds")

    def at(self, point):
        if self.chance.random() < 1 / 300:
            self.die(point)

    def die(self, point):
        self.notes.add(self.place, point)
        os.kill(os.getpid(), signal.SIGKILL)

    def dies_in_a_handler(self):
        if self.chance.random() < 0.1:
            point = "in a handler while it waits"
            signal.signal(signal.SIGALRM, lambda *args: self.die(point))
            signal.setitimer(signal.ITIMER_REAL, self.chance.random() / 5)

    def forks(self, end):
        """Its child has nothing in hand, whatever it does."""
        if self.chance.random() < 1 / 200:
            child = os.fork()
            if child == 0:
                end(None, None, None)
                os._exit(0)
            os.waitpid(child, 0)

    # What writers note

    def begin(self, length):
        if length < TOLD:
            self.notes.add(self.place, "short_begun")
            return 0
        number = self.notes.get(self.place, "next")
        while number == NUMBERS:  # until it is killed
            if not self.go_on():
                os._exit(0)
            time.sleep(1)
        self.notes.set_fate(self.place, number, BEGUN)
        self.notes.set(self.place, "next", number + 1)
        return number

    def prepare(self, length):
        number = self.begin(length)
        return number, message(self.place, number, length)

    def end(self, number, length, fate):
        if length >= TOLD:
            self.notes.set_fate(self.place, number, fate)
        elif fate == PUT:
            self.notes.add(self.place, "short_put")
        if fate == PUT:
            self.notes.add(self.place, "operations")

    # What readers note

    def look(self, data):
        try:
            return read(memoryview(data))
        except ValueError as error:
            self.tell("wrong", str(error))
            return None

    def had(self, data, deliveries=None, in_order=True):
        """Deliveries are not known of what was not received."""
        label = self.look(data)
        self.notes.add(self.place, "operations")
        if label is None:
            self.notes.add(self.place, "short_came")
            return
        if self.notes.fate(*label) not in (BEGUN, PUT):
            self.tell("wrong", f"{label} was dropped")
        if self.notes.times(*label) and deliveries in (None, 1):
            self.notes.add(self.place, "twice")
            self.tell("twice", f"{label}, {deliveries} deliveries")
        writer, number = label
        if in_order and number <= self.last.get(writer, -1):
            if deliveries == 1:
                self.tell("wrong", f"{label} after {self.last[writer]}")
            self.notes.add(self.place, "late", deliveries is None)
        self.last[writer] = max(number, self.last.get(writer, -1))
        self.notes.note(self.place, *label)
