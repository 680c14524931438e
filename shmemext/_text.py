# SPDX-License-Identifier: MIT
"""How the command line writes and reads names, sizes and times."""

import argparse
import os
import re
from collections.abc import Iterator, Sequence

from .lifetime import Process, Survey

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_AGES = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))

# What it means for a family.
NO_REAPER = "if it is killed, its names stay until the next sweep, or gc"


def printable(name: str) -> str:
    """What a terminal can be trusted with, on one line."""
    return "".join(
        c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(name)
    )


def human(size: int) -> str:
    """Three digits or so, in powers of 1024."""
    value, unit = float(size), 0
    while round(value, 1) >= 1024 and unit + 1 < len(_UNITS):
        value, unit = value / 1024, unit + 1
    text = f"{value:.{1 if value < 10 else 0}f}".removesuffix(".0")
    return f"{text} {_UNITS[unit]}"


def age(seconds: float) -> str:
    for unit, length in _AGES:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return "0s"


def open_in(processes: tuple[Process, ...], found: Survey) -> str:
    text = f"{len(processes)}{'+' if found.hidden else ''}"
    if processes:
        text += ": " + ", ".join(map(process_name, processes))
    return text


def process_name(process: Process) -> str:
    return f"{printable(process.command)} {process.pid}"


def name_count(count: int) -> str:
    return f"{count} name{'' if count == 1 else 's'}"


def some(words: Sequence[str]) -> str:
    """Three, and how many there are besides."""
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more


def of_other_versions(found: Survey) -> Iterator[str]:
    if found.other_versions:
        names = some(list(map(printable, found.other_versions)))
        yield f"made by another version of shmemext, and left alone: {names}"


def duration(text: str) -> float:
    """10m, 2h, 7d: in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number and one of s, m, h, d"
        )
    return float(match[1]) * dict(_AGES).get(match[2], 1)
