# SPDX-License-Identifier: MIT
"""What runs have measured, as JSON: run.py writes it, after each question,
report.py and plots.py read it.

    machine, versions, left_out    as the last run found them
    asked      by question: when, with what load, how long it took, whether in
               a hurry, and what went wrong if it could not be answered whole
    rows       of the tables: table.Row, each with what it meets
    matrix, locks, queues          the crash matrices: by peer, by case
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from table import Row

Result = dict[str, Any]
CHANGES = ("load",)  # in what is told of a machine


def same_machine(one: dict[str, Any], other: dict[str, Any]) -> bool:
    keys = {*one, *other}.difference(CHANGES)
    return all(one.get(key) == other.get(key) for key in keys)


class Results:
    """Into a file, where there is one: what was asked before stays in it,
    and is replaced by what is asked again. Another machine's does not."""

    def __init__(
        self,
        path: Path | None,
        machine: dict[str, Any],
        versions: dict[str, str],
        left_out: dict[str, str],
    ) -> None:
        self.path = path
        self.all: Result = {"asked": {}, "rows": []}
        if path is not None and path.exists():
            before = json.loads(path.read_text())
            if same_machine(before["machine"], machine):
                self.all = before
        versions = self.all.get("versions", {}) | versions
        self.all |= {
            "machine": machine,
            "versions": versions,
            "left_out": left_out,
        }

    def begin(self, question: str, quick: bool) -> None:
        self.question, self.began = question, perf_counter()
        self.facts = {
            "at": datetime.now(UTC).isoformat(timespec="minutes"),
            "load": round(os.getloadavg()[0], 2),
            "quick": quick,
        }

    def end(
        self,
        rows: Iterable[Row] = (),
        matrix: dict[str, dict[str, str]] | None = None,
        error: str = "",
    ) -> None:
        """The question's answer is whole, or as it is."""
        name = self.question
        self.facts["seconds"] = round(perf_counter() - self.began)
        if error:
            self.facts["error"] = error
        self.all["asked"][name] = self.facts
        if matrix is not None:
            self.all[name] = matrix
        else:
            others = [r for r in self.all["rows"] if r["question"] != name]
            self.all["rows"] = others + [row.plain() for row in rows]
        self.write()

    def write(self) -> None:
        """At once, or not at all."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        half.write_text(json.dumps(self.all, indent=1) + "\n")
        half.replace(self.path)


def rounded(value: Any) -> Any:
    """To four digits, which is more than a machine repeats."""
    if isinstance(value, dict):
        return {key: rounded(of) for key, of in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def reduced(result: Result) -> str:
    """JSON with a line for each row, without what is empty."""
    head = {key: of for key, of in result.items() if key != "rows"}
    text = json.dumps(rounded(head), indent=1)
    rows = [
        json.dumps(
            {
                key: rounded(of)
                for key, of in row.items()
                if of not in ("", None)
            },
            separators=(",", ":"),
        )
        for row in result["rows"]
    ]
    lines = ",\n".join(f"  {row}" for row in rows)
    return f'{text[:-2]},\n "rows": [\n{lines}\n ]\n}}\n'


def loaded(path: Path) -> Result:
    """Of either kind."""
    result: Result = json.loads(path.read_text())
    empty = dict.fromkeys(Row.__dataclass_fields__) | {"note": "", "met": None}
    result["rows"] = [{**empty, **row} for row in result["rows"]]
    return result


def caption_of(result: Result, questions: Iterable[str]) -> tuple[str, float]:
    """The date of the last of them, and the highest load at which one
    began."""
    facts = [result["asked"][q] for q in questions if q in result["asked"]]
    if not facts:
        return "", result["machine"]["load"]
    return max(f["at"] for f in facts)[:10], max(f["load"] for f in facts)
