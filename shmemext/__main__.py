# SPDX-License-Identifier: MIT
"""python -m shmemext, and the script `shmemext`: see _command."""

import sys

from ._command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
