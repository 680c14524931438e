# SPDX-License-Identifier: MIT
"""The pages and drawings of docs/design say what the code says.

What they name is looked up, and what they say of it is asked of a compiler:

    `NAME = value`              in a page: both are the same number or text.
                                A name that no header has is looked up, with
                                its value, in the files that the page links to
    <!-- code: file: a; b -->   this stands in that file of csrc
    data-is="expression"        in a drawing: the last number of that text, or
                                the text, is what the expression is
    data-text="a"               this stands in a file of csrc/core
"""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

import pytest
from plain_c import STANDARD, compiler
from test_channels_mutants import MUTANTS as CHANNELS
from test_pool_mutants import MUTANTS as POOLS
from test_sync_mutants import MUTANTS as SYNCS

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "design").glob("*.md"))
DRAWINGS = sorted((ROOT / "docs" / "img").glob("design-*.svg"))
CODE = re.compile(r"`([^`\n]+)`")
HEADERS = [
    "life/sweep.h",
    "sync/lock.h",
    "sync/slots.h",
    "channels/ring_words.h",
    "pool/pool_words.h",
]
PROLOGUE = r"""
#include <stdio.h>
static void number(uint64_t n) { printf("%llu\n", (unsigned long long)n); }
static void text(const char *t) { printf("%s\n", t); }
#define show(x) _Generic((x), char *: text, const char *: text, \
    default: number)(x)
#define bit(x) __builtin_ctzll((uint64_t)(x))
int main(void) {
"""

of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
of_each_drawing = pytest.mark.parametrize(
    "drawing", DRAWINGS, ids=lambda p: p.stem
)


def evaluate(expressions, directory, csrc):
    """What they are, in C."""
    program = directory / "program.c"
    program.write_text(
        "".join(f'#include "core/{header}"\n' for header in HEADERS)
        + PROLOGUE
        + "".join(f"show({e});\n" for e in expressions)
        + "}\n"
    )
    command = [*compiler(), *STANDARD, "-w", f"-I{csrc}", str(program)]
    subprocess.run([*command, "-o", directory / "program"], check=True)
    said = subprocess.check_output([directory / "program"], text=True)
    return said.splitlines()


@cache
def source(csrc=ROOT / "csrc"):
    """All of it, each run of spaces as one."""
    files = sorted(csrc.rglob("*.[ch]"))
    return " ".join(" ".join(path.read_text().split()) for path in files)


def flat(path):
    return " ".join(path.read_text().split())


def words(page):
    """A page without its blocks, comments and links."""
    prose = re.sub(r"<!--.*?-->|!\[[^]]*\]", "", page.read_text(), flags=re.S)
    return re.sub(r"\]\([^)]*\)", "]", prose)


def linked(page, ending):
    found = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    paths = {(page.parent / f).resolve() for f in found if ":" not in f}
    return [p for p in sorted(paths) if p.suffix in ending]


def equations(page):
    return [
        code.split(" = ", 1)
        for code in CODE.findall(words(page))
        if " = " in code
    ]


def told(page):
    """Those that headers answer."""
    return [
        pair for pair in equations(page) if re.search(r"SHX_|shx_", pair[0])
    ]


def shown(drawing):
    """What it says of each expression."""
    for element in ElementTree.parse(drawing).iter():
        if expression := element.get("data-is"):
            text = "".join(element.itertext())
            numbers = re.findall(r"\d+", text)
            yield expression, numbers[-1] if numbers else text


def wrong(csrc, directory):
    """Everything that is not as pages and drawings say."""
    said = [pair for drawing in DRAWINGS for pair in shown(drawing)]
    pairs = [pair for page in PAGES for pair in told(page)]
    asked = [expression for expression, _ in said]
    asked += [side for pair in pairs for side in pair]
    answers = evaluate(asked, directory, csrc)
    found = [
        (expression, text, answer)
        for (expression, text), answer in zip(said, answers, strict=False)
        if text != answer
    ]
    rest = answers[len(said) :]
    for pair, left, right in zip(pairs, rest[::2], rest[1::2], strict=True):
        if left != right:
            found.append((*pair, left))
    return found


def test_numbers_are_those_of_the_code(tmp_path):
    assert wrong(ROOT / "csrc", tmp_path) == []


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("os/os.h", "SHX_TOKEN_BITS = 29", "SHX_TOKEN_BITS = 28"),
        ("life/ledger.h", "SHX_RECORD_NAME = 256", "SHX_RECORD_NAME = 248"),
        ("life/sweep.h", '".lock"', '".locked"'),
        ("sync/lock.h", "TORN (UINT32_C(1) << 30)", "TORN 1"),
        ("sync/cell.h", "shx_word watch;", "shx_word lag, watch;"),
        ("channels/ring.h", "SHX_RING_TAKE = 192", "SHX_RING_TAKE = 200"),
        ("channels/ring_words.h", "SHX_KEPT = 5", "SHX_KEPT = 7"),
        ("channels/ring_words.h", "UNITS_BITS = 28", "UNITS_BITS = 27"),
        ("pool/pool.h", "PLACES = 256", "PLACES = 128"),
        ("pool/pool_words.h", "UINT64_C(1) << 32", "UINT64_C(1) << 33"),
    ],
)
def test_number_that_changes_is_noticed(file, old, new, tmp_path):
    csrc = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc" / "core", csrc / "core")
    path = csrc / "core" / file
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    for other in csrc.rglob("*.h"):  # what it guards itself with
        text = other.read_text()
        text = re.sub(r"_Static_assert\(.*?\);", "", text, flags=re.S)
        other.write_text(text)
    assert wrong(csrc, tmp_path)


@of_each_page
def test_constants_of_one_file_are_in_one_that_is_linked(page):
    files = [flat(p) for p in linked(page, (".c", ".h"))]
    for pair in equations(page):
        if pair not in told(page):
            text = re.compile(rf"\b{re.escape(' = '.join(pair))}\b")
            assert any(map(text.search, files)), pair


@of_each_page
def test_what_is_said_to_stand_in_the_code_does(page):
    for file, texts in re.findall(
        r"<!-- code: (\S+): (.*?) -->", page.read_text(), re.S
    ):
        for text in texts.split("; "):
            assert text in flat(ROOT / "csrc" / file), text


@of_each_drawing
def test_what_a_drawing_says_to_stand_in_the_code_does(drawing):
    for element in ElementTree.parse(drawing).iter():
        if text := element.get("data-text"):
            assert text in source(), text


@of_each_drawing
def test_states_of_a_drawing_are_those_of_the_code(drawing):
    names = set(re.findall(r"\bSHX_\w+", source()))
    text = "\n".join(ElementTree.parse(drawing).getroot().itertext())
    text = re.sub(r"\.drawing.*?\}\s*\}", "", text, flags=re.S)
    for word in set(re.findall(r"\b[A-Z]{3,}\b", text)) - {"SIGKILL", "SHX"}:
        assert any(re.fullmatch(rf"SHX_(\w+_)?{word}", n) for n in names), word


@of_each_page
def test_names_are_in_the_code(page):
    makefile = (ROOT / "Makefile").read_text()
    tests = "".join(p.read_text() for p in linked(page, (".py",)))
    models = "".join(p.read_text() for p in linked(page, (".pml",)))
    for code in CODE.findall(words(page)):
        if code.startswith("make "):
            assert f"\n{code.removeprefix('make ')}:" in makefile, code
        elif code.startswith("-D"):
            assert f"mutant: {code} " in models, code
        elif name := re.fullmatch(r"(\w{2,})(\(\))?", code):
            text = source() + tests
            bracket = r"\(" if name[2] else r"\b"
            assert re.search(rf"\b{name[1]}{bracket}", text), code


@of_each_page
def test_mutants_are_those_that_are_tested(page):
    every = {mutant.why for mutant in [*SYNCS, *CHANNELS, *POOLS]}
    said = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", words(page))
    assert {*said} <= every, {*said} - every


@of_each_page
def test_page_has_all_its_parts(page):
    text = page.read_text()
    titles = re.findall(r"^## (.+)$", text, re.M)
    assert titles[0] == "The invariant"
    assert "Why it holds" in titles and "What it costs" in titles
    assert titles[-1] == "The tests that guard it"
    assert re.search(r"^\| killed \w+ \|", text, re.M)
    assert re.findall(r"\]\((\S+\.svg)\)", text) == [
        f"../img/design-{page.stem}.svg"
    ]


def test_each_page_has_a_drawing_and_a_room():
    assert [f"design-{page.stem}" for page in PAGES] == [
        drawing.stem for drawing in DRAWINGS
    ]
    house = (ROOT / "csrc" / "README.md").read_text()
    for page in PAGES:
        assert f"(../docs/design/{page.name})" in house, page.name
