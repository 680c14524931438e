# SPDX-License-Identifier: MIT
"""Makes the virtual environment in which the Makefile does everything.

    python3 tools/environment.py .venv         with what the build needs
    python3 tools/environment.py .venv test    and what that group needs

Where it stops it says why, and the next call goes on from there.
"""

import os
import subprocess
import sys
from pathlib import Path

import look


def main(where, group=None):
    python = Path(where, "bin", "python")
    if group is None:
        look.at_interpreter()
        look.at_environment()
        make(where, python)
        wanted = ["--upgrade", "pip", "setuptools>=77"]
    else:
        wanted = ["--prefer-binary", "--group", group]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    if not done([*pip, "install", *wanted]):
        look.stop(
            "needs what pip fetches, and pip could not fetch it: is there a "
            "network, or an index in pip's configuration? "
            "The next make goes on from here."
        )


def make(where, python):
    """Again, where it is: what is half made is made whole. One whose
    interpreter has been removed since can only be replaced."""
    is_dead = Path(where, "pyvenv.cfg").exists() and not python.exists()
    clear = ["--clear"] if is_dead else []
    if not done([sys.executable, "-m", "venv", *clear, where]):
        look.stop(
            f"is built in a virtual environment: see above why {where} "
            "could not be made."
        )


def done(command):
    environment = dict(os.environ, PYTHONWARNINGS="ignore")
    return subprocess.run(command, env=environment).returncode == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
