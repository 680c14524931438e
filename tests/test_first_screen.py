# SPDX-License-Identifier: MIT
"""`make` and `pip install .` where something is missing: one sentence that
says what, nothing that is half made, and the next try goes on from there."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from plain_c import compiler
from test_build import program, write

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tools"))
import environment  # noqa: E402
import look  # noqa: E402

VERSION = "{}.{}".format(*sys.version_info)
PROMISES = {"shared_memory", "crash", "lifetime", "shareable_list"}

# What a make that runs these tests tells the makes that it starts, and what
# the tests are about.
OURS = re.compile(
    "MAKE.*|MFLAGS|VENV|PYTHON|ARGS|CLANG|CC|CFLAGS|SHMEMEXT_.*|LD_PRELOAD"
)


def run(*command, **variables):
    others = {k: v for k, v in os.environ.items() if not OURS.fullmatch(k)}
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=600,
        env=others | variables,
    )


def sentence(done, code=1):
    """The only one that is ours."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    (said,) = re.findall(r"^shmemext .*", done.stderr, flags=re.M)
    assert said.endswith(".")
    return said


@pytest.fixture
def project(tmp_path, monkeypatch):
    pytest.importorskip("setuptools")
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- make, until it has an environment


@pytest.fixture
def checkout(project):
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    shutil.copy(ROOT / "Makefile", project)
    return project


def make(*words, **variables):
    return run("make", f"PYTHON={sys.executable}", *words, **variables)


def wheel_of(name, folder):
    """What is installed here, as pip would fetch it."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name}, which the build takes, is not installed")
    folder.mkdir()
    wheel = folder / f"{name}-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as content:
        for file in found.files:
            path = Path(found.locate_file(file))
            if ".." not in file.parts and path.suffix != ".pyc":
                content.write(path, str(file))


def test_make_goes_on_where_it_stopped(checkout):
    """First without python3-venv, then without a network. The environment
    there is what a failed `python -m venv` leaves."""
    run(sys.executable, "-m", "venv", "--without-pip", ".venv")
    lacking = checkout / "lacking"
    lacking.mkdir()
    (lacking / "ensurepip.py").write_text(
        "raise ModuleNotFoundError('as on Debian', name='ensurepip')\n"
    )
    done = make("build", PYTHONPATH=str(lacking))
    assert f"apt install python{VERSION}-venv " in sentence(done, 2)

    nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(lacking)}
    done = make("build", **nothing)
    assert "pip could not fetch" in sentence(done, 2)
    assert not list(checkout.glob(".venv/.[mb]*"))  # the stamps

    wheel_of("setuptools", checkout / "wheels")
    fetched = nothing | {"PIP_FIND_LINKS": str(checkout / "wheels")}
    done = make("build", **fetched)
    assert done.returncode == 0, done
    code = "from shmemext import _shmemext; print(_shmemext.n)"
    done = run(".venv/bin/python", "-I", "-c", code)
    assert done.stdout == "41\n", done
    assert make("-q", "build").returncode == 0


def test_make_without_python(checkout):
    done = run("make", "build", "PYTHON=no-such-python")
    said = sentence(done, 2)
    assert "there is no no-such-python: apt install python3-venv" in said
    assert not Path(".venv").exists()


def test_make_lint_without_clang(checkout):
    done = run("make", "clang", "CLANG=no-such-clang")
    assert done.returncode == 2
    assert done.stderr.startswith("make lint and make fuzz need no-such-clang")


@pytest.mark.parametrize("state", ["none", "whole", "dead", "no environment"])
def test_only_a_dead_environment_is_replaced(state, tmp_path, monkeypatch):
    """It is somebody else's folder otherwise."""
    where = tmp_path / "somewhere"
    if state != "none":
        (where / "bin").mkdir(parents=True)
    if state in ("whole", "dead"):
        (where / "pyvenv.cfg").touch()
    python = where / "bin" / "python"
    if state != "none":
        python.symlink_to(
            sys.executable if state == "whole" else tmp_path / "removed"
        )
    commands = []
    monkeypatch.setattr(
        environment, "done", lambda words: commands.append(words) or True
    )
    environment.make(str(where), python)
    (command,) = commands
    assert command[-1] == str(where)
    assert ("--clear" in command) == (state == "dead")


# --- setup.py, before it compiles


def run_setup(**variables):
    return run(sys.executable, "setup.py", "-q", "build_ext", **variables)


def test_build_without_a_compiler(project):
    said = sentence(run_setup(CC=f"{project}/cc -O1"))
    assert f"there is no {project}/cc: apt install gcc " in said
    assert all(word in said for word in ("dnf install gcc", "apk add gcc"))


def test_build_with_a_word_that_is_no_compiler(project):
    false = program(project / "launcher", "exit 1")
    said = sentence(run_setup(CC=f"{false} gcc"))
    assert f"there is no {false} gcc: apt install gcc " in said


def without(header, path):
    """The compiler, but for that header."""
    words = " ".join(compiler())
    look_for = f"#include <{header}>"
    return program(
        path,
        'for last; do :; done\n[ "$last" = - ] || '
        f'exec {words} "$@"\ninput=$(cat)\n'
        f"case $input in '{look_for}'*) exit 1 ;; esac\n"
        f'printf "%s\\n" "$input" | {words} "$@"',
    )


@pytest.mark.parametrize(
    "header, package",
    [
        ("features.h", "libc6-dev"),
        ("stdio.h", "musl-dev"),
        ("Python.h", f"python{VERSION}-dev"),
    ],
)
def test_build_without_a_header(header, package, project):
    done = run_setup(CC=without(header, project / "cc"))
    assert package in sentence(done)
    assert not Path("build/objects").exists()


def test_build_with_all_of_them(project):
    done = run_setup(CC=without("nothing.h", project / "cc"))
    assert done.returncode == 0, done


@pytest.mark.parametrize(
    "words, accepted",
    [("2 26", False), ("2 27", True), ("__GLIBC__ __GLIBC_MINOR__", True)],
)
def test_oldest_libc(words, accepted, tmp_path):
    old = program(tmp_path / "cc", f'cat >"$0.in"; echo "{words}"')
    if accepted:
        look.at_headers([old])
        return
    with pytest.raises(SystemExit, match=r"glibc 2\.27 .* this is glibc 2"):
        look.at_headers([old])


def with_changed(change, script):
    code = f"import runpy, sys\n{change}\nsys.argv[1:] = ['.venv']\n"
    return run(
        sys.executable,
        "-c",
        f"{code}runpy.run_path({script!r}, run_name='__main__')",
    )


@pytest.mark.parametrize("script", ["setup.py", "tools/environment.py"])
@pytest.mark.parametrize(
    "change, said",
    [
        ("sys.version_info = (3, 10, 13)", " is 3.10.13: use another"),
        ("sys.implementation.name = 'pypy'", "needs CPython 3.11 or later"),
        ("sys.platform = 'win32'", "does not build on win32 yet"),
    ],
)
def test_interpreter_that_will_not_do(change, said, script, project):
    if script == "setup.py":
        change = f"import setuptools.command.build_ext\n{change}"
    else:
        change = f"sys.path.insert(0, 'tools')\n{change}"
    assert said in sentence(with_changed(change, script))
    assert not Path(".venv").exists() and not Path("build").exists()


@pytest.mark.parametrize("name", ["look", "environment"])
def test_old_python_can_read_what_tells_it_so(name):
    text = (ROOT / "tools" / f"{name}.py").read_text()
    ast.parse(text, feature_version=(3, 6))


# --- make, from then on


def test_help_says_how_long_the_tests_take(checkout):
    lines = run("make").stdout.splitlines()
    helps = dict(
        re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines
    )
    assert "minutes" in helps["make test"]
    assert "minute" in helps["make test-quick"]


def test_make_test_says_how_long_it_takes(checkout):
    assert "minutes on two cores" in make("-n", "test").stdout
    some = make("-n", "test", "ARGS=tests/test_build.py").stdout
    assert "minutes" not in some and "pytest tests/test_build.py" in some


def test_quick_tests_are_those_of_the_first_promises(checkout):
    line = re.search(r"pytest (tests/.*)", make("-n", "test-quick").stdout)
    files = line[1].split()
    assert all((ROOT / file).exists() for file in files)
    assert {f"tests/test_{noun}.py" for noun in PROMISES} <= set(files)
