# SPDX-License-Identifier: MIT
"""What the pictures have in common: how a side looks, dots, bars, words below.

Ours is blue and round, what the standard library has is orange and square, in
all of them. Two more may have colours; the rest are grey. The colours are
told apart by the colour-blind (Okabe and Ito's), the markers without any. A
picture is as narrow as a telephone, and its letters are for that."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from machine import caption
from results import Result, caption_of
from table import FLOOR, OURS

try:
    import matplotlib
    from matplotlib import pyplot as plt
except ImportError:
    matplotlib = plt = None

WIDTH = 6.4  # inches
LETTERS = 96  # of a line of the words below
STYLE = {
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.15,
}

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
PALE_BLUE, PALE_ORANGE = "#DCECF7", "#FBE3D2"
GREY, INK = "#A0A0A0", "#222222"

Spread = tuple[float, float, float]  # median, p25, p75


class Look(NamedTuple):
    colour: str
    marker: str
    line: str = "-"
    hollow: bool = False


OUR_LOOK = Look(BLUE, "o")
THEIR_LOOK = Look(ORANGE, "s")
GREY_LOOK = Look(GREY, "D")
# The standard library's, by what is compared with.
LOOKS = dict.fromkeys(
    ("stdlib", "pickle", "multiprocessing", "mp.Queue"), THEIR_LOOK
) | {
    "shmemext arrays": Look(BLUE, "o", "--", hollow=True),
    "mp.Pipe": Look(GREEN, "^", "-."),
    "posix_ipc": Look(PINK, "v", ":"),
}


def look(side: str) -> Look:
    if side in LOOKS:
        return LOOKS[side]
    return OUR_LOOK if side.startswith(OURS) else GREY_LOOK


def label(result: Result, side: str) -> str:
    """With the version of a peer from outside."""
    version = result["versions"].get(side, "")
    ours = side.startswith(OURS)
    return side if ours or not version else f"{side} {version}"


def times(result: Result, question: str, work: str) -> dict[str, Spread]:
    """Median, p25 and p75 of each side that has an answer."""
    return {
        row["side"]: tuple(row["time"][k] for k in ("median", "p25", "p75"))
        for row in result["rows"]
        if (row["question"], row["work"]) == (question, work) and row["time"]
    }


def works(result: Result, question: str) -> list[str]:
    rows = result["rows"]
    return list(
        dict.fromkeys(r["work"] for r in rows if r["question"] == question)
    )


def figure(rows: int, height: float, **more: Any) -> tuple[Any, list[Any]]:
    made, panels = plt.subplots(
        rows, 1, figsize=(WIDTH, height), squeeze=False, **more
    )
    return made, [row[0] for row in panels]


def below(of: Any, result: Result, text: str, *questions: str) -> None:
    """What it shows, and what it was measured on."""
    date, load = caption_of(result, questions)
    machine = caption({**result["machine"], "load": load})
    version = result["versions"].get(OURS, "")
    words = f"{text} shmemext {version}, {machine}, {date}"
    of.supxlabel(
        textwrap.fill(words.strip(" ,"), LETTERS),
        x=0.01,
        ha="left",
        fontsize=8.5,
        color="0.35",
    )


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def many(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.5 else f"{value:.1f}"


def bars(axes: Any, result: Result, of: Mapping[str, Spread]) -> None:
    """One for each side, its name beside it, from zero; and the floor."""
    sides = [side for side in of if not side.startswith(FLOOR)]
    room = max(of[side][0] for side in sides) if sides else 1.0
    for at, side in enumerate(sides):
        median = of[side][0]
        axes.barh(at, median, 0.72, color=look(side).colour)
        axes.text(
            median + room * 0.012, at, number(median), va="center", fontsize=10
        )
    if FLOOR in of:
        axes.axvline(of[FLOOR][0], color=INK, linewidth=1.3, linestyle=":")
    axes.set_yticks(range(len(sides)), [label(result, one) for one in sides])
    named(axes, sides)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, room * 1.1)


def named(axes: Any, sides: Sequence[str]) -> None:
    """The names of those that have a colour have it too."""
    for text, side in zip(axes.get_yticklabels(), sides, strict=True):
        if look(side) is not GREY_LOOK:
            text.set_color(look(side).colour)
            text.set_weight("bold")


def dots(
    axes: Any,
    rows: Mapping[str, Mapping[str, float]],
    note: Callable[[Mapping[str, float]], str] | None = None,
    names: Mapping[str, str] | None = None,
) -> None:
    """A line for each work, a dot on it for each side, on an axis that is
    logarithmic; a word at its end. Names are of sides in the legend, which
    have another one there."""
    seen: set[str] = set()
    # ours is drawn last, over the others
    order = [GREY, PINK, GREEN, ORANGE, BLUE]
    for at, of in enumerate(rows.values()):
        axes.plot(
            [min(of.values()), max(of.values())],
            [at, at],
            color="0.85",
            linewidth=3,
            zorder=1,
        )
        for side in sorted(of, key=lambda one: order.index(look(one).colour)):
            how = look(side)
            axes.plot(
                of[side],
                at,
                how.marker,
                color=how.colour,
                markerfacecolor="white" if how.hollow else how.colour,
                markeredgewidth=1.8 if how.hollow else 1,
                markersize=6 if how is GREY_LOOK else 9,
                label=None
                if side in seen or how is GREY_LOOK
                else (names or {}).get(side, side),
                zorder=3,
            )
            seen.add(side)
        if note is not None:
            axes.annotate(
                note(of),
                (1.02, at),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=10,
                annotation_clip=False,
            )
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x", color="0.9", linewidth=0.8)
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.xaxis.set_major_formatter(
        matplotlib.ticker.FuncFormatter(
            lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"
        )
    )


def legend(of: Any, axes: Any, first: Sequence[str] = ()) -> None:
    """Above all panels, in one order."""
    handles, names = axes.get_legend_handles_labels()
    found = dict(zip(names, handles, strict=True))
    ordered = sorted(
        found, key=lambda name: first.index(name) if name in first else 99
    )
    of.legend(
        [found[name] for name in ordered],
        ordered,
        loc="outside upper left",
        ncols=4,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def greys(result: Result, sides: Sequence[str]) -> str:
    """Who the grey ones are."""
    names = [label(result, side) for side in sides if look(side) is GREY_LOOK]
    return f"Grey: {', '.join(dict.fromkeys(names))}." if names else ""
