# SPDX-License-Identifier: MIT
"""The table of `ls`. On a terminal it is as wide as that is: names, families
and processes are written shorter, and no column is left out. And a plain one,
in which nothing is."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from .entries import Entry
from .output import Output
from .text import (
    age,
    beginning,
    both_ends,
    brief,
    cells,
    human,
    process_name,
)

HEADER = ("NAME", "SIZE", "HELD", "MODE", "OWNER", "AGE", "FAMILY", "OPEN IN")
_NAME, _SIZE, _HELD, _MODE, _OWNER, _AGE, _FAMILY, _OPEN_IN = range(8)
_TO_THE_RIGHT = {_SIZE, _HELD, _AGE}
_BOLD, _FAINT, _DEAD, _ALIVE = 1, 2, 31, 32
_COLOURS = {"deleted": _DEAD, "unknown": _FAINT}

Row = list[str]

# Of thousands of segments many are of one size.
_human, _brief = lru_cache(human), lru_cache(brief)


class _Style(NamedTuple):
    """A way to write a table. The first that fits is taken."""

    gap: int
    brief: bool
    least: dict[int, int]  # how narrow columns may get


_STYLES = (
    _Style(2, False, {_NAME: 20, _OWNER: 8, _OPEN_IN: 20}),
    _Style(2, True, {_NAME: 20, _OWNER: 8, _FAMILY: 10, _OPEN_IN: 20}),
    _Style(1, True, {_NAME: 12, _OWNER: 5, _FAMILY: 9, _OPEN_IN: 7}),
)
# Who gets what is left then, and up to which width.
_SHARES = (
    (_OWNER, 6),
    (_OPEN_IN, 12),
    (_NAME, 20),
    (_OPEN_IN, 20),
    (_FAMILY, 14),
    (_OWNER, 8),
    (_NAME, 255),
    (_FAMILY, 255),
    (_OPEN_IN, 1 << 16),
    (_OWNER, 255),
)


def table(entries: list[Entry], output: Output, hidden: bool) -> Iterator[str]:
    rows = [_row(one, output, hidden) for one in entries]
    limit = output.columns
    for style in _STYLES:
        if style.brief:
            for row, one in zip(rows, entries, strict=True):
                _write_sizes(row, one, _brief)
        natural = [
            max(map(cells, column))
            for column in zip(HEADER, *rows, strict=True)
        ]
        least = [
            min(width, style.least.get(column, width))
            for column, width in enumerate(natural)
        ]
        room = limit - sum(least) - style.gap * (len(HEADER) - 1)
        if room >= 0:
            break
    widths = _widths(least, natural, room)
    if widths != natural:
        for row, one in zip(rows, entries, strict=True):
            _shorten(row, widths, one, output, hidden)
    gap = " " * style.gap
    header = _line([*HEADER], widths, gap)
    yield _coloured(header, _BOLD) if output.has_colour else header
    for row, one in zip(rows, entries, strict=True):
        colour = _colour_of(one) if output.has_colour else None
        yield _line(row, widths, gap, colour)


def _widths(least: list[int], natural: list[int], room: int) -> list[int]:
    widths = [*least]
    for column, most in _SHARES:
        wanted = min(natural[column], most) - widths[column]
        given = max(0, min(wanted, room))
        widths[column] += given
        room -= given
    return widths


def _row(one: Entry, output: Output, hidden: bool) -> Row:
    row = [
        output.shown(one.name),
        "",
        "-",
        "-" if one.mode is None else f"{one.mode:04o}",
        "-" if one.owner is None else output.shown(one.owner),
        "-" if one.age is None else age(one.age),
        family_of(one),
        open_in(one, output, hidden),
    ]
    _write_sizes(row, one, _human)
    return row


def _write_sizes(row: Row, one: Entry, write: Callable[[int], str]) -> None:
    row[_SIZE] = write(one.size)
    if one.held is not None:
        row[_HELD] = write(one.held)


def _shorten(
    row: Row, widths: list[int], one: Entry, output: Output, hidden: bool
) -> None:
    """What is wider than its column."""
    dots = output.dots
    row[_NAME] = both_ends(row[_NAME], widths[_NAME], dots)
    row[_OWNER] = beginning(row[_OWNER], widths[_OWNER], dots)
    if len(row[_FAMILY]) > widths[_FAMILY]:
        row[_FAMILY] = family_of(one, widths[_FAMILY])
    if cells(row[_OPEN_IN]) > widths[_OPEN_IN]:
        row[_OPEN_IN] = open_in(one, output, hidden, widths[_OPEN_IN])


def family_of(one: Entry, width: int | None = None) -> str:
    """Whose it is: its family, and its kind where that says more; or its
    kind. An id may be cut short: --family takes the beginning of one."""
    family = one.family
    if family is None:
        return one.kind
    state = "own" if family.own else "alive" if family.alive else "dead"
    kind = "" if one.kind == "family" else one.kind
    text = f"{state} {family.id[:8]}{kind and f', {kind}'}"
    if width is None or len(text) <= width:
        return text
    return f"{kind or state} {family.id[:8]}"[:width]


def open_in(
    one: Entry, output: Output, hidden: bool, width: int | None = None
) -> str:
    """How many, and which of them as far as there is room for; if need be,
    just their pids."""
    number = f"{len(one.processes)}{'+' if hidden else ''}"
    names = [output.shown(process_name(who)) for who in one.processes]
    if width is None:
        return f"{number}: {', '.join(names)}" if names else number
    pids = [str(process.pid) for process in one.processes]
    for words in (names, pids):
        text = _as_many_as_fit(words, width - cells(f"{number}: "))
        if text:
            return f"{number}: {text}"
    return number


def _as_many_as_fit(words: list[str], width: int) -> str:
    whole = ", ".join(words)
    if cells(whole) <= width:
        return whole
    fits, text = "", ""
    for shown, word in enumerate(words[:-1], 1):
        text += f"{word}, "
        rest = f"+{len(words) - shown}"
        if cells(text) + len(rest) > width:
            break
        fits = text + rest
    return fits


def _line(
    row: Row, widths: list[int], gap: str, colour: int | None = None
) -> str:
    padded = []
    for column, cell in enumerate(row):
        width = widths[column] + len(cell) - cells(cell)
        right = column in _TO_THE_RIGHT
        padded.append(cell.rjust(width) if right else cell.ljust(width))
    if colour is not None:
        padded[_FAMILY] = _coloured(padded[_FAMILY], colour)
    return gap.join(padded).rstrip()


def _colour_of(one: Entry) -> int | None:
    if one.family is None:
        return _COLOURS.get(one.kind)
    return _ALIVE if one.family.alive else _DEAD


def _coloured(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def plain(
    header: Sequence[str], rows: list[Row], output: Output
) -> Iterator[str]:
    widths = [
        max(map(cells, column)) for column in zip(header, *rows, strict=True)
    ]
    for number, row in enumerate([[*header], *rows]):
        padded = [
            cell + " " * (width - cells(cell))
            for cell, width in zip(row, widths, strict=True)
        ]
        line = "  ".join(padded).rstrip()
        bold = output.has_colour and number == 0
        yield _coloured(line, _BOLD) if bold else line
