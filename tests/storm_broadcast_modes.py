# SPDX-License-Identifier: MIT
"""A Broadcast in a storm (storm_channels.py): two would write, and one of them
does; the others read. Frames are whole, each has a number of its own, and the
numbers that a reader sees grow; who is killed holds nothing, and another one
goes on at the next number."""

import contextlib
import errno
import queue
import time

from storm_channel_notes import (
    DROPPED,
    LONGEST,
    PUT,
    TOLD,
    WORKERS,
    any_length,
)
from storm_channel_users import STUCK, Drop

from shmemext.channels import Broadcast

READERS = 8


@contextlib.contextmanager
def second():
    """Who is not the writer waits for its death."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        time.sleep(0.001)


def put(user, cast):
    length = TOLD + any_length(user.chance)
    number, data = user.prepare(length)
    fate = DROPPED
    with second():
        cast.put(data)
        user.at("put, not noted")
        fate = PUT
    user.end(number, length, fate)


def reserve(user, cast):
    length = TOLD + any_length(user.chance)
    number, data = user.prepare(length)
    half, drops = user.chance.randrange(length), user.chance.random() < 1 / 8
    fate = DROPPED
    with second(), contextlib.suppress(Drop):
        reservation = cast.reserve(length)
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
        fate = PUT
    user.end(number, length, fate)


def look(user, frame, last):
    if frame.seq <= last[0]:
        user.tell("wrong", f"{frame.seq} after {last[0]}")
    last[0] = frame.seq
    with frame:
        label = user.look(frame)
        user.at("in hand, half read")
        if label is not None and user.notes.fate(*label) == DROPPED:
            user.tell("wrong", f"{label} was dropped")
        if label is not None:
            user.notes.note(user.place, *label)
        user.notes.add(user.place, "operations")
        user.at("in hand, noted")
        if user.chance.random() < 1 / 100:
            user.forks(frame.__exit__)
            user.at("forked with it in hand")
        if user.chance.random() < 1 / 50:
            time.sleep(user.chance.random() / 100)
        if user.look(frame) != label:
            user.tell("wrong", f"{label} was written while it was held")


class Cast:
    name = "broadcast"
    writers = 2

    def make(self, name, lifetime):
        return Broadcast(
            name,
            create=True,
            size=LONGEST + TOLD,
            readers=READERS,
            lifetime=lifetime,
        )

    def use(self, user, cast):
        while user.place < self.writers and user.go_on():
            user.chance.choice([put, reserve])(user, cast)
        last = [0]
        while user.go_on():
            timeout = user.timeout()
            try:
                frame = cast.receive(timeout)
            except queue.Empty:
                user.is_late(timeout)
                continue
            user.waited()
            look(user, frame, last)

    def finish(self, cast, user):
        """Another one goes on, and all may hold frames again."""
        notes, newest, held = user.notes, cast.seq, []
        fates = [notes.fates(writer) for writer in range(self.writers)]
        sent = sum(each.count(PUT) for each in fates)
        begun = sum(len(each) - each.count(DROPPED) for each in fates)
        if not sent <= newest <= begun:
            user.tell("wrong", f"{newest} of {sent} to {begun} frames")
        for _ in range(READERS):
            cast.put(b"")
            held.append(memoryview(cast.receive(STUCK)))
        if cast.seq != newest + READERS:
            user.tell("wrong", f"{cast.seq} after {newest}, {READERS} later")
        seen = sum(
            came != 0
            for writer in range(WORKERS)
            for came in notes.all_times(writer)
        )
        return {"messages": seen, "lost": max(0, sent - newest)}


MODES = [Cast()]
