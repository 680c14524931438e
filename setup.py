# SPDX-License-Identifier: MIT
"""The extension and the reaper. All else is in pyproject.toml."""

import logging
import os
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

sys.path.insert(0, str(Path(__file__).parent / "tools"))
import look
from objects import NotCompiled, Objects

look.at_interpreter()


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
    # Old and new compilers lay atomic numbers of 64 bits out differently in
    # some structs: ours are all of one compiler, but for the ledgers' records.
    "-Wno-psabi",
]
# Empty since glibc 2.34, and in musl: shm_open() and threads are in libc.
LIBRARIES = ["rt", "pthread"]
# Files of any length, also where words have 32 bits.
FILES = "-D_FILE_OFFSET_BITS=64"
flags = ["-std=c11", FILES, "-fvisibility=hidden", *WARNINGS]
# Has the interpreter assertions? compat.h asks, and CFLAGS in the environment
# takes the place of all of the interpreter's own.
if "-DNDEBUG" in str(sysconfig.get_config_var("CFLAGS")).split():
    flags.append("-DNDEBUG")
if os.environ.get("SHMEMEXT_WERROR"):  # ours to fix, not the user's
    flags.append("-Werror")


class build_extension_first(build):
    """What it lacks is said before anything else is."""

    sub_commands = sorted(build.sub_commands, key=lambda c: "ext" not in c[0])


class build_ext_and_reaper(build_ext):
    """Compiles what has changed, and links always: that takes no time. The
    reaper is a program, of the same objects, beside the extension."""

    def run(self):
        super().run()
        root = Path("." if self.inplace else self.build_lib)
        self.link_reaper(self.compile(CORE + REAPER), str(root / "shmemext"))

    def build_extensions(self):
        folders = ["csrc", *self.compiler.include_dirs]
        includes = [f"-I{folder}" for folder in folders]
        command = [*self.compiler.compiler_so, *includes, *flags]
        tag = sysconfig.get_config_var("EXT_SUFFIX").split(".")[1]
        version = look.at_compiler(command)
        self.objects = Objects(command, version, "build/objects", tag)
        if not self.objects.folder.exists():
            look.at_headers(command)
        (extension,) = self.extensions
        extension.extra_objects = self.compile(extension.sources, self.force)
        extension.sources = []
        self.force = self.compiler.force = True
        super().build_extensions()

    def compile(self, sources, again=False):
        try:
            return self.objects.compile(
                sources,
                jobs=None if self.parallel is True else self.parallel,
                again=again,
                say=partial(self.announce, level=logging.INFO),
            )
        except NotCompiled as error:
            raise CompileError(str(error)) from None

    def link_reaper(self, objects, directory):
        """Statically, where that makes a program that runs: it lives as long
        as the application, and takes half the memory so."""

        def link(*options):
            self.compiler.link_executable(
                objects,
                "shmemext-reaper",
                output_dir=directory,
                libraries=LIBRARIES,
                # it needs a part of the core only
                extra_postargs=["-Wl,--gc-sections", *options],
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
    cmdclass={
        "build": build_extension_first,
        "build_ext": build_ext_and_reaper,
    },
    ext_modules=[
        Extension(
            "shmemext._shmemext",
            sources=[*CORE, *files("py/**/*.c")],
            libraries=LIBRARIES,
        )
    ],
)
