# SPDX-License-Identifier: MIT
"""Where the command writes: all of it, or a word about why not.

The buffers of sys.stdout and sys.stderr are gone round. One that could not be
written is tried again when the interpreter ends, which has words of its own
for that; and one whose descriptor does not block loses what does not fit.
"""

import errno
import os
import select
import shutil
import sys
from contextlib import suppress
from typing import TextIO

from .text import printable

_ENOUGH = 1 << 20  # bytes that wait, at most


class Unwritable(Exception):
    """Standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")


class Output:
    def __init__(self) -> None:
        self._waiting = bytearray()
        self._file: TextIO | None = sys.stdout
        self._encoding = getattr(self._file, "encoding", None) or "utf-8"
        self.is_terminal = self._file is not None and self._file.isatty()
        self.has_colour = self._wants_colour("auto")
        self.dots = "…" if self.shown("…") == "…" else "..."

    def check(self) -> None:
        """Better before anything is removed than after."""
        if self._file is None:
            raise Unwritable(OSError(errno.EBADF, os.strerror(errno.EBADF)))

    @property
    def columns(self) -> int:
        """How wide a line may be. What is no terminal is read by programs,
        which want all of it."""
        if not self.is_terminal:
            return sys.maxsize
        return shutil.get_terminal_size().columns

    def colour(self, when: str) -> None:
        self.has_colour = self._wants_colour(when)

    def _wants_colour(self, when: str) -> bool:
        if when != "auto":
            return when == "always"
        return (
            self.is_terminal
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )

    def shown(self, name: str) -> str:
        """As it will be on the screen: what the encoding has no letter for
        takes more room than the letter would."""
        text = printable(name)
        if text.isascii():
            return text
        coded = text.encode(self._encoding, "backslashreplace")
        return coded.decode(self._encoding)

    def put(self, text: str) -> None:
        """A line, or several."""
        line = f"{text}\n".encode(self._encoding, "backslashreplace")
        self._put(line)

    def put_names(self, names: list[str], end: str) -> None:
        """Byte by byte, so that programs find them again. A terminal gets
        what it can be trusted with."""
        if self.is_terminal and end == "\n":
            names = [self.shown(name) for name in names]
        self._put(b"".join(os.fsencode(name + end) for name in names))

    def _put(self, data: bytes) -> None:
        self._waiting += data
        if self.is_terminal or len(self._waiting) > _ENOUGH:
            self.flush()

    def flush(self) -> None:
        self.check()
        assert self._file is not None
        data, self._waiting = bytes(self._waiting), bytearray()
        try:
            _write(self._file, data, self._encoding)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unwritable(error) from None

    def answer(self, question: str) -> bytes:
        """A line of standard input, which is a terminal. Not by input(): that
        asks on standard error, which may be closed or go elsewhere, and reads
        letters, where there may be any bytes."""
        self._put(question.encode(self._encoding, "backslashreplace"))
        self.flush()
        line = sys.stdin.buffer.readline()
        if not line.endswith(b"\n"):  # the end of the input: no line is begun
            self.put("")
        return line

    def drop(self) -> None:
        """What waits is not written any more."""
        self._waiting.clear()

    def complain(self, text: str) -> None:
        """On standard error, if there is one that listens."""
        if self._waiting:
            self.flush()
        if sys.stderr is not None:
            encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
            line = f"shmemext: {text}\n".encode(encoding, "backslashreplace")
            with suppress(OSError):
                _write(sys.stderr, line, encoding)


def _write(file: TextIO, data: bytes, encoding: str) -> None:
    try:
        descriptor = file.fileno()
    except (AttributeError, OSError, ValueError):  # somebody's own
        file.write(data.decode(encoding, "backslashreplace"))
        file.flush()
        return
    file.flush()
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            wait_for(descriptor, select.POLLOUT)


def wait_for(descriptor: int, event: int) -> None:
    waiting = select.poll()
    waiting.register(descriptor, event)
    waiting.poll()
