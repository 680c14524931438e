# SPDX-License-Identifier: MIT
"""The extension and the reaper. All else is in pyproject.toml."""

import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.errors import CompileError

sys.path.insert(0, str(Path(__file__).parent / "tools"))
import archive
import look
from objects import NotCompiled, Objects

look.at_interpreter()
if (date := archive.date()) is not None:  # what packs the wheel asks for it
    os.environ["SOURCE_DATE_EPOCH"] = str(date)


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
# What nobody calls is left out.
SECTIONS = ["-ffunction-sections", "-fdata-sections"]
LEAVE_OUT = "-Wl,--gc-sections"
# Files of any length, also where words have 32 bits.
FILES = "-D_FILE_OFFSET_BITS=64"
flags = ["-std=c11", FILES, "-fvisibility=hidden", *SECTIONS, *WARNINGS]
# Has the interpreter assertions? compat.h asks, and CFLAGS in the environment
# takes the place of all of the interpreter's own.
if "-DNDEBUG" in str(sysconfig.get_config_var("CFLAGS")).split():
    flags.append("-DNDEBUG")
# Most of it calls the system, and is as quick when it is small. C throws
# nothing that tables would help to catch; CFLAGS="-O2 -g" brings them back for
# a debugger.
SMALL = [
    "-Os",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-plt",
]
# The rooms where it would be felt: a list's items take half as long again.
HOTTEST = files("core/list/*.c") + files("core/channels/ring_[pt]*.c")
HOT = {source: ["-O2"] for source in HOTTEST}
# What is installed is compiled as a whole, where the compiler can.
WHOLE = ["-flto=auto"]
if "CFLAGS" in os.environ:  # they say all of it
    SMALL, HOT, WHOLE = [], {}, []
if os.environ.get("SHMEMEXT_WERROR"):  # ours to fix, not the user's
    flags.append("-Werror")


# Whoever asks for symbols, or for what reports by them, gets them.
WANTS_SYMBOLS = re.compile(r"(^| )(-g(?!0)|-fsanitize)")


class build_extension_first(build):
    """What it lacks is said before anything else is."""

    sub_commands = sorted(build.sub_commands, key=lambda c: "ext" not in c[0])


class sdist_without_traces(sdist):
    def make_archive(self, base_name, format, *, base_dir, **others):
        if format != "gztar":
            others["base_dir"] = base_dir
            return super().make_archive(base_name, format, **others)
        path = Path(f"{base_name}.tar.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        archive.pack(base_dir, path)
        return str(path)


class build_ext_and_reaper(build_ext):
    """Compiles what has changed, and links always: that takes no time. The
    reaper is a program, of the same sources, beside the extension.

    In a checkout all is linked with symbols. What is installed has none, so
    that it is small, and the same in whatever folder it was compiled."""

    def run(self):
        asked = [os.environ.get(name, "") for name in ("CFLAGS", "LDFLAGS")]
        in_place = self.inplace or self.editable_mode
        self.strip = not (in_place or WANTS_SYMBOLS.search(" ".join(asked)))
        super().run()
        root = Path("." if self.inplace else self.build_lib)
        self.link_reaper(str(root / "shmemext"))

    def build_extensions(self):
        folders = ["csrc", *self.compiler.include_dirs]
        includes = [f"-I{folder}" for folder in folders]
        command = [*self.compiler.compiler_so, *includes, *flags, *SMALL]
        version = look.at_compiler(command)
        can = self.strip and look.can_link(command, WHOLE)
        self.whole = [*WHOLE, *SMALL] if can else []
        command += self.whole
        tag = sysconfig.get_config_var("EXT_SUFFIX").split(".")[1]
        self.objects = Objects(command, version, "build/objects", tag, HOT)
        if not self.objects.folder.exists():
            look.at_headers(command)
        self.has_glibc = bool(look.glibc(command))
        (extension,) = self.extensions
        extension.extra_objects = self.compile(extension.sources, self.force)
        extension.sources = []
        extension.extra_link_args = [*self.whole, *self.link_options()]
        self.force = self.compiler.force = True
        super().build_extensions()

    def compile(self, sources, again=False, objects=None):
        try:
            return (objects or self.objects).compile(
                sources,
                jobs=None if self.parallel is True else self.parallel,
                again=again,
                say=partial(self.announce, level=logging.INFO),
            )
        except NotCompiled as error:
            raise CompileError(str(error)) from None

    def link_options(self):
        return [LEAVE_OUT, "-s"] if self.strip else [LEAVE_OUT]

    def link_reaper(self, directory):
        """There is one for each application, as long as that lives. By musl,
        static, it takes 12 kB of memory of its own, by glibc, dynamic, 100;
        by glibc, static, two thirds of a wheel."""
        path = str(Path(directory, "shmemext-reaper"))
        if self.strip and self.has_glibc and self.link_by_musl(path):
            return
        static = ["-static"] if self.strip and not self.has_glibc else []
        self.compiler.link_executable(
            self.compile(CORE + REAPER),
            "shmemext-reaper",
            output_dir=directory,
            libraries=LIBRARIES,
            extra_postargs=[*static, *self.whole, *self.link_options()],
        )

    def link_by_musl(self, path):
        """Where it is for the machine that the extension is for."""
        if shutil.which("musl-gcc") is None:
            return False
        command = ["musl-gcc", "-O2", "-Icsrc", *flags, *SMALL, *WHOLE]
        version = look.at_compiler(command)
        objects = Objects(command, version, "build/objects", "musl")
        try:
            made = self.compile(CORE + REAPER, objects=objects)
        except CompileError:
            return False
        options = [*WHOLE, *SMALL, *self.link_options()]
        command = ["musl-gcc", "-static", *made, *options]
        self.announce(" ".join(command), level=logging.INFO)
        if subprocess.run([*command, "-o", path]).returncode != 0:
            return False
        (extension,) = self.extensions
        return machine(path) == machine(self.get_ext_fullpath(extension.name))

    def get_outputs(self):
        return [
            *super().get_outputs(),
            str(Path(self.build_lib, "shmemext", "shmemext-reaper")),
        ]


def machine(path):
    """What the head of an ELF file says: words, order, architecture."""
    head = Path(path).read_bytes()[:20]
    return head[4:6], head[18:20]


setup(
    cmdclass={
        "build": build_extension_first,
        "sdist": sdist_without_traces,
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
