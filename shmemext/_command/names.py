# SPDX-License-Identifier: MIT
"""Names alone, one after the other, as -q writes them and `rm -` reads."""

import argparse
import errno
import os
import sys

from .output import Output
from .status import FAILED, OK
from .text import printable, some


def put_names(
    names: list[str], options: argparse.Namespace, output: Output
) -> int:
    """A name that would be read as two is none to give to rm."""
    if options.null:
        output.put_names(names, "\0")
        return OK
    output.put_names([name for name in names if "\n" not in name], "\n")
    torn = [printable(name) for name in names if "\n" in name]
    if torn:
        output.complain(
            f"left out, as there are newlines in them: {some(torn)} "
            "(--null ends names otherwise)"
        )
    return FAILED if torn else OK


def read_names(options: argparse.Namespace) -> list[str]:
    """From standard input."""
    if sys.stdin is None:
        reason = os.strerror(errno.EBADF)
        raise OSError(errno.EBADF, reason, "standard input")
    end = b"\0" if options.null else b"\n"
    names = sys.stdin.buffer.read().split(end)
    return [os.fsdecode(name) for name in names if name]
