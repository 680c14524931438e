# SPDX-License-Identifier: MIT
"""How the command writes and reads names, sizes and times."""

import argparse
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches

from ..lifetime import Process

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_AGES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))

# What it means for a family.
NO_REAPER = "if it is killed, its names stay until the next sweep, or gc"


def printable(name: str) -> str:
    """What a terminal can be trusted with, on one line."""
    text = os.fspath(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cells(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):  # goes on top
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def beginning(text: str, width: int, dots: str) -> str:
    """Of what is longer, as much as fits, and dots."""
    if cells(text) <= width:
        return text
    return _first(text, width - len(dots)) + dots


def both_ends(text: str, width: int, dots: str) -> str:
    """Of what is longer: names that a program numbers differ at the end."""
    if cells(text) <= width:
        return text
    room = width - len(dots)
    end = _first(text[::-1], room // 2)[::-1]
    return _first(text, room - cells(end)) + dots + end


def _first(text: str, room: int) -> str:
    for at, character in enumerate(text):
        room -= _cells_of(character)
        if room < 0:
            return text[:at]
    return text


def human(size: int) -> str:
    """Three digits or so, in powers of 1024."""
    value, unit = float(size), 0
    while round(value, 1) >= 1024 and unit + 1 < len(_UNITS):
        value, unit = value / 1024, unit + 1
    text = f"{value:.{1 if value < 10 else 0}f}".removesuffix(".0")
    return f"{text} {_UNITS[unit]}"


def brief(size: int) -> str:
    """The same in five letters, for narrow tables."""
    number, unit = human(size).split()
    return number + unit[0]


def age(seconds: float) -> str:
    for unit, length in _AGES:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return "0s"


def duration(text: str) -> float:
    """10m, 2h, 7d: in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number and one of s, m, h, d"
        )
    return float(match[1]) * dict(_AGES).get(match[2], 1)


def beginning_of_id(word: str) -> str:
    if re.fullmatch("[0-9a-f]{1,32}", word) is None:
        raise argparse.ArgumentTypeError(
            f"{word!r} does not begin an id, which is of hexadecimal digits"
        )
    return word


def process_name(process: Process) -> str:
    return f"{printable(process.command)} {process.pid}"


def count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


def some(words: Sequence[str]) -> str:
    """Three, and how many there are besides."""
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more


def either(words: Iterable[str]) -> str:
    """a, b or c."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def meant(word: str, words: Iterable[str]) -> str:
    """A question, if it looks like one of them."""
    close = get_close_matches(word, list(words), 1)
    return f"; did you mean {close[0]}?" if close else ""


def one_of(what: str, words: Sequence[str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        if word not in words:
            raise argparse.ArgumentTypeError(
                f"{word!r} is no {what}: {either(words)}{meant(word, words)}"
            )
        return word

    return check


def of_other_versions(directories: list[str]) -> Iterator[str]:
    if directories:
        names = some(list(map(printable, directories)))
        yield f"made by another version of shmemext, and left alone: {names}"
