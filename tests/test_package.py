# SPDX-License-Identifier: MIT
"""What `import shmemext` shows, and what it says where it is not built."""

import importlib.metadata
import re
import rlcompleter
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from conftest import python

import shmemext
import shmemext.synchronize

ROOT = Path(__file__).parent.parent

TYPES = {"AnonymousMemory", "MappedFile", "Memory"}
FUNCTIONS = {"collect", "install", "segments", "uninstall"}
RECORDS = {"Collected", "Family", "Process", "Segment"}
STDLIB = {"ShareableList", "SharedMemory"}
LOCKS = {*shmemext.synchronize.__all__} - {"ReadLock", "WriteLock"}
CHANNELS = {"Broadcast", "Channel", "Queue", "wait"}
PICKLES = {"dumps", "loads"}


def test_star_import_gives_what_the_stdlibs_gives_and_ours():
    """Not the records: `from multiprocessing import Process` stays what it
    was. Not the locks: threading's have the same names, as pickle has dumps()
    and loads()."""
    stdlib = import_module("multiprocessing.shared_memory")
    assert set(stdlib.__all__) == STDLIB
    assert set(shmemext.__all__) == STDLIB | TYPES | FUNCTIONS
    done = python(
        "from multiprocessing import Process\n"
        "before = {*globals(), 'before'}\n"
        "from shmemext import *\n"
        "print(*sorted(globals().keys() - before))\n"
        "print(Process.__module__)"
    )
    given, process = done.stdout.splitlines()
    assert set(given.split()) == set(shmemext.__all__)
    assert process == "multiprocessing.context"


def test_dir_shows_what_there_is_and_nothing_else():
    """Before any of it was asked for, and after."""
    done = python(
        "import shmemext\n"
        "for _ in range(2):\n"
        "    names = [n for n in dir(shmemext) if n[0] != '_']\n"
        "    print(*names)\n"
        "    [getattr(shmemext, name) for name in dir(shmemext)]\n"
    )
    for line in done.stdout.splitlines():
        names = line.split()
        assert names == sorted(set(names))
        modules = {"handoff", "shareable_list", "shared_memory"}
        public = FUNCTIONS | RECORDS | LOCKS | CHANNELS | PICKLES
        assert set(names) - {"channels", "lifetime", "synchronize"} == (
            STDLIB | TYPES | public | modules
        )
    assert set(dir(shmemext)) > {"__all__", "__doc__", "__version__"}
    assert "_family" not in dir(shmemext)


@pytest.mark.parametrize(
    "name",
    sorted(FUNCTIONS | RECORDS | LOCKS | CHANNELS | PICKLES | {"Memory"}),
)
def test_name_is_completed(name):
    complete = rlcompleter.Completer({"shmemext": shmemext}).attr_matches
    matches = complete(f"shmemext.{name[:-1]}")
    assert f"shmemext.{name}" in {match.rstrip("()") for match in matches}


def test_asking_what_there_is_imports_none_of_it():
    done = python(
        "import sys, shmemext\n"
        "dir(shmemext)\n"
        "print('shmemext.lifetime' in sys.modules)\n"
        "print('shmemext.synchronize' in sys.modules)\n"
        "print('shmemext.channels' in sys.modules)\n"
        "print('shmemext.handoff' in sys.modules)\n"
        "print('shmemext._pickles' in sys.modules)"
    )
    assert done.stdout == "False\n" * 5


def test_version_is_one_everywhere():
    """In the package, in what pip knows, in the sources, and on top of the
    changelog."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    heading = re.search(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", changes, re.M)
    assert (
        shmemext.__version__
        == importlib.metadata.version("shmemext")
        == project["version"]
        == heading[1]
    )
    assert changes.index(heading[0]) == changes.index("\n## ") + 1


# --- where it is not built


FILE = f"_shmemext{EXTENSION_SUFFIXES[0]}"


def unbuilt(where, *files, code=None):
    """What an import says where the package has no extension, or where it is
    this code."""
    source = Path(shmemext.__file__).parent
    (where / "shmemext").mkdir()
    for file in source.glob("*.py"):
        shutil.copy(file, where / "shmemext")
    for file in files:
        (where / file).touch()
    if code is not None:
        (where / "shmemext" / "_shmemext.py").write_text(code)
    done = subprocess.run(
        # what is installed, or in PYTHONPATH, would help out
        [sys.executable, "-S", "-c", "import shmemext"],
        cwd=where,
        capture_output=True,
        text=True,
        env={},
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_checkout_that_is_not_built_says_so(tmp_path):
    said = unbuilt(tmp_path, "Makefile", "setup.py")
    version = "{}.{}.{}".format(*sys.version_info)
    assert said == (
        f"ImportError: shmemext in {tmp_path}/shmemext is not built for "
        f"CPython {version}, which looks for {FILE} there: run `make build` "
        f"in {tmp_path}, or leave that folder to import the shmemext that is "
        "installed"
    )


def test_checkout_that_is_built_for_another_python(tmp_path):
    other = "_shmemext.cpython-27-linux-gnu.so"
    said = unbuilt(tmp_path, "Makefile", "setup.py", f"shmemext/{other}")
    assert f" and finds {other}, for another one: " in said
    assert f"run `make build PYTHON={sys._base_executable} VENV=.venv-" in said


def test_package_that_was_installed_for_another_python(tmp_path):
    said = unbuilt(tmp_path)
    assert said.endswith(
        f"which looks for {FILE} there: install it with the pip of this Python"
    )


def test_another_module_that_is_missing_is_named(tmp_path):
    said = unbuilt(tmp_path, code="import gone")
    assert said.startswith("ModuleNotFoundError: No module named 'gone'")
