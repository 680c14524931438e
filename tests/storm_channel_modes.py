# SPDX-License-Identifier: MIT
"""The ways in which a storm (storm_channels.py) uses channels: who writes, who
reads, and what is counted at the end."""

import asyncio
import contextlib
import queue

from storm_channel_notes import DROPPED, PUT, TOLD, WORKERS, any_length
from storm_channel_users import STUCK, Drop

from shmemext.channels import Channel, ShutDown

SIZE = 1 << 14
BATCH = 16
TASKS = 3


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
