# SPDX-License-Identifier: MIT
"""python -m shmemext, and the script `shmemext`: see _command."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        from . import _command  # which takes most of the time
    except KeyboardInterrupt:
        return 130
    return _command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
