# SPDX-License-Identifier: MIT
"""The documentation: its Python runs, its output is real, its links resolve.

A `text` block right after a `python` block is what that block prints. A
`console` block in docs/ is run, a `pycon` block is a doctest. On the line
before a block,

    <!-- not run: reason -->    skips it
    <!-- is: ../path -->        says that it is that file, not run here
    <!-- meets: the other -->   says that test_readme.py runs it
    <!-- needs: module -->      runs a program as the console block after it
                                says, where that module is installed; or a
                                console block alone
    <!-- varies: regex -->      leaves what matches out of the comparison
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
from arrays import needed_by
from pages import (
    LINK,
    PAGES,
    ROOT,
    RUN,
    anchors,
    blocks,
    follows,
    leads_to,
    where,
)
from test_full import namespace

from shmemext._command.arguments import build


def skipped(block):
    if block.mark != "not run":
        return []
    return [pytest.mark.skip(block.of_mark)]


def select(language, mark=None):
    """The blocks of all pages in that language, as parameters."""
    return [
        pytest.param(page, block, id=where(page, block), marks=skipped(block))
        for page in RUN
        for block in blocks(page)
        if block.language == language and mark in (None, block.mark)
    ]


def programs():
    for page in RUN:
        of_page = blocks(page)
        for block, after in zip(of_page, [*of_page[1:], None], strict=False):
            elsewhere = block.mark in ("is", "meets", "needs")
            if block.language != "python" or elsewhere:
                continue
            printed = ""
            if after and after.language == "text":
                printed = after.text if follows(page, after, block) else ""
            yield pytest.param(
                block.text,
                printed,
                id=where(page, block),
                marks=skipped(block),
            )


@pytest.mark.parametrize("code, printed", list(programs()))
def test_python_runs_and_prints_what_is_shown(code, printed, tmp_path):
    needed_by(code)
    program = tmp_path / "program.py"  # spawn needs a file
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed


@pytest.mark.parametrize(
    "page", [p for p in RUN if p.parent != ROOT], ids=lambda p: p.name
)
def test_every_block_is_run_or_says_why_not(page):
    of_page = blocks(page)
    needy = "".join(b.language[0] for b in of_page if b.mark == "needs")
    assert re.fullmatch("(pc|c)*", needy)
    for before, block in zip([None, *of_page], of_page, strict=False):
        is_output = before and follows(page, block, before)
        assert (
            block.mark == "not run"
            or block.language in ("python", "pycon", "console")
            or (block.language == "text" and is_output)
            or (block.language == "sh" and page.name == "moving-over.md")
            or block.language.startswith("{")  # Sphinx's
        ), where(page, block)


@pytest.mark.parametrize("page, block", select("python", "is"))
def test_file_is_what_is_shown(page, block):
    assert block.text == (page.parent / block.of_mark).read_text()


def doctests():
    for page in RUN:
        found = [b.text for b in blocks(page) if b.language == "pycon"]
        if found:
            yield pytest.param(
                "\n".join(found), id=str(page.relative_to(ROOT))
            )


@pytest.mark.parametrize("examples", list(doctests()))
def test_examples_answer_what_is_shown(examples, tmp_path):
    text = tmp_path / "examples.txt"
    text.write_text(examples)
    done = subprocess.run(
        [sys.executable, "-m", "doctest", text],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def consoles():
    """But for those that run the program before them."""
    for case in select("console"):
        page, block = case.values
        runs_a_program = any(
            before.language == "python" and before.mark == "needs"
            for before, after in pairwise(blocks(page))
            if after == block
        )
        if page.parent != ROOT and not runs_a_program:
            yield case


@pytest.mark.parametrize("page, block", list(consoles()))
def test_console_shows_what_is_printed(page, block, tmp_path):
    """One command after the other. What is put into the background has
    printed the lines that are shown below it before the next one starts; what
    it prints later comes last."""
    command = tmp_path / "shmemext"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m shmemext "$@"\n')
    command.chmod(0o700)
    path = f"{tmp_path}:{os.environ['PATH']}"
    if "camera" in block.text:
        pytest.importorskip("numpy")
    if block.mark == "needs" and not importlib.util.find_spec(block.of_mark):
        pytest.skip(f"{block.of_mark} is not installed")
    printed, behind = "", []
    try:
        for command, *shown in sessions(block.text):
            shell = subprocess.Popen(
                ["bash", "-c", command.removesuffix(" &")],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PATH": path},
            )
            if command.endswith(" &"):
                behind.append(shell)
                printed += "".join(shell.stdout.readline() for _ in shown)
            else:
                printed += shell.communicate(timeout=300)[0]
                assert shell.returncode == 0
        for shell in behind:
            printed += shell.communicate(timeout=300)[0]
            assert shell.returncode == 0
    finally:  # a server that nobody has ended
        for shell in behind:
            shell.terminate()
    expected = "".join(
        line for _, *shown in sessions(block.text) for line in shown
    )
    printed = as_where_all_can_be_asked(printed)
    if block.mark == "varies":
        assert re.search(block.of_mark, expected)
        expected = re.sub(block.of_mark, "...", expected)
        printed = re.sub(block.of_mark, "...", printed)
    assert printed == expected


def as_where_all_can_be_asked(text):
    """What the command says of processes that may not be looked into."""
    text = re.sub(r"^\+ and perhaps more.*\n", "", text, flags=re.M)
    text = re.sub(
        r"(?<=  0)\+ \(at least .* may not be looked into\)$",
        "",
        text,
        flags=re.M,
    )
    return re.sub(r"(?<=  \d)\+(?=$|: )", "", text, flags=re.M)


@pytest.mark.parametrize(
    "page, block, console",
    [
        pytest.param(page, block, console, id=where(page, block))
        for page in RUN
        for block, console in pairwise(blocks(page))
        if block.language == "python" and block.mark == "needs"
    ],
)
def test_program_prints_what_is_shown_where_it_can_be_run(
    page, block, console, tmp_path
):
    assert (console.language, console.mark) == ("console", "needs")
    ((command, *shown),) = sessions(console.text)
    (tmp_path / re.search(r"\w+\.py", command)[0]).write_text(block.text)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # not imported here: mpi4py would make this process a rank
    if not importlib.util.find_spec(block.of_mark):
        pytest.skip(f"{block.of_mark} is not installed")
    # tmp_path is too long for the sockets that Ray has there
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "TMPDIR": scratch},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert (done.returncode, done.stdout) == (0, "".join(shown)), done.stderr


def sessions(text):
    """For each command of a console: itself, and the lines below it."""
    for session in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, *shown = session.splitlines(keepends=True)
        command = command.replace("make demo", "python examples/demo.py")
        command = re.sub(r"(\.venv/bin/)?\bpython\b", sys.executable, command)
        yield command.rstrip(), *shown


def test_find_and_replace_does_what_its_table_says(tmp_path):
    page = ROOT / "docs" / "moving-over.md"
    replace, left = (b.text for b in blocks(page) if b.language == "sh")
    rows = re.findall(
        r"^\| `([^`]+)` \| `([^`]+)` \|$", page.read_text(), re.M
    )
    assert len(rows) == 7
    for number, (before, _) in enumerate(rows):
        (tmp_path / f"m{number}.py").write_text(f"    {before}\n")
    byhand = "from multiprocessing import Process, shared_memory\n"
    (tmp_path / "byhand.py").write_text(byhand)

    def run(script):
        return subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout

    assert run(replace) == ""
    for number, (_, after) in enumerate(rows):
        moved = (tmp_path / f"m{number}.py").read_text()
        assert moved == f"    {after}\n"
    assert run(left) == f"./byhand.py:1:{byhand}"


def in_pages(start):
    """What comes after these words in the blocks that have them, of whichever
    pages: they have the same."""
    (rest,) = {
        start + block.text.partition(start)[2]
        for page in RUN
        for block in blocks(page)
        if start in block.text
    }
    return rest


def on_private_dev_shm(size, code):
    if namespace() is None:
        pytest.skip("no mount namespaces here")
    script = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    return subprocess.run(
        [*namespace(), script, "sh", sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_page_of_the_command_has_all_of_it():
    """Sphinx writes what {command} stands for."""
    _, commands = build()
    text = (ROOT / "docs" / "command.md").read_text()
    shown = re.findall(r"^```\{command\} ?(.*)$", text, re.M)
    assert shown == ["", *commands]
    assert {*commands} < anchors(ROOT / "docs" / "command.md")
    assert "```{statuses}\n" in text
    assert "```{literalinclude} command.schema.json\n" in text


def test_page_shows_what_a_full_dev_shm_says():
    done = on_private_dev_shm(
        "8m",
        "from shmemext import SharedMemory\n"
        "SharedMemory('big', create=True, size=16 << 20)",
    )
    said = in_pages("OSError: [Errno 28] cannot reserve 16777216 bytes")
    assert done.stderr.splitlines()[-1:] == [said.rstrip()]


def test_page_shows_what_setup_says_elsewhere():
    pytest.importorskip("setuptools")
    code = """
import runpy, sys
import setuptools.command.build_ext
sys.platform = "darwin"
runpy.run_path("setup.py")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == in_pages("shmemext does not build on darwin")


def test_requirement_is_of_the_systems_that_it_runs_on():
    markers = pytest.importorskip("packaging.requirements")
    (block,) = (
        block
        for block in blocks(ROOT / "docs" / "install.md")
        if block.language == "toml"
    )
    (line,) = tomllib.loads(block.text)["dependencies"]
    marker = markers.Requirement(line).marker
    assert marker.evaluate()
    for elsewhere in (
        {"sys_platform": "darwin"},
        {"sys_platform": "win32"},
        {"platform_python_implementation": "PyPy"},
    ):
        assert not marker.evaluate(elsewhere), elsewhere


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(page):
    for target in LINK.findall(page.read_text()):
        path, _, fragment = target.partition("#")
        other = leads_to(page, path)
        if other is None:
            assert re.match("https://|mailto:", path), f"{page}: {target}"
            continue
        assert other.exists(), f"{page}: {target}"
        assert not fragment or fragment in anchors(other), f"{page}: {target}"


@pytest.mark.parametrize(
    "picture",
    sorted((ROOT / "docs" / "img").glob("*.svg")),
    ids=lambda path: path.name,
)
def test_picture_is_said_in_words_too(picture):
    root = ElementTree.parse(picture).getroot()
    assert root.find("{http://www.w3.org/2000/svg}title").text
    shown = [
        alt
        for page in RUN
        for alt, path in re.findall(r"!\[([^]]*)\]\((\S+)\)", page.read_text())
        if (page.parent / path).resolve() == picture
    ]
    assert shown and all(shown)
