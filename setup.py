# SPDX-License-Identifier: MIT
"""The extension and the reaper. All else is in pyproject.toml."""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import LinkError

if not sys.platform.startswith("linux"):
    sys.exit(
        f"shmemext does not build on {sys.platform} yet: it needs Linux, "
        "where shared memory has names in /dev/shm that appear whole. "
        "multiprocessing.shared_memory, which it replaces, works there."
    )


def files(pattern):
    return sorted(map(str, Path("csrc").glob(pattern)))


CORE = [n for n in files("core/**/*.c") if not n.endswith("/reaper.c")]
REAPER = files("core/**/reaper.c")
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wstrict-prototypes",
]
# Empty since glibc 2.34, and in musl: shm_open() and threads are in libc.
LIBRARIES = ["rt", "pthread"]
flags = ["-std=c11", "-fvisibility=hidden", *WARNINGS]
if os.environ.get("SHMEMEXT_WERROR"):  # ours to fix, not the user's
    flags.append("-Werror")


class build_ext_and_reaper(build_ext):
    """The reaper is a program: compiled and linked beside the extension."""

    def run(self):
        super().run()
        build = Path(self.build_temp)
        objects = self.compiler.compile(
            [*CORE, *REAPER],
            output_dir=str(build / "reaper"),
            include_dirs=["csrc"],
            extra_postargs=[f for f in flags if "sanitize" not in f],
        )
        root = Path("." if self.inplace else self.build_lib)
        self.link_reaper(objects, str(root / "shmemext"))

    def link_reaper(self, objects, directory):
        """Statically, where that makes a program that runs: it lives as long
        as the application, and takes half the memory so."""

        def link(*options):
            self.compiler.link_executable(
                objects,
                "shmemext-reaper",
                output_dir=directory,
                libraries=LIBRARIES,
                extra_postargs=list(options),
            )

        try:
            link("-static")
            usage = subprocess.run(
                [str(Path(directory, "shmemext-reaper"))], capture_output=True
            )
            runs = usage.returncode == 2
        except (LinkError, OSError):
            runs = False
        if not runs:  # no static libraries, or a sanitizer, which wants none
            link()

    def get_outputs(self):
        return [
            *super().get_outputs(),
            str(Path(self.build_lib, "shmemext", "shmemext-reaper")),
        ]


setup(
    cmdclass={"build_ext": build_ext_and_reaper},
    ext_modules=[
        Extension(
            "shmemext._shmemext",
            sources=[*CORE, *files("py/**/*.c")],
            include_dirs=["csrc"],
            depends=files("**/*.h"),
            libraries=LIBRARIES,
            extra_compile_args=flags,
        )
    ],
)
