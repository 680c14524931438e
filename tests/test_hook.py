# SPDX-License-Identifier: MIT
"""shmemext_hook: install() that waits for the import, and copies of
multiprocessing under other names."""

import multiprocessing
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import shmemext_family
import shmemext_hook
from shmemext import _shmemext

METHODS = ["fork", "spawn", "forkserver"]
LINE = "import shmemext_hook; shmemext_hook.install()"
HERE = str(Path(shmemext_hook.__file__).parent)
QUIET = {**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"}


def run(*command, env=None):
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=300,
        env={**QUIET, **(env or {})},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """One whose environment has shmemext, and the .pth file."""
    where = tmp_path_factory.mktemp("hooked")
    venv.EnvBuilder(symlinks=True).create(where)
    python = where / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = Path(run(python, "-Ic", code).strip())
    assert folder.is_relative_to(where)
    package = Path(_shmemext.__file__).parent
    modules = shmemext_family, shmemext_hook
    for path in package, *(Path(module.__file__) for module in modules):
        (folder / path.name).symlink_to(path)
    (folder / "shmemext.pth").write_text(LINE)
    return python


def test_the_docs_have_the_line():
    docs = Path(__file__).parent.parent / "docs" / "moving-over.md"
    assert f"```text\n{LINE}\n```" in docs.read_text()


def test_nothing_is_imported_until_somebody_asks(interpreter):
    code = """
import sys
def ours():
    return sorted(name for name in sys.modules if name.startswith("shmemext"))
assert "multiprocessing" not in sys.modules
assert ours() == ["shmemext_hook"], ours()
import multiprocessing, multiprocessing.spawn
from multiprocessing import resource_tracker
assert ours() == ["shmemext_hook"], ours()
from multiprocessing import shared_memory
import shmemext.shared_memory
assert shared_memory is shmemext.shared_memory
import multiprocessing.shared_memory as once_more
assert once_more is shared_memory is multiprocessing.shared_memory
"""
    run(interpreter, "-Ic", code)


@pytest.mark.skipif(
    sys.version_info < (3, 15), reason="start files are of Python 3.15"
)
def test_start_file_is_in_the_lines_place(interpreter):
    (line,) = interpreter.parent.parent.rglob("shmemext.pth")
    start = line.with_suffix(".start")
    start.write_text("shmemext_hook:install\n")
    code = """
import sys
from multiprocessing import shared_memory
assert shared_memory.__name__ == "shmemext.shared_memory"
import shmemext_hook
shmemext_hook.uninstall()
assert not any("shmemext" in type(f).__module__ for f in sys.meta_path)
"""
    run(interpreter, "-Ic", code)
    start.unlink()


def test_hook_itself_imports_nothing(interpreter):
    code = """
import sys
before = set(sys.modules)
import shmemext_hook
assert set(sys.modules) - before == {"shmemext_hook"}
"""
    run(interpreter, "-ISc", f"import sys; sys.path.append({HERE!r})\n{code}")


@pytest.mark.parametrize("method", METHODS)
def test_children_have_it_by_the_same_file(interpreter, tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text("""
import sys
from multiprocessing import get_context

def child(queue):
    from multiprocessing.shared_memory import SharedMemory
    queue.put(SharedMemory.__module__)

if __name__ == "__main__":
    context = get_context(sys.argv[1])
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join()
    assert queue.get() == "shmemext.shared_memory"
    # Nobody has asked for it here, but a child that is started anew.
    assert ("shmemext" in sys.modules) == (sys.argv[1] != "fork")
""")
    run(interpreter, program, method)


def test_uninstall_before_and_after_the_import(interpreter):
    code = """
import sys
import shmemext_hook
if "late" in sys.argv:
    import multiprocessing.managers
    assert "shmemext" in multiprocessing.shared_memory.__name__
shmemext_hook.uninstall()
shmemext_hook.uninstall()
import multiprocessing.managers
import multiprocessing.shared_memory as now
assert now is multiprocessing.shared_memory is (
    multiprocessing.managers.shared_memory
)
assert now.__name__ == "multiprocessing.shared_memory"
assert not any("shmemext" in type(f).__module__ for f in sys.meta_path)
"""
    run(interpreter, "-c", code)
    run(interpreter, "-c", code, "late")


def test_modules_keep_their_own_loaders(interpreter):
    code = """
import importlib, importlib.util, inspect, multiprocessing.managers
spec = importlib.util.find_spec("multiprocessing.managers")
module = multiprocessing.managers
assert spec is module.__spec__
assert module.__loader__ is spec.loader
assert "shmemext" not in type(spec.loader).__module__
assert "class SharedMemoryManager" in inspect.getsource(module)
# one that is only looked at can be read as well
spec = importlib.util.find_spec("multiprocessing.resource_tracker")
assert "def main" in spec.loader.get_source(spec.name)
"""
    run(interpreter, "-c", code)


def test_reserve_is_for_whoever_imports_us_later():
    code = """
import sys, shmemext_hook
shmemext_hook.install(reserve=False)
assert "shmemext" not in sys.modules
import os, shmemext
shm = shmemext.SharedMemory(create=True, size=1 << 20)
assert os.stat(f"/dev/shm/{shm.name}").st_blocks == 0
shm.unlink()
"""
    run(sys.executable, "-c", code)


def test_child_that_does_not_find_us_lives():
    installer = shmemext_hook._Installer([])
    assert installer.__reduce__()[0] is exec
    run(sys.executable, "-IS", "-c", installer.code)


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """multiprocessing under another name, as dill has it."""
    where = tmp_path_factory.mktemp("copied")
    (where / "copied").mkdir()
    for path in Path(multiprocessing.__file__).parent.glob("*.py"):
        text = re.sub(r"\bmultiprocessing\b", "copied", path.read_text())
        (where / "copied" / path.name).write_text(text)
    paths = [str(where), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


COPY = """
import sys
import shmemext, copied

def child(queue):
    import copied.shared_memory, multiprocessing.shared_memory as theirs
    shm = copied.shared_memory.SharedMemory(create=True, size=10)
    shm.buf[0] = 7
    queue.put((type(shm).__module__, theirs.__name__, shm.name))

if __name__ == "__main__":
    shmemext.install("copied")
    from copied import managers, resource_tracker, shared_memory
    context = copied.get_context(sys.argv[1])
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join()
    ours, theirs, name = queue.get()
    assert ours == "shmemext.shared_memory", ours
    assert theirs == "multiprocessing.shared_memory", theirs
    # The worker's name outlives it: it is of our family.
    shm = shared_memory.SharedMemory(name)
    assert shm.buf[0] == 7
    resource_tracker.unregister(shm._name, "shared_memory")
    shm.unlink()
    with managers.SharedMemoryManager(ctx=context) as manager:
        shm = manager.SharedMemory(10)
        assert type(shm) is shmemext.SharedMemory
    try:
        shmemext.SharedMemory(shm.name)
    except FileNotFoundError:
        pass
    else:
        raise AssertionError(shm.name)
    shmemext.uninstall()
    import copied.shared_memory as now
    assert now.__name__ == "copied.shared_memory"
"""


@pytest.mark.parametrize("method", METHODS)
def test_copy_of_multiprocessing_has_it(tmp_path, copied, method):
    program = tmp_path / "program.py"
    program.write_text(COPY)
    run(sys.executable, program, method, env=copied)
