# SPDX-License-Identifier: MIT
"""Names alone, one after the other, as -q writes them and `rm -` reads."""

import argparse
import errno
import os
import select
import sys

from .._ledgers import DIRECTORY
from .output import Output, wait_for
from .status import FAILED, OK
from .text import printable, some

_FOLDER = f"{DIRECTORY}/"


def bare(given: str) -> str:
    """The name that is meant: by its path, by shm_open(3), or by itself."""
    return given.removeprefix(_FOLDER if given.startswith(_FOLDER) else "/")


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
    try:
        names = _read().split(b"\0" if options.null else b"\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard input") from None
    return [os.fsdecode(name) for name in names if name]


def _read() -> bytes:
    """All of it, of what does not block, too."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    descriptor = sys.stdin.fileno()
    read = bytearray()
    while True:
        try:
            some_bytes = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            wait_for(descriptor, select.POLLIN)
            continue
        if not some_bytes:
            return bytes(read)
        read += some_bytes
