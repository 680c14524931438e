# SPDX-License-Identifier: MIT
"""Installs the peers of the dependency group `bench`, one by one, into the
environment of the interpreter that runs this. One that does not install is
named with its reason, and left out of the tables; nothing fails."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
LEFT_OUT = Path(sys.prefix, "shmemext-bench-left-out.json")
TIMEOUT = 600  # seconds, for a peer that has to be compiled


def reasons() -> dict[str, str]:
    """By the package's name in small letters, of the last try."""
    try:
        found: dict[str, str] = json.loads(LEFT_OUT.read_text())
    except FileNotFoundError:
        return {}
    return found


def installed(requirement: str) -> str:
    """Nothing, or why it is not."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    command = [*pip, "install", "--quiet", "--prefer-binary", requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return f"not installed in {TIMEOUT} s"
    if done.returncode == 0:
        return ""
    lines = [
        line for line in done.stderr.splitlines() if line.startswith("ERROR")
    ]
    return (lines or ["ERROR: pip failed"])[0].removeprefix("ERROR: ")[:160]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    group = tomllib.loads(PYPROJECT.read_text())["dependency-groups"]["bench"]
    left_out = {}
    for requirement in group:
        why = installed(requirement)
        if why:
            name = re.split(r"[^\w.-]", requirement)[0].lower()
            left_out[name] = why
            print(f"left out: {requirement}: {why}", file=sys.stderr)
    LEFT_OUT.write_text(json.dumps(left_out, indent=1) + "\n")


if __name__ == "__main__":
    main()
