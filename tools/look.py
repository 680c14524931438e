# SPDX-License-Identifier: MIT
"""What is missing is said in one sentence, before anything is made.

Any Python 3 can read this file: it is what tells an old one so.
"""

import itertools
import platform
import subprocess
import sys

OLDEST = (3, 11)
OLDEST_GLIBC = (2, 27)  # has memfd_create()


def stop(sentence):
    sys.exit("shmemext " + sentence)


def at_interpreter():
    """Exits where no compiler would help."""
    if not sys.platform.startswith("linux"):
        stop(
            f"does not build on {sys.platform} yet: it needs Linux, "
            "where shared memory has names in /dev/shm that appear whole. "
            "multiprocessing.shared_memory, which it replaces, works there."
        )
    name = platform.python_implementation()
    version = "{}.{}.{}".format(*sys.version_info[:3])
    oldest = "{}.{}".format(*OLDEST)
    if sys.implementation.name != "cpython":
        stop(
            f"needs CPython {oldest} or later, and {sys.executable} is "
            f"{name}, whose objects are not laid out as its C code expects: "
            "use another one, make PYTHON=python3."
        )
    if sys.version_info[:2] < OLDEST:
        stop(
            f"needs CPython {oldest} or later, and {sys.executable} is "
            f"{version}: use another one, make PYTHON=python{oldest}."
        )


def at_environment():
    """Exits where `python -m venv` would leave one without pip."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        version = "{}.{}".format(*sys.version_info[:2])
        stop(
            "is built in a virtual environment, and this Python has no "
            f"{error.name} to make one: apt install python{version}-venv "
            "(Debian, Ubuntu); Fedora has it in python3-libs, Alpine in "
            "python3."
        )


def packages():
    """All that is needed, whatever is missing: nobody is asked twice."""
    version = "{}.{}".format(*sys.version_info[:2])
    return (
        f"apt install gcc libc6-dev python{version}-dev (Debian, Ubuntu), "
        "dnf install gcc python3-devel (Fedora) or "
        "apk add gcc musl-dev python3-dev (Alpine)."
    )


def at_compiler(command):
    """What it says its version is. Exits where there is none."""
    name = " ".join(itertools.takewhile(lambda w: w[:1] != "-", command))
    try:
        done = run([*command, "--version"])
    except OSError:
        done = None
    if done is None or done.returncode != 0:
        stop(f"needs a C compiler, and there is no {name}: {packages()}")
    return done.stdout


def at_headers(command):
    """Exits where what it lacks, or what is too old, would be an error."""
    found = glibc(command)
    if found is None or preprocessed(command, "stdio.h") is None:
        stop(f"needs the C library's headers, stdio.h first: {packages()}")
    if preprocessed(command, "Python.h") is None:
        stop(f"needs Python.h, and {sys.executable} has none: {packages()}")
    if found and found < OLDEST_GLIBC:
        stop(
            "needs glibc {}.{} or later, or musl, and this is glibc "
            "{}.{}.".format(*OLDEST_GLIBC, *found)
        )


def glibc(command):
    """Its version, () with another C library, None without any."""
    words = preprocessed(command, "features.h", "__GLIBC__ __GLIBC_MINOR__")
    return words and tuple(int(word) for word in words if word.isdigit())


def preprocessed(command, header, words=""):
    """The words after macros of that header are replaced, or None."""
    text = f"#include <{header}>\n{words}\n"
    done = run([*command, "-E", "-P", "-x", "c", "-"], input=text)
    if done.returncode != 0:
        return None
    return done.stdout.splitlines()[-1].split() if words else []


def can_link(command, options):
    """By gcc: another compiler's linker may want more than the options."""
    if "Free Software Foundation" not in run([*command, "--version"]).stdout:
        return False
    text = "int main(void) { return 0; }"
    ends = ["-x", "c", "-", "-o", "/dev/null"]
    return run([*command, *options, *ends], input=text).returncode == 0


def run(command, **options):
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        **options,
    )
