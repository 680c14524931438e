# SPDX-License-Identifier: MIT
"""The ways in which a storm (storm_channels.py) uses channels: who writes, who
reads, and what is counted at the end."""

import asyncio
import contextlib
import os
import queue
import random
import signal
import time
import traceback

from storm_channel_notes import (
    BEGUN,
    DROPPED,
    NUMBERS,
    POINTS,
    PUT,
    TOLD,
    WORKERS,
    Notes,
    any_length,
    message,
    read,
)

from shmemext.channels import Channel, ShutDown

SIZE = 1 << 14
BATCH = 16
TASKS = 3
STUCK = 5  # seconds
__all__ = ["MODES", "POINTS", "WORKERS", "work"]


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
        while number == NUMBERS:
            time.sleep(1)  # until it is killed
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


# --- Who writes


def put(user, channel):
    length, timeout = any_length(user.chance), user.timeout()
    number, data = user.prepare(length)
    fate = PUT
    try:
        channel.put(data, timeout=timeout)
        user.waited()
        user.at("put, not noted")
    except queue.Full:
        user.is_late(timeout)
        fate = DROPPED
    user.end(number, length, fate)


def put_many(user, channel):
    timeout = user.timeout()
    lengths = [
        any_length(user.chance) for _ in range(user.chance.randint(1, BATCH))
    ]
    labels = [user.prepare(length) for length in lengths]
    done = 0
    try:
        done = channel.put_many([data for _, data in labels], timeout=timeout)
        user.waited()
        user.at("put, not noted")
    except queue.Full:
        pass
    if done < len(labels):
        user.is_late(timeout)
    for i, (number, _) in enumerate(labels):
        user.end(number, lengths[i], PUT if i < done else DROPPED)


def reserve(user, channel):
    length, timeout = TOLD + any_length(user.chance), user.timeout()
    try:
        reservation = channel.reserve(length, timeout=timeout)
    except queue.Full:
        user.is_late(timeout)
        return
    user.waited()
    number, data = user.prepare(length)
    half = user.chance.randrange(length)
    drops = user.chance.random() < 1 / 8
    with contextlib.suppress(Drop):
        with reservation as view:
            view[:half] = data[:half]
            user.at("reserved, half written")
            if user.chance.random() < 1 / 100:
                user.forks(reservation.__exit__)
                user.at("forked with it open")
            view[half:] = data[half:]
            if drops:
                user.end(number, length, DROPPED)
                raise Drop
        user.at("sent, not noted")
        user.end(number, length, PUT)


# --- Who reads


def get(user, channel):
    timeout = user.timeout()
    try:
        data = channel.get(timeout=timeout)
    except queue.Empty:
        user.is_late(timeout)
        return
    user.waited()
    user.at("got, not noted")
    user.had(data)


def get_many(user, channel):
    timeout = user.timeout()
    try:
        messages = channel.get_many(BATCH, timeout=timeout)
    except queue.Empty:
        user.is_late(timeout)
        return
    user.waited()
    user.at("got, not noted")
    for data in messages:
        user.had(data)


def use_in_hand(user, received):
    with received:
        user.look(received)
        user.at("in hand, half read")
        user.had(received, received.deliveries)
        user.at("in hand, noted")
        if user.chance.random() < 1 / 100:
            user.forks(received.__exit__)
            user.at("forked with it in hand")
        user.look(received)  # the same as before


def receive(user, channel):
    timeout = user.timeout()
    try:
        received = channel.receive(timeout=timeout)
    except queue.Empty:
        user.is_late(timeout)
        return
    user.waited()
    # Who lets go of it unseen leaves it to another.
    if user.chance.random() > 1 / 50:
        use_in_hand(user, received)


def loop(user, channel):
    for received in channel.messages():
        use_in_hand(user, received)
        if user.chance.random() < 1 / 50:
            break


# --- Tasks, of which some are cancelled


async def put_in_tasks(user, channel):
    while user.go_on():
        length, timeout = any_length(user.chance), user.timeout()
        number, data = user.prepare(length)
        fate = PUT
        try:
            await asyncio.wait_for(channel.put_async(data), timeout)
            user.at("put, not noted")
        except TimeoutError:
            user.is_late(timeout)
            fate = DROPPED
        user.end(number, length, fate)
        await asyncio.sleep(0)


async def get_in_tasks(user, channel):
    while user.go_on():
        timeout = user.timeout()
        try:
            data = await asyncio.wait_for(channel.get_async(), timeout)
        except TimeoutError:
            user.is_late(timeout)
            continue
        user.at("got, not noted")
        user.had(data, in_order=False)
        await asyncio.sleep(0)


async def in_tasks(each, user, channel):
    await asyncio.gather(*[each(user, channel) for _ in range(TASKS)])


class Mode:
    """Messages of a channel. `may_lose` is what a reader may have got and not
    noted when it is killed; None: it has received them, and loses none."""

    def __init__(self, name, writers, write, read, may_lose):
        self.name = name
        self.writers = writers
        self.write = write
        self.read = read
        self.may_lose = may_lose

    def make(self, name, lifetime):
        return Channel(name, create=True, size=SIZE, lifetime=lifetime)

    def use(self, user, channel):
        step = self.write if user.place < self.writers else self.read
        if asyncio.iscoroutinefunction(step):
            asyncio.run(in_tasks(step, user, channel))
        while user.go_on():
            step(user, channel)

    def drain(self, user, channel):
        """To its end, by one who is nobody of those."""
        channel.shutdown()
        while True:
            try:
                with channel.receive(timeout=STUCK) as received:
                    known = self.may_lose is None
                    deliveries = received.deliveries if known else None
                    user.had(received, deliveries, in_order=False)
            except ShutDown:
                return
            except queue.Empty:
                user.tell("wrong", "no end")
                return

    def finish(self, channel, user):
        notes = user.notes
        self.drain(user, channel)
        lost, messages = self.count(notes)
        short = notes.total("short_put") - notes.total("short_came")
        killed = [notes.get(place, "killed") for place in range(WORKERS)]
        permitted = (self.may_lose or 0) * sum(killed[self.writers :])
        again = channel._look()[4]
        if self.may_lose is not None:
            if short + notes.total("short_begun") < notes.total("short_put"):
                user.tell("wrong", "more short ones than were sent")
            if notes.total("late") > again:
                user.tell("wrong", f"{notes.total('late')} in another order")
        return {
            "messages": messages,
            "again": again,
            "permitted": permitted,
            "twice": notes.total("twice"),
            "lost": max(0, lost + max(short, 0) - permitted),
        }

    def count(self, notes):
        lost = messages = 0
        for writer in range(self.writers):
            fates, times = notes.fates(writer), notes.all_times(writer)
            for fate, came in zip(fates, times, strict=True):
                lost += fate == PUT and not came
                messages += came != 0
        return lost, messages


MODES = [
    Mode("get", 3, put, get, 1),
    Mode("receive", 3, put, receive, None),
    Mode("reserve", 3, reserve, receive, None),
    Mode("many", 3, put_many, get_many, BATCH),
    Mode("one to many", 1, put_many, loop, None),
    Mode("many to one", 5, reserve, get_many, BATCH),
    Mode("tasks", 3, put_in_tasks, get_in_tasks, TASKS),
]


def work(name, place, seed, memory, thing, told):
    """Of a process that is told nothing any more."""
    try:
        user = User(place, seed, memory, told)
        (mode,) = (mode for mode in MODES if mode.name == name)
        user.dies_in_a_handler()
        user.notes.set(place, "pid", os.getpid())
        mode.use(user, thing)
    except BaseException:
        user.tell("failed", traceback.format_exc())
    finally:
        os._exit(0)
