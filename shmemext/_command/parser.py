# SPDX-License-Identifier: MIT
"""An ArgumentParser that writes by way of an Output, and its help."""

import argparse
import textwrap
from typing import Any, NoReturn

from .output import Output
from .status import USAGE
from .text import printable


class Form(argparse.HelpFormatter):
    """Texts have paragraphs, and lists: a word, a tabulator, what it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled = []
        for line in text.splitlines():
            word, tabulator, meaning = line.partition("\t")
            filled.append(
                textwrap.fill(
                    meaning if tabulator else line,
                    width,
                    initial_indent=f"{word:<15}" if tabulator else indent,
                    subsequent_indent=" " * 15 if tabulator else indent,
                )
            )
        return "\n".join(filled)


class Parser(argparse.ArgumentParser):
    """It writes by way of an Output, and says in one line what is wrong."""

    output: Output | None = None
    name = ""  # of the command, none for all of them

    def print_help(self, file: Any = None) -> None:
        if self.output is None or file is not None:
            super().print_help(file)
        else:
            self.output.put(self.format_help().rstrip("\n"))
            self.output.flush()

    def error(self, message: str) -> NoReturn:
        output = self.output or Output()
        where = f"{self.name}: " if self.name else ""
        said = printable(f"{where}{message}")
        output.complain(f"{said} (see {self.prog} --help)")
        self.exit(USAGE)


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    return [
        option
        for action in parser._actions
        for option in action.option_strings
    ]
