# SPDX-License-Identifier: MIT
"""What a frozen program needs of shmemext that its imports do not show."""

from pathlib import Path

_package = Path(__file__).parent.parent

# A program, or it would lose its run bit; beside the extension, whose
# processes start it.
binaries = [(str(_package / "shmemext-reaper"), _package.name)]

# What is imported late, by the extension, or in a child first of all.
hiddenimports = [
    *(f"{_package.name}.{path.stem}" for path in _package.glob("*[!_].py")),
    "shmemext_family",
    "shmemext_hook",
]
