# SPDX-License-Identifier: MIT
"""The extension. Everything else about the project is in pyproject.toml."""

import os
import sys
from glob import glob

from setuptools import Extension, setup

if not sys.platform.startswith("linux"):
    sys.exit(
        f"shmemext does not build on {sys.platform} yet: it needs Linux, "
        "where shared memory has names in /dev/shm that appear whole. "
        "multiprocessing.shared_memory, which it replaces, works there."
    )

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wstrict-prototypes",
]
flags = ["-std=c11", "-fvisibility=hidden", *WARNINGS]
if os.environ.get("SHMEMEXT_WERROR"):  # ours to fix, not the user's
    flags.append("-Werror")

setup(
    ext_modules=[
        Extension(
            "shmemext._shmemext",
            sources=sorted(glob("csrc/core/*.c") + glob("csrc/py/*.c")),
            depends=sorted(glob("csrc/*/*.h")),
            extra_compile_args=flags,
        )
    ]
)
