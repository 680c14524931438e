# SPDX-License-Identifier: MIT
"""The command line: what is in /dev/shm, and what of it may go.

A command is a function of its module, ls.py and so on, which takes the
options that arguments.py has read and the Output to write to, and returns an
exit status.
"""

import sys
from collections.abc import Sequence

from .arguments import read
from .output import Output, Unwritable
from .status import FAILED, INTERRUPTED, UNHEARD
from .text import printable

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status, but raises SystemExit after --help and wrong
    arguments, as argparse has it."""
    output = Output()
    try:
        run, options = read(
            sys.argv[1:] if arguments is None else arguments, output
        )
        output.check()
        output.colour(getattr(options, "color", "auto"))
        status = run(options, output)
        output.flush()
        return status
    except BrokenPipeError:  # `ls | head`: what is left has nowhere to go
        return UNHEARD
    except KeyboardInterrupt:
        return INTERRUPTED
    except Unwritable as error:
        reason = str(error)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        reason = f"{printable(where)}{error.strerror or error}"
    output.drop()
    output.complain(reason)
    return FAILED
