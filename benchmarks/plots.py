# SPDX-License-Identifier: MIT
"""Draws the pictures of docs/img from the JSON that a run has left:

    python benchmarks/plots.py build/bench.json docs/img

pictures.py has those of times, cells.py the crash matrices, drawing.py what
they have in common. Needs matplotlib."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cells
import drawing
import pictures
from results import Result, loaded

COLOURS = 96  # of a picture

PICTURES: dict[str, Callable[[Result], Any]] = {
    "lifecycle": pictures.lifecycle,
    "handoff": pictures.handoff,
    "objects": pictures.objects,
    "channels": pictures.channels,
    "locks": pictures.locks,
    "first-create": pictures.crowded,
    "lists": pictures.lists,
    "crash-matrix": cells.matrix,
    "crash-locks": cells.locks,
    "crash-queues": cells.queues,
}


def made_small(path: Path) -> None:
    """There are few colours in it, so it need not have room for all."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS)
    small.save(path, optimize=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("json", type=Path, help="what run.py --json wrote")
    parser.add_argument("directory", type=Path, help="where the pictures go")
    options = parser.parse_args(arguments)
    if drawing.matplotlib is None:
        parser.error("matplotlib is not installed; make bench-plots does that")
    drawing.matplotlib.use("agg")
    result = loaded(options.json)
    options.directory.mkdir(parents=True, exist_ok=True)
    with drawing.plt.rc_context(drawing.STYLE):
        for name, draw in PICTURES.items():
            figure = draw(result)
            path = options.directory / f"{name}.png"
            figure.savefig(path)
            made_small(path)
            drawing.plt.close(figure)
            print(f"{path}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
