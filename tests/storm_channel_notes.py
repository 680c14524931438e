# SPDX-License-Identifier: MIT
"""What the users of a storm (storm_channels.py) note, and messages by which
each byte can be told.

Whoever is killed leaves its notes to those who count: each word and byte is
written by one place alone, in which one process lives at a time."""

import random
import struct

WORKERS = 6
NUMBERS = 1 << 17  # of messages that one writes
WORDS = (
    *("pid", "operations", "killed", "next", "longest"),
    *("short_begun", "short_put", "short_came", "late", "twice"),
)
POINTS = (
    "put, not noted",
    "reserved, half written",
    "sent, not noted",
    "got, not noted",
    "in hand, half read",
    "in hand, noted",
    "forked with it in hand",
    "forked with it open",
    "in a handler while it waits",
)
NEW, BEGUN, PUT, DROPPED = range(4)
COLUMNS = {word: i for i, word in enumerate((*WORDS, *POINTS))}


class Notes:
    WORDS_SIZE = 8 * WORKERS * len(COLUMNS)
    FATES = WORDS_SIZE
    CAME = FATES + WORKERS * NUMBERS
    SIZE = CAME + WORKERS * WORKERS * NUMBERS

    def __init__(self, memory):
        self.all = memory.buf
        self.words = self.all[: self.WORDS_SIZE].cast("Q")

    def release(self):
        self.words.release()

    def get(self, place, word):
        return self.words[place * len(COLUMNS) + COLUMNS[word]]

    def set(self, place, word, value):
        self.words[place * len(COLUMNS) + COLUMNS[word]] = value

    def add(self, place, word, count=1):
        self.words[place * len(COLUMNS) + COLUMNS[word]] += count

    def total(self, word):
        return sum(self.get(place, word) for place in range(WORKERS))

    # What became of a message

    def _fate_at(self, writer, number):
        return self.FATES + writer * NUMBERS + number

    def fate(self, writer, number):
        return self.all[self._fate_at(writer, number)]

    def set_fate(self, writer, number, fate):
        self.all[self._fate_at(writer, number)] = fate

    def fates(self, writer):
        begin = self._fate_at(writer, 0)
        return bytes(self.all[begin : begin + self.get(writer, "next")])

    # How often each reader had it

    def _came_at(self, reader, writer, number):
        return self.CAME + (reader * WORKERS + writer) * NUMBERS + number

    def note(self, reader, writer, number):
        at = self._came_at(reader, writer, number)
        self.all[at] = min(self.all[at] + 1, 255)

    def times(self, writer, number):
        return sum(
            self.all[self._came_at(reader, writer, number)]
            for reader in range(WORKERS)
        )

    def all_times(self, writer):
        count = self.get(writer, "next")
        rows = []
        for reader in range(WORKERS):
            begin = self._came_at(reader, writer, 0)
            rows.append(bytes(self.all[begin : begin + count]))
        return [sum(column) for column in zip(*rows, strict=True)]


# --- Messages

HEADER = struct.Struct("<IIQ")  # whose, its number, bytes of it
TOLD = HEADER.size  # shorter ones are only counted
LONGEST = 6000
STEPS = 4096
PATTERN = random.Random(1).randbytes(LONGEST + STEPS)


def any_length(chance):
    """Most are short; some are empty."""
    most = 64 if chance.random() < 0.75 else LONGEST
    return chance.randrange(most)


def body(writer, number, length):
    begin = (number * 31 + writer * 7) % STEPS
    return PATTERN[begin : begin + length - TOLD]


def message(writer, number, length):
    if length < TOLD:
        return PATTERN[:length]
    return HEADER.pack(writer, number, length) + body(writer, number, length)


def read(data):
    """Whose it is, and its number: None if it is too short to say. ValueError
    if it is none of ours."""
    length = len(data)
    if length < TOLD:
        if data != PATTERN[:length]:
            raise ValueError(f"a short one of other bytes: {bytes(data)!r}")
        return None
    writer, number, said = HEADER.unpack_from(data)
    if writer >= WORKERS or number >= NUMBERS or said != length:
        raise ValueError(f"no message: {bytes(data[:TOLD])!r}")
    if data[TOLD:] != body(writer, number, length):
        raise ValueError(f"{number} of {writer} has other bytes")
    return writer, number
