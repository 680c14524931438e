# SPDX-License-Identifier: MIT
"""A build compiles what has changed, and no more.

Of three files of their own: the project's would take the longer the more
there are of them.
"""

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from plain_c import compiler

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tools"))
import archive  # noqa: E402
from objects import NotCompiled, Objects, names  # noqa: E402

TREE = {
    "core/number.h": "int number(void);\n",
    "core/more.h": '#include "core/number.h"\n',
    "core/number.c": '#include "core/number.h"\nint number(void) '
    "{ return 41; }\n",
    "core/life/reaper.c": '#include <stdio.h>\n#include "core/more.h"\n'
    'int main(void) { fputs("usage", stderr); return 2 * (number() > 0); }\n',
    "py/module.c": """
#include <Python.h>
#include "core/more.h"
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_shmemext", NULL, 0, NULL, NULL, NULL, NULL, NULL
};
PyMODINIT_FUNC
PyInit__shmemext(void)
{
    PyObject *made = PyModule_Create(&module);
    return made == NULL || PyModule_AddIntConstant(made, "n", number())
               ? NULL
               : made;
}
""",
}
SOURCES = [f"csrc/{name}" for name in sorted(TREE) if name.endswith(".c")]
REAPER, NUMBER, MODULE = SOURCES


def write(where):
    """A project with these files, all of them written long ago."""
    for name, text in TREE.items():
        path = where / "csrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1000, 1000))
    shutil.copy(ROOT / "setup.py", where)
    shutil.copytree(ROOT / "tools", where / "tools")
    (where / "pyproject.toml").write_text(
        '[project]\nname = "shmemext"\nversion = "0"\n'
        '[tool.setuptools]\npackages = ["shmemext"]\n'
    )
    (where / "shmemext").mkdir()
    (where / "shmemext" / "__init__.py").touch()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Build:
    """What is compiled is in `compiled`, which is forgotten when read."""

    def __init__(self, *flags, version="", sources=(REAPER, NUMBER), own=None):
        command = [*compiler(), "-Icsrc", *flags]
        self.objects = Objects(command, version, "objects", "tag", own)
        self.sources = list(sources)

    def compiled(self, **options):
        lines = []
        made = self.objects.compile(self.sources, say=lines.append, **options)
        assert all(Path(path).stat().st_size for path in made)
        return sorted(line.split(" -c ")[1].split()[0] for line in lines)


def change(path, how="touched"):
    """So that its time is another one, which may be earlier."""
    when = {"touched": 2000, "moved here": 500}[how]
    os.utime(path, (when, when))


def test_nothing_is_compiled_twice(tree):
    build = Build()
    assert build.compiled() == [REAPER, NUMBER]
    assert build.compiled() == []
    assert Build().compiled() == []
    assert build.compiled(again=True) == [REAPER, NUMBER]


@pytest.mark.parametrize("how", ["touched", "moved here"])
def test_changed_source_is_compiled(tree, how):
    build = Build()
    build.compiled()
    change(NUMBER, how)
    assert build.compiled() == [NUMBER]
    assert build.compiled() == []


def test_changed_header_compiles_who_includes_it(tree):
    """Whichever header that one is included by."""
    build = Build()
    build.compiled()
    change("csrc/core/more.h")
    assert build.compiled() == [REAPER]
    change("csrc/core/number.h")
    assert build.compiled() == [REAPER, NUMBER]


def test_header_that_is_gone_and_not_missed(tree):
    build = Build()
    build.compiled()
    Path("csrc/core/more.h").unlink()
    Path(REAPER).write_text("int main(void) { return 2; }\n")
    change(REAPER)
    assert build.compiled() == [REAPER]
    assert build.compiled() == []


def test_object_that_is_gone_is_made_again(tree):
    build = Build()
    build.compiled()
    build.objects.path(NUMBER, ".o").unlink()
    assert build.compiled() == [NUMBER]


def test_record_that_was_cut_off_counts_as_none(tree):
    build = Build()
    build.compiled()
    build.objects.path(NUMBER, ".json").write_text('{"csrc/core/numb')
    assert build.compiled() == [NUMBER]


@pytest.mark.parametrize(
    "other", [{"flags": ["-DOTHER"]}, {"version": "next"}], ids=str
)
def test_another_command_has_objects_of_its_own(tree, other):
    """And both stay: whoever changes between them waits once."""
    build = Build()
    build.compiled()
    beside = Build(*other.pop("flags", []), **other)
    assert beside.compiled() == [REAPER, NUMBER]
    assert build.compiled() == beside.compiled() == []


def test_what_does_not_compile_is_tried_again(tree, capfd):
    build = Build()
    build.compiled()
    good = Path(NUMBER).read_text()
    Path(NUMBER).write_text("no C\n")
    for _ in range(2):
        with pytest.raises(NotCompiled, match=f"^{NUMBER} does not compile$"):
            build.compiled()
    assert "error" in capfd.readouterr().err
    Path(NUMBER).write_text(good)
    assert build.compiled() == [NUMBER]


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# Compiles nothing. Its arguments: -MMD -MF list -c source -o object
FAKE = """
echo "$7: $5" >"$3"
echo object >"$7"
"""


def test_what_is_written_meanwhile_is_compiled_again(tree):
    slow = program(tree / "cc", FAKE + 'echo " " >>"$5"')
    objects = Objects([slow], "", "objects", "tag")
    lines = []
    for _ in range(2):
        objects.compile([NUMBER], say=lines.append)
    assert len(lines) == 2


def test_files_are_compiled_side_by_side(tree):
    """Neither ends before the other has begun."""
    meet = """
touch "$7.begun"
for _ in $(seq 600); do
    [ $(find objects -name '*.begun' | wc -l) -lt 2 ] || exit 0
    sleep 0.1
done
exit 1
"""
    both = Objects([program(tree / "cc", FAKE + meet)], "", "objects", "tag")
    both.compile([REAPER, NUMBER], jobs=2)


def test_options_of_one_source_come_last(tree):
    Path(NUMBER).write_text("#ifdef A\n#error\n#endif\n")
    change(NUMBER)
    build = Build("-DA", own={NUMBER: ["-UA"]})
    assert build.compiled() == [REAPER, NUMBER]
    assert Build("-DA", own={NUMBER: ["-UA"]}).compiled() == []
    with pytest.raises(NotCompiled):
        Build("-DA").compiled()


def test_names_in_a_rule():
    rule = "a.o: b.c \\\n c\\ d.h \\\n  e$$f.h g\\#h.h\n"
    assert names(rule) == ["b.c", "c d.h", "e$f.h", "g#h.h"]
    assert names("a.o: b.c") == ["b.c"]


# --- setup.py


@pytest.fixture
def project(tree):
    pytest.importorskip("setuptools")
    return tree


def run_setup(*arguments, **environment):
    """What it compiles, and what it prints."""
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout
    return [source for source in SOURCES if f" -c {source}" in done.stdout]


def number():
    """What the extension in this folder says."""
    code = "from shmemext import _shmemext; print(_shmemext.n)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_setup_compiles_what_has_changed(project):
    assert run_setup("--inplace") == SOURCES
    assert number() == 41
    assert os.access("shmemext/shmemext-reaper", os.X_OK)
    text = Path(NUMBER).read_text()
    Path(NUMBER).write_text(text.replace("41", "42"))
    assert run_setup("--inplace") == [NUMBER]
    assert number() == 42
    # a wheel: elsewhere, of other objects where the compiler can see all of it
    # at a time; its reaper with musl, if it is there, of others in any case
    others = [REAPER, NUMBER] if shutil.which("musl-gcc") else []
    wheel = "--build-lib", "lib", "--build-temp", "temp"
    assert run_setup(*wheel) in (SOURCES, others)
    assert run_setup(*wheel) == []
    assert len(list(Path("lib/shmemext").iterdir())) == 2


def test_only_what_is_installed_has_no_symbols(project):
    """Unless somebody asks for them, with -g or a sanitizer."""

    def has_symbols(place):
        """Of the extension and the reaper: both have them, or none."""
        extension, reaper = sorted(Path(place, "shmemext").glob("[_s]*[!y]"))
        (found,) = {
            b"\0.symtab\0" in path.read_bytes() for path in (extension, reaper)
        }
        return found

    run_setup("--inplace")
    assert has_symbols(".")
    wheel = "--build-lib", "lib"
    run_setup(*wheel)
    assert not has_symbols("lib")
    for name in "CFLAGS", "LDFLAGS":
        for word in "-g", "-O1 -g3":
            run_setup(*wheel, **{name: word})
            assert has_symbols("lib")
    run_setup(*wheel, CFLAGS="-g0 -O1")
    assert not has_symbols("lib")


def test_archive_bears_the_date_of_its_sources(tree, monkeypatch):
    monkeypatch.setattr(archive, "ROOT", tree)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert archive.date() is None
    (tree / "PKG-INFO").touch()
    os.utime(tree / "PKG-INFO", (5000, 5000))
    assert archive.date() == 5000  # an sdist
    if shutil.which("git"):
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run([*git, "init", "-q"], check=True)
        assert archive.date() is None
        commit = [*git, "commit", "-q", "--allow-empty", "-m", "first"]
        when = {**os.environ, "GIT_COMMITTER_DATE": "@6000 +0000"}
        subprocess.run(commit, env=when, check=True)
        assert archive.date() == 6000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7000")
    assert archive.date() == 7000


def test_setup_links_what_was_asked_for_last(project):
    """The objects may all be older than what is linked."""
    Path(NUMBER).write_text("int number(void);\nint number(void) { return N;}")
    for n, compiled in (1, SOURCES), (2, SOURCES), (1, []):
        assert run_setup("--inplace", CFLAGS=f"-DN={n}") == compiled
        assert number() == n


SIZE = """
#ifdef __OPTIMIZE_SIZE__
enum { SMALL = 1 };
#else
enum { SMALL = 0 };
#endif
"""


def test_setup_makes_small_what_is_not_felt(project, monkeypatch):
    """And nothing, where CFLAGS say what there is to be."""
    monkeypatch.delenv("CFLAGS", raising=False)
    hot = Path("csrc/core/list/hot.c")
    hot.parent.mkdir()
    hot.write_text(f"int hot(void);{SIZE}int hot(void) {{ return SMALL; }}\n")
    Path(NUMBER).write_text(
        f"int hot(void);\nint number(void);{SIZE}"
        "int number(void) { return 10 * hot() + SMALL; }\n"
    )
    run_setup("--inplace")
    assert number() == 1
    for flags, expected in ("-O1", 0), ("-Os", 11):
        run_setup("--inplace", CFLAGS=flags)
        assert number() == expected


def test_setup_says_whether_the_interpreter_has_assertions(project):
    """Also where CFLAGS takes the place of the flags that say so."""
    Path(NUMBER).write_text(
        "#ifdef NDEBUG\nenum { N = 1 };\n#else\nenum { N = 0 };\n#endif\n"
        "int number(void);\nint number(void) { return N; }\n"
    )
    run_setup("--inplace", CFLAGS="-O1")
    assert number() == ("-DNDEBUG" in sysconfig.get_config_var("CFLAGS"))


def test_setup_says_which_file_does_not_compile(project):
    Path(NUMBER).write_text("no C\n")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = f"error: {NUMBER} does not compile"
    assert done.stderr.splitlines()[-1] == last
