# SPDX-License-Identifier: MIT
"""What to say where the package is and its extension is not."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def explain(missing: ModuleNotFoundError) -> ImportError:
    """The error to raise in place of that one, in one sentence."""
    package = Path(__file__).parent
    if missing.name != f"{package.name}._shmemext":
        return missing
    wanted = package / f"_shmemext{EXTENSION_SUFFIXES[0]}"
    others = sorted(path.name for path in package.glob("_shmemext.*.so"))
    version = "{}.{}.{}".format(*sys.version_info)
    sentence = (
        f"shmemext in {package} is not built for CPython {version}, "
        f"which looks for {wanted.name} there"
    )
    if others:
        sentence += f" and finds {', '.join(others)}, for another one"
    make = package.parent / "Makefile"
    if make.exists() and (package.parent / "setup.py").exists():
        command = "make build"
        if others:  # whose environment is in use
            command += (
                f" PYTHON={getattr(sys, '_base_executable', sys.executable)}"
                f" VENV=.venv-{version.rpartition('.')[0]}{sys.abiflags}"
            )
        sentence += (
            f": run `{command}` in {package.parent}, or leave that folder to "
            "import the shmemext that is installed"
        )
    else:
        sentence += ": install it with the pip of this Python"
    return ImportError(sentence, name=missing.name, path=str(wanted))
