# SPDX-License-Identifier: MIT
"""Installs the peers of the dependency groups `bench` and, if that is asked
for, `bench-large`, one by one, into the environment of the interpreter that
runs this. One that does not install is named with its reason, and left out of
the tables; nothing fails."""

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="these too")
    options = parser.parse_args()
    groups = tomllib.loads(PYPROJECT.read_text())["dependency-groups"]
    wanted = groups["bench"] + groups["bench-large"] * options.large
    left_out = reasons()
    for requirement in wanted:
        why = installed(requirement)
        name = re.split(r"[^\w.-]", requirement)[0].lower()
        left_out.pop(name, None)
        if why:
            left_out[name] = why
            print(f"left out: {requirement}: {why}", file=sys.stderr)
    LEFT_OUT.write_text(json.dumps(left_out, indent=1) + "\n")


if __name__ == "__main__":
    main()
