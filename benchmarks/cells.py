# SPDX-License-Identifier: MIT
"""The pictures of the crash matrices: a line for each peer, a cell for each
case, which says in a word how it went."""

from __future__ import annotations

import textwrap
from functools import partial
from typing import Any

import crash_matrix
from drawing import (
    BLUE,
    INK,
    PALE_BLUE,
    PALE_ORANGE,
    WIDTH,
    below,
    look,
    plt,
)
from results import Result
from table import OURS

LETTERS = 8  # of a word that fits into a cell
LINE = 0.34  # inches, of a peer
HEAD = 1.25

WORDS = {
    "matrix": "left: the name stays. gone: it was taken from its users. "
    "-: not for this peer.",
    "locks": "silent: the next one is not told. stuck, hangs: nobody has it "
    "any more. lost: one less for everybody. -: not there.",
    "queues": "lost: with its receiver. stuck: nobody gets anything any "
    "more. left: its name stays. garbage: what nobody sent. -: not there.",
}


def word_of(cell: str) -> str:
    if cell.startswith("not run"):
        return "not run"
    word = crash_matrix.short(cell)
    for part in ("SIG", "OS", "EOF", "Value", "Type", "Runtime"):
        word = word.replace(part, f"{part} ")
    return "\n".join(textwrap.wrap(word, LETTERS - 1))


def cell_at(axes: Any, x: int, y: int, cell: str) -> None:
    good = cell == "pass"
    quiet = cell == crash_matrix.NONE or cell.startswith("not run")
    axes.add_patch(
        plt.Rectangle(
            (x + 0.03, y + 0.05),
            0.94,
            0.9,
            facecolor="0.96" if quiet else PALE_BLUE if good else PALE_ORANGE,
            edgecolor="none",
        )
    )
    word = word_of(cell)
    axes.text(
        x + 0.5,
        y + 0.5,
        word,
        ha="center",
        va="center",
        fontsize=9 if len(word) < 5 else 8 if len(word) < 6 else 7.5,
        linespacing=0.9,
        color="0.6" if quiet else BLUE if good else INK,
        weight="normal" if good or quiet else "bold",
    )


def matrix(result: Result, name: str = "matrix") -> Any:
    cells = {
        peer: of
        for peer, of in (result.get(name) or {}).items()
        if set(of.values()) != {crash_matrix.NONE}
    }
    cases, _ = crash_matrix.ASKED["memory" if name == "matrix" else name]
    height = HEAD + LINE * len(cells) + 0.6
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    for y, of in enumerate(cells.values()):
        for x, case in enumerate(cases):
            cell_at(axes, x, y, of.get(case, crash_matrix.NONE))
    titles = [textwrap.fill(words, 23) for words, _, _ in cases.values()]
    axes.set_xticks(
        [x + 0.45 for x in range(len(cases))],
        titles,
        rotation=50,
        ha="left",
        rotation_mode="anchor",
        linespacing=0.9,
    )
    axes.set_yticks(
        [y + 0.5 for y in range(len(cells))],
        list(cells),
    )
    for text, peer in zip(axes.get_yticklabels(), cells, strict=True):
        if peer.startswith(OURS):
            text.set_color(look(peer).colour)
            text.set_weight("bold")
    axes.set_xlim(0, len(cases))
    axes.set_ylim(max(len(cells), 1), 0)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
    below(figure, result, WORDS[name], name)
    return figure


locks = partial(matrix, name="locks")
queues = partial(matrix, name="queues")
