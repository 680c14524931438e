# SPDX-License-Identifier: MIT
"""Draws the pictures of docs/img from the JSON that a run has left:

    python benchmarks/plots.py build/bench.json docs/img

They can be read without colours: hatches, markers and line styles tell the
sides apart. Needs matplotlib."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crash_cases import CASES
from crash_matrix import short
from handoff import ARRAY, SIZES, words
from machine import caption
from table import FLOOR, HANDOFF, OURS, STDLIB

try:
    import matplotlib
    from matplotlib import pyplot as plt
except ImportError:
    matplotlib = None

Result = dict[str, Any]

# The same side looks the same in all pictures: grey, hatch, marker, line.
LOOKS = {
    FLOOR: ("0.0", "", "", ":"),
    OURS: ("0.15", "", "o", "-"),
    "shmemext write()": ("0.0", "", "H", "-"),
    "shmemext Anonymous": ("0.3", "", "8", "--"),
    STDLIB: ("0.95", "////", "s", "--"),
    "stdlib untracked": ("0.95", "....", "D", "-."),
    "shmemext reserve=False": ("0.45", "", "h", "-"),
    "posix_ipc": ("0.75", "\\\\\\\\", "^", "-."),
    "sysv_ipc": ("0.75", "xxxx", "v", ":"),
    "SharedArray": ("0.75", "----", "<", "--"),
    "joblib memmap": ("0.5", "", ">", "-."),
    "mp.Pipe": ("0.5", "", "P", "-"),
    "mp.Queue": ("0.5", "", "X", "--"),
    "mp.RawArray": ("0.5", "", "*", ":"),
    "Manager().list()": ("0.5", "", "d", ":"),
    "faster-fifo": ("0.5", "", "p", "-."),
    "iceoryx2": ("0.6", "", ".", "-"),
    "pyshmem": ("0.6", "", "x", "--"),
    "LMDB": ("0.5", "", "1", "-"),
    "UltraDict": ("0.5", "", "2", "--"),
    "shared-memory-dict": ("0.5", "", "3", ":"),
}
PLAIN = ("0.5", "", "4", "-")

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "savefig.dpi": 130,
    "figure.facecolor": "white",
}


def label(result: Result, side: str) -> str:
    """With the version of a peer from outside."""
    version = result["versions"].get(side, "")
    ours = side.startswith(OURS)
    return side if ours or not version else f"{side} {version}"


def times(
    result: Result, question: str, work: str
) -> dict[str, tuple[float, float, float]]:
    """Median, p25 and p75 of each side that has an answer."""
    return {
        row["side"]: tuple(row["time"][k] for k in ("median", "p25", "p75"))
        for row in result["rows"]
        if (row["question"], row["work"]) == (question, work) and row["time"]
    }


def captioned(figure: Any, result: Result, text: str) -> None:
    """What it was measured on, below the picture."""
    about = caption(result["machine"])
    version = result["versions"].get(OURS, "")
    room = int(figure.get_figwidth() * 17)
    words_ = f"{text} shmemext {version}, {about}.".strip()
    lines = textwrap.wrap(words_, room)
    figure.text(0.01, 0.005, "\n".join(lines), fontsize=7, va="bottom")


def bars(axes: Any, result: Result, groups: dict[str, str], unit: str) -> None:
    """Groups of horizontal bars, one for each side, against the floor."""
    scale = {"us": 1, "ms": 1e3}[unit]
    seen: dict[str, None] = {}
    found = {
        title: times(result, "lifecycle", work)
        for title, work in groups.items()
    }
    for of in found.values():
        seen |= dict.fromkeys(s for s in of if not s.startswith(FLOOR))
    step = len(seen) + 1.5
    for at, of in enumerate(found.values()):
        for index, side in enumerate(seen):
            if side not in of:
                continue
            grey, hatch, _, _ = LOOKS.get(side, PLAIN)
            median, low, high = (value / scale for value in of[side])
            axes.barh(
                at * step + index,
                median,
                0.85,
                color=grey,
                hatch=hatch,
                edgecolor="black",
                linewidth=0.6,
                xerr=[[median - low], [high - median]],
                error_kw={"linewidth": 0.8},
                label=label(result, side) if at == 0 else None,
            )
        if FLOOR in of:
            floor = of[FLOOR][0] / scale
            axes.plot(
                [floor, floor],
                [at * step - 0.7, at * step + len(seen) - 0.3],
                color="black",
                linewidth=1.6,
                linestyle=":",
                label=FLOOR if at == 0 else None,
            )
    middle = (len(seen) - 1) / 2
    axes.set_yticks([at * step + middle for at in range(len(found))])
    axes.set_yticklabels(found)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"time of one cycle, {unit} (median, p25-p75)")


def lifecycle(result: Result) -> Any:
    figure, (small, large) = plt.subplots(1, 2, figsize=(9.6, 4.9))
    cycles = {
        "create\nclose\nunlink": "create, close, unlink",
        "attach\nclose": "attach, close",
        "create\nattach\nclose both\nunlink": "create, attach, close both, "
        "unlink",
    }
    bars(
        small,
        result,
        {t: f"{work} (4 KiB, untouched)" for t, work in cycles.items()},
        "us",
    )
    small.set_title("4 KiB, pages untouched")
    touched = {"attach, close": "every page read"}
    bars(
        large,
        result,
        {
            t: f"{work} (64 MiB, {touched.get(work, 'written')})"
            for t, work in cycles.items()
        },
        "ms",
    )
    large.set_title("64 MiB, pages written by creator, read by attacher")
    handles, names = small.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="upper center", ncols=5, fontsize=8, frameon=False
    )
    captioned(
        figure, result, "Dotted: the system calls alone, from C. All pinned."
    )
    figure.tight_layout(rect=(0, 0.05, 1, 0.91))
    return figure


# The three that have a label in each panel; the others are grey.
LABELLED = {
    "fresh": (HANDOFF, STDLIB, "mp.Pipe"),
    "reused": (OURS, STDLIB, "mp.RawArray"),
    "in place": ("shmemext arrays", STDLIB, "mp.RawArray"),
}


def handoff(result: Result) -> Any:
    modes = {
        "fresh": "fresh memory each time",
        "reused": "the same memory again",
        "in place": "made in place",
    }
    figure, panels = plt.subplots(
        1, 3, figsize=(10.4, 4.6), sharey=True, width_ratios=(1.25, 1, 1)
    )
    others: dict[str, None] = {}
    for axes, (mode, title) in zip(panels, modes.items(), strict=True):
        lines: dict[str, list[tuple[int, float]]] = {}
        for size in SIZES:
            work = f"hand-off of {words(size)}, {mode}"
            for side, of in times(result, "handoff", work).items():
                lines.setdefault(side, []).append((size, of[0]))
        others |= dict.fromkeys(lines)
        handoff_lines(axes, lines, LABELLED[mode])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(SIZES, [words(size) for size in SIZES], rotation=60)
        axes.set_xticks([], minor=True)
        axes.grid(True, which="major", linewidth=0.3, color="0.85")
        axes.set_title(title)
        axes.set_xlabel("size of the array")
        if lines:
            axes.legend(fontsize=8, frameon=False, handlelength=3)
    panels[0].set_ylabel("until the worker has read it and replied, ms")
    loud = {side for of in LABELLED.values() for side in of}
    grey = ", ".join(label(result, one) for one in others if one not in loud)
    captioned(
        figure,
        result,
        "Medians. The worker reads a byte of every page; slow peers are not "
        f"asked beyond {words(ARRAY)}. Grey: {grey}.",
    )
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    return figure


def handoff_lines(
    axes: Any,
    lines: dict[str, list[tuple[int, float]]],
    labelled: tuple[str, ...],
) -> None:
    looks = {
        one: ("-", "o", "black") if one.startswith(OURS) else ("--", "s", None)
        for one in labelled[:2]
    }
    looks[labelled[2]] = (":", "^", "black")
    for side, points in lines.items():
        if side not in looks:
            axes.plot(*zip(*points, strict=True), color="0.75", linewidth=0.8)
    for side, (style, marker, face) in looks.items():
        if side in lines:
            axes.plot(
                *zip(*lines[side], strict=True),
                color="black",
                linestyle=style,
                linewidth=1.8,
                marker=marker,
                markersize=5,
                markerfacecolor=face or "white",
                label=side,
            )


def lists(result: Result) -> Any:
    found = {
        row["work"]: times(result, "lists", row["work"])
        for row in result["rows"]
        if row["question"] == "lists"
    }
    figure, axes = plt.subplots(figsize=(8.4, 4.2))
    for at, of in enumerate(found.values()):
        for shift, side in ((-0.2, OURS), (0.2, STDLIB)):
            grey, hatch, _, _ = LOOKS[side]
            axes.barh(
                at + shift,
                of[side][0],
                0.38,
                color=grey,
                hatch=hatch,
                edgecolor="black",
                linewidth=0.6,
                label=label(result, side) if at == 0 else None,
            )
        times_ = of[STDLIB][0] / of[OURS][0]
        axes.text(
            of[STDLIB][0] * 1.15,
            at + 0.2,
            f"{times_:.0f} times" if times_ >= 2 else f"{times_:.1f} times",
            va="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlabel("time, us (median, logarithmic)")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 4)
    axes.set_title("ShareableList")
    axes.legend(loc="upper right", frameon=False)
    captioned(figure, result, "")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    return figure


def matrix(result: Result) -> Any:
    cells = result["matrix"]
    figure, axes = plt.subplots(figsize=(9.6, 0.8 + 0.42 * len(cells) + 0.8))
    for y, (_, of) in enumerate(cells.items()):
        for x, case in enumerate(CASES):
            cell = of[case]
            good = cell == "pass"
            quiet = cell == "-" or cell.startswith("not run")
            axes.add_patch(
                plt.Rectangle(
                    (x, y),
                    1,
                    1,
                    facecolor="white" if good or quiet else "0.8",
                    edgecolor="0.4",
                    linewidth=0.6,
                    hatch="" if good or quiet else "////",
                )
            )
            word = "not run" if cell.startswith("not run") else short(cell)
            axes.text(
                x + 0.5,
                y + 0.5,
                word,
                ha="center",
                va="center",
                fontsize=8,
                color="0.4" if quiet else "black",
                weight="normal" if good or quiet else "bold",
                bbox=None
                if good or quiet
                else {"facecolor": "white", "edgecolor": "none", "pad": 1.2},
            )
    titles = [textwrap.fill(words_, 13) for words_, _, _ in CASES.values()]
    axes.set_xticks([x + 0.5 for x in range(len(CASES))], titles)
    axes.set_yticks(
        [y + 0.5 for y in range(len(cells))],
        [label(result, name) for name in cells],
    )
    axes.set_xlim(0, len(CASES))
    axes.set_ylim(len(cells), 0)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    captioned(
        figure,
        result,
        "Hatched: it fails, and how. left: the name stays. gone: it was taken "
        "from its users. -: not for this peer.",
    )
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return figure


def in_greys(path: Path) -> None:
    """There are no colours in it, so it need not have room for them."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("L").quantize(32)
    small.save(path, optimize=True)


PICTURES: dict[str, Callable[[Result], Any]] = {
    "lifecycle": lifecycle,
    "handoff": handoff,
    "lists": lists,
    "crash-matrix": matrix,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("json", type=Path, help="what run.py --json wrote")
    parser.add_argument("directory", type=Path, help="where the pictures go")
    options = parser.parse_args(arguments)
    if matplotlib is None:
        parser.error("matplotlib is not installed; make bench-plots does that")
    matplotlib.use("agg")
    result = json.loads(options.json.read_text())
    options.directory.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        for name, draw in PICTURES.items():
            figure = draw(result)
            path = options.directory / f"{name}.png"
            figure.savefig(path)
            in_greys(path)
            plt.close(figure)
            print(f"{path}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
