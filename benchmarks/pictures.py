# SPDX-License-Identifier: MIT
"""The pictures of times. Each takes what a run has left, and is a figure."""

from __future__ import annotations

from typing import Any

from channels import FLOWS, ROUND_TRIPS
from drawing import (
    BLUE,
    ORANGE,
    bars,
    below,
    dots,
    figure,
    greys,
    label,
    legend,
    look,
    many,
    times,
    works,
)
from handoff import ARRAY, SIZES, words
from results import Result
from table import FLOOR, HANDOFF, OURS, STDLIB

MADE = "shmemext arrays"
FASTER = "times as fast"


def lifecycle(result: Result) -> Any:
    panels = {
        "4 KiB: create, close, unlink, us": (
            "create, close, unlink (4 KiB, untouched)",
            1.0,
        ),
        "4 KiB: attach, close, us": ("attach, close (4 KiB, untouched)", 1.0),
        "64 MiB: create, fill, close, unlink, ms": (
            "create, close, unlink (64 MiB, written)",
            1e3,
        ),
    }
    made, axes = figure(3, 7.6)
    for axis, (title, (work, scale)) in zip(axes, panels.items(), strict=True):
        found = times(result, "lifecycle", work)
        bars(
            axis,
            result,
            {
                side: (of[0] / scale, of[1] / scale, of[2] / scale)
                for side, of in found.items()
            },
        )
        axis.set_title(title)
    below(
        made,
        result,
        "Medians. Dotted: the system calls alone, from C.",
        "lifecycle",
    )
    return made


def lines_of(result: Result, mode: str) -> dict[str, list[tuple[int, float]]]:
    """By side, size and milliseconds."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for size in SIZES:
        work = f"hand-off of {words(size)}, {mode}"
        for side, of in times(result, "handoff", work).items():
            lines.setdefault(side, []).append((size, of[0]))
    return lines


def handoff(result: Result) -> Any:
    """The ways that need no thought, and ours that do."""
    made, (axes,) = figure(1, 5.4)
    lines = lines_of(result, "fresh")
    made_in_place = lines_of(result, "in place")
    if MADE in made_in_place:
        lines[MADE] = made_in_place[MADE]
    named = {
        "mp.Pipe": "mp.Pipe: pickled",
        STDLIB: "stdlib: a segment each time",
        HANDOFF: "shmemext hand-off",
        MADE: "shmemext arrays: made in place",
    }
    for side, points in lines.items():
        if side not in named and side != FLOOR:
            axes.plot(*zip(*points, strict=True), color="0.8", linewidth=1)
    for side, text in named.items():
        if side not in lines:
            continue
        how = look(side)
        axes.plot(
            *zip(*lines[side], strict=True),
            color=how.colour,
            linestyle=how.line,
            linewidth=2.2,
            marker=how.marker,
            markersize=6,
            markerfacecolor="white" if how.hollow else how.colour,
            label=text,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(SIZES, [words(size) for size in SIZES], rotation=35)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(True, which="major", linewidth=0.8, color="0.9")
    axes.set_title("An array to a waiting process, ms until its reply")
    axes.legend(loc="upper left")
    others = [one for one in lines if one not in named and one != FLOOR]
    grey = ", ".join(label(result, one) for one in others)
    below(
        made,
        result,
        "Medians. The process reads a byte of every page. Slow peers are not "
        f"asked beyond {words(ARRAY)}. Grey, into fresh memory: {grey}.",
        "handoff",
    )
    return made


def ratios(
    found: dict[str, dict[str, float]], base: str
) -> dict[str, dict[str, float]]:
    """How many times as fast as the base each is."""
    return {
        work: {side: of[base] / time for side, time in of.items()}
        for work, of in found.items()
        if base in of
    }


def medians(result: Result, question: str, work: str) -> dict[str, float]:
    found = times(result, question, work)
    return {side: of[0] for side, of in found.items()}


def objects(result: Result) -> Any:
    rows: dict[str, dict[str, float]] = {}
    for work in works(result, "objects"):
        name = work.partition(", against ")[0].replace(", 8 arrays", "\n8")
        rows.setdefault(name, {}).update(medians(result, "objects", work))
    for of in rows.values():
        if "mp.Queue" in of:
            of["pickle"] = of.pop("mp.Queue")
        if OURS in of:
            of[HANDOFF] = of.pop(OURS)
    made, (axes,) = figure(1, 4.6)
    found = ratios(rows, "pickle")
    names = {
        HANDOFF: "shmemext hand-off, Queue",
        "pickle": "pickles, mp.Queue",
    }
    dots(axes, found, lambda of: many(best(of)), names)
    axes.set_xlabel(f"{FASTER} as multiprocessing's pickles")
    legend(made, axes, [names["pickle"], names[HANDOFF], MADE])
    below(
        made,
        result,
        "Medians. In a queue, grey: mp.SimpleQueue, faster-fifo.",
        "objects",
    )
    return made


def best(of: Any) -> float:
    return max(value for side, value in of.items() if side.startswith(OURS))


def channels(result: Result) -> Any:
    flows = {
        f"{of}".replace(", put_many, get_many", ",\nmany at once"): {
            side: 1e6 / value
            for side, value in medians(result, "channels", of).items()
        }
        for of in FLOWS
    }
    trips = {
        f"round trip,\n{of}": medians(
            result, "channels", f"a round trip of 64 bytes, {of}"
        )
        for of, *_ in ROUND_TRIPS
    }
    frame = medians(result, "channels", "6.2 MB to two readers")
    trips["6.2 MB to two\nreaders"] = {s: v * 1e3 for s, v in frame.items()}
    flows = {work: of for work, of in flows.items() if of}
    trips = {work: of for work, of in trips.items() if of}
    made, axes = figure(2, 7.0)
    for axis, rows, title in (
        (axes[0], flows, "Messages in a second"),
        (axes[1], trips, "Until the answer is there, us"),
    ):
        dots(axis, rows)
        axis.set_title(title)
    first = [OURS, "mp.Queue", "mp.Pipe", "posix_ipc"]
    legend(made, axes[0], first)
    seen = [s for rows in (flows, trips) for of in rows.values() for s in of]
    below(made, result, f"Medians. {greys(result, seen)}", "channels")
    return made


def locks(result: Result) -> Any:
    all_works = works(result, "synchronize")
    killed = [work for work in all_works if work.endswith("is killed")]
    rows = {
        work: medians(result, "synchronize", work)
        for work in all_works
        if work not in killed
    }
    made, axes = figure(2, 7.2, height_ratios=(4, 1.25))
    dots(axes[0], ratios(rows, STDLIB), lambda of: many(best(of)))
    axes[0].set_xlabel(f"{FASTER} as multiprocessing's")
    legend(made, axes[0], [OURS, STDLIB])
    after_kill(axes[1], result, killed)
    below(
        made,
        result,
        "Medians. Below: from the SIGKILL of who has it until one who sleeps "
        "has it.",
        "synchronize",
    )
    return made


def after_kill(axes: Any, result: Result, killed: list[str]) -> None:
    """How long until one who sleeps has it; the other's axis has no end."""
    names = {work: work.partition(":")[0] for work in killed}
    most = 160.0
    for at, work in enumerate(names):
        found = times(result, "synchronize", work)
        if OURS in found:
            value = found[OURS][0]
            most = max(most, value * 1.5)
            axes.plot(value, at, "o", color=BLUE, markersize=9)
            axes.annotate(
                f"{number_of(value)} ms",
                (value, at),
                (9, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
            )
        if STDLIB not in found:
            axes.annotate(
                "stdlib: never",
                (1.0, at),
                xycoords=("axes fraction", "data"),
                va="center",
                ha="right",
                color=ORANGE,
                weight="bold",
                fontsize=10,
            )
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, most)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x", color="0.9", linewidth=0.8)
    axes.set_title("After its holder was killed, ms")


def number_of(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def crowded(result: Result) -> Any:
    """What lies in /dev/shm does not show."""
    titles = {
        "of a fresh process": "first create of a process",
        "of a forked child": "first create of a forked child",
    }
    made, axes = figure(2, 6.2, sharex=True)
    for axis, (title, work) in zip(axes, titles.items(), strict=True):
        most = 0.0
        for shift, side in ((-0.08, STDLIB), (0.08, OURS)):
            found = times(result, "crowded", f"{work}, {side}")
            if not found:
                continue
            how = look(side)
            at = [index + shift for index in range(len(found))]
            middle = [of[0] for of in found.values()]
            ends = [
                [of[0] - of[1] for of in found.values()],
                [of[2] - of[0] for of in found.values()],
            ]
            axis.errorbar(
                at,
                middle,
                ends,
                color=how.colour,
                marker=how.marker,
                markersize=8,
                linestyle=":",
                linewidth=1.2,
                elinewidth=2,
                label=side,
            )
            names = [
                name.replace(" of another user", "\nof others")
                for name in found
            ]
            axis.set_xticks(range(len(names)), names)
            most = max([most, *(of[2] for of in found.values())])
        axis.set_ylim(0, most * 1.1 or 1)
        axis.grid(True, axis="y", color="0.9", linewidth=0.8)
        axis.set_title(f"The first create {title}, us")
    legend(made, axes[0], [OURS, STDLIB])
    below(
        made,
        result,
        "By what lies in /dev/shm. Medians, and the middle half.",
        "crowded",
    )
    return made


def lists(result: Result) -> Any:
    rows = {
        work: medians(result, "lists", work) for work in works(result, "lists")
    }
    made, (axes,) = figure(1, 4.4)
    dots(axes, ratios(rows, STDLIB), lambda of: many(best(of)))
    axes.set_xlabel(f"{FASTER} as the standard library's ShareableList")
    legend(made, axes, [OURS, STDLIB])
    below(made, result, "Medians.", "lists")
    return made
