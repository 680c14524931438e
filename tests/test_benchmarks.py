# SPDX-License-Identifier: MIT
"""The benchmarks' machinery, in seconds: what is measured is their own
affair. Other peers take no part, so nothing needs to be installed for it."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from arrays import np
from family_children import has_private_shm
from plain_c import compiler

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
PICTURES = ("lifecycle", "handoff", "lists", "crash-matrix")
MOST = 150 * 1024  # bytes of a picture


def benchmark(program, *options):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / program, *map(str, options)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def result_of(path, *options):
    quick = ("--quick", "--seconds", "0.01", "--json", path)
    printed = benchmark("run.py", *quick, *options)
    return printed, json.loads(path.read_text())


@pytest.fixture
def paired(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import paired

    return paired


@pytest.mark.parametrize(
    "program",
    [
        *["run", "plots", "install"],
        *["crash_cases", "crash_actors", "crash_locks"],
    ],
)
def test_help_says_what_the_program_does(program):
    assert benchmark(f"{program}.py", "--help").startswith("usage: ")


def test_run_prints_and_writes_every_side(tmp_path):
    printed, result = result_of(
        tmp_path / "result.json",
        *("--only", "access,holdings", "--peers", "shmemext,stdlib"),
    )
    assert "get an integer by index, ns" in printed
    assert result["machine"]["python"] in printed
    assert set(result["versions"]) == {"shmemext", "stdlib"}
    held = {
        row["side"]: row["time"]["median"]
        for row in result["rows"]
        if row["unit"] == "descriptors"
    }
    assert held["shmemext"] == 0
    got = [row for row in result["rows"] if row["question"] == "access"]
    assert {"shmemext", "stdlib"} <= {row["side"] for row in got}
    assert all(row["time"]["median"] > 0 for row in got if row["time"])
    (ours,) = (
        row
        for row in got
        if row["side"] == "shmemext" and row["work"].startswith("get")
    )
    assert ours["ratio"]["median"] > 0


def test_synchronize_has_both_sides(tmp_path):
    _, result = result_of(
        tmp_path / "result.json",
        *("--only", "synchronize", "--peers", "shmemext,stdlib"),
    )
    ours = [row for row in result["rows"] if row["side"] == "shmemext"]
    assert all(row["time"]["median"] > 0 for row in ours)
    theirs = [row for row in result["rows"] if row["side"] == "stdlib"]
    assert len(theirs) == len(ours) > 10
    for row in theirs:
        never = row["work"].endswith("its holder is killed")
        assert (row["time"] is None) == never, row


def test_core_has_every_row_and_no_python(tmp_path):
    compiler()  # or it is skipped
    _, result = result_of(
        tmp_path / "result.json",
        *("--only", "core", "--peers", "shmemext"),
    )
    rows = result["rows"]
    assert [row["note"] for row in rows] == [""] * len(rows)
    assert {row["side"] for row in rows} == {
        *("shmemext", "pthread robust", "C floor"),
    }
    ours = [row for row in rows if row["side"] == "shmemext"]
    assert len(ours) == 14
    assert all(row["met"] is not None for row in ours)
    kept = [row for row in ours if row["unit"] == "descriptors"]
    assert [row["time"]["median"] for row in kept] == [0, 1]
    for row in rows:
        assert row["time"]["median"] > 0 or row in kept, row


def test_channels_has_both_sides(tmp_path):
    _, result = result_of(
        tmp_path / "result.json",
        *("--only", "channels", "--peers", "shmemext,mp.Queue"),
    )
    rows = [row for row in result["rows"] if row["time"] is not None]
    ours = {row["work"] for row in rows if row["side"] == "shmemext"}
    theirs = {row["work"] for row in rows if row["side"] == "mp.Queue"}
    assert theirs < ours and len(theirs) == 6
    assert all(row["time"]["median"] > 0 for row in rows)
    assert all(row["met"] is not None for row in rows if row["reach"])


def test_objects_has_both_sides(tmp_path):
    pytest.importorskip("numpy", reason="there is no numpy")
    _, result = result_of(
        tmp_path / "result.json",
        "--only",
        "objects",
        "--peers",
        "shmemext,shmemext hand-off,shmemext arrays,pickle,mp.Queue",
    )
    rows = result["rows"]
    assert [row["note"] for row in rows] == [""] * len(rows)
    ours = [row for row in rows if row["side"].startswith("shmemext")]
    assert [row["met"] is not None for row in ours if row["reach"]] == (
        [True] * 8
    )
    others = {row["side"] for row in rows} - {row["side"] for row in ours}
    assert others == {"pickle", "mp.Queue"}
    assert not list(Path("/dev/shm").glob("shmemext-bench-*"))


def test_reach_is_the_least_where_the_others_are_compared_with_ours(paired):
    from table import Row

    def of(value):
        return paired.Ratio(value, value, value, 1)

    row = Row("q", "w", "us", "s", of(9.0), "shmemext", of(9.0), reach=8.0)
    assert row.met and not replace(row, ratio=of(7.0)).met


def test_limit_is_of_the_time_and_reach_of_the_ratio(paired):
    from table import Row, line

    def of(value):
        return paired.Ratio(value, value, value, 1)

    row = Row("q", "w", "ms", "s", of(30.0), ratio=of(9.0), limit=40.0)
    assert row.met and line(row, "s").split()[-2:] == ["40.00", "yes"]
    assert not replace(row, time=of(50.0)).met
    assert replace(row, time=None).met is None
    row = Row("q", "w", "ms", "s", of(30.0), ratio=of(0.5), reach=0.6)
    assert row.met and not replace(row, ratio=of(0.7)).met
    assert replace(row, ratio=None).met is None


def test_scale_has_both_sides_and_leaves_no_name(tmp_path):
    _, result = result_of(
        tmp_path / "result.json",
        *("--only", "scale", "--peers", "shmemext,stdlib"),
    )
    assert [row["note"] for row in result["rows"]] == [""] * 10
    assert not list(Path("/dev/shm").glob("shmemext-bench-*"))


def test_import_is_measured_of_both_sides(tmp_path):
    _, result = result_of(
        tmp_path / "result.json",
        *("--only", "import", "--peers", "shmemext,stdlib"),
    )
    assert {row["side"] for row in result["rows"]} == {"shmemext", "stdlib"}


def test_crowded_fills_no_directory_but_its_own(tmp_path):
    _, result = result_of(
        tmp_path / "result.json",
        *("--only", "crowded", "--peers", "shmemext,stdlib"),
    )
    rows = result["rows"]
    assert [row["base"] for row in rows] == ["10 names"] * 12
    if os.geteuid() == 0 and has_private_shm():
        assert {row["note"] for row in rows} == {""}
    else:
        assert all(row["time"] or row["note"] for row in rows)
    assert not list(Path("/dev/shm").glob("shmemext-bench-*"))


def test_handoff_arrives_whole_through_every_mode(tmp_path):
    _, result = result_of(
        tmp_path / "result.json",
        *("--only", "handoff", "--sizes", "10000"),
        *("--peers", "shmemext,mp.Pipe,shmemext hand-off,shmemext arrays"),
    )
    rows = [row for row in result["rows"] if row["side"] != "C floor"]
    assert [row["note"] for row in rows] == [""] * len(rows)
    by_reference = {
        ("shmemext hand-off", "fresh"),
        ("shmemext arrays", "in place"),
    }
    assert {(row["side"], row["work"].split(", ")[1]) for row in rows} == {
        ("shmemext", "fresh"),
        ("shmemext", "reused"),
        ("shmemext", "in place"),
        ("mp.Pipe", "fresh"),
        *(by_reference if np else ()),
    }


def test_case_of_the_crash_matrix_passes():
    assert benchmark("crash_cases.py", "creator", "shmemext") == "pass\n"


@pytest.mark.parametrize("case", ["named", "holder", "all", "barrier"])
def test_case_of_the_locks_passes(case):
    assert benchmark("crash_locks.py", case, "shmemext") == "pass\n"


def test_unknown_question_is_an_error():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "--only", "everything"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no such question: everything" in done.stderr


def test_ratio_is_median_of_rounds_own_ratios(paired):
    of = paired.ratio([1.0, 20.0, 300.0], [2.0, 10.0, 100.0])
    assert (of.median, of.p25, of.p75, of.rounds) == (2.0, 1.25, 2.5, 3)


def test_side_that_fails_is_left_out_with_its_reason(paired):
    answers = iter([1.0, 1.0])

    def fails_in_the_second_round():
        for answer in answers:
            return answer
        raise paired.Failed("LOSES DATA: 3, not 4")

    sides = {"good": lambda: 2.0, "bad": fails_in_the_second_round}
    samples, failed = paired.rounds(sides, 0.0, at_least=3)
    assert samples == {"good": [2.0, 2.0, 2.0]}
    assert failed == {"bad": "LOSES DATA: 3, not 4"}


def of_one_row(question, work, unit, side):
    spread = {"median": 2.0, "p25": 1.0, "p75": 3.0, "rounds": 5}
    return {
        "question": question,
        "work": work,
        "unit": unit,
        "side": side,
        "time": spread,
        "note": "",
    }


def small_result():
    sides = ("C floor", "shmemext", "stdlib")
    works = [
        ("lifecycle", "create, close, unlink (4 KiB, untouched)", "us"),
        ("lifecycle", "attach, close (64 MiB, every page read)", "us"),
        ("handoff", "hand-off of 4 KiB, fresh", "ms"),
        ("handoff", "hand-off of 1 GiB, fresh", "ms"),
        ("lists", "get an int", "us"),
    ]
    cases = [
        "attacher",
        "creator",
        "everybody",
        "full",
        "array",
        "attach",
        "worker",
        "race",
    ]
    return {
        "machine": {
            "python": "3.11.7",
            "gil": True,
            "system": "Linux 6.1",
            "processor": "a processor",
            "cpus": 2,
            "memory_gib": 8,
            "load": 0.5,
        },
        "versions": {"shmemext": "0.1.0", "stdlib": ""},
        "rows": [of_one_row(*work, side) for work in works for side in sides],
        "matrix": {
            "shmemext": dict.fromkeys(cases, "pass"),
            "stdlib": dict.fromkeys(cases, "SIGBUS"),
        },
    }


def test_plots_are_drawn_from_json(tmp_path):
    pytest.importorskip(
        "matplotlib", reason="matplotlib, which draws them, is not installed"
    )
    source = tmp_path / "result.json"
    source.write_text(json.dumps(small_result()))
    benchmark("plots.py", source, tmp_path / "img")
    drawn = {path.name for path in (tmp_path / "img").iterdir()}
    assert drawn == {f"{name}.png" for name in PICTURES}


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_there_small_and_shown(name):
    picture = ROOT / "docs" / "img" / f"{name}.png"
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < MOST
    assert f"img/{name}.png" in (BENCHMARKS / "README.md").read_text()


def test_readme_shows_two_pictures():
    shown = re.findall(
        r"!\[[^]]+\]\(docs/img/([\w-]+)\.png\)",
        (ROOT / "README.md").read_text(),
    )
    assert len(shown) == 2
    assert set(shown) <= set(PICTURES)
