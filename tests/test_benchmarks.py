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
PICTURES = (
    *("lifecycle", "first-create", "lists", "handoff", "objects"),
    *("channels", "locks", "crash-matrix", "crash-locks", "crash-queues"),
)
MOST = 75 * 1024  # bytes of a picture
ALL = 600 * 1024  # of docs/img
EVIDENCE = ROOT / "docs" / "bench.json"


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


def within(code, *arguments):
    """What it prints where the benchmarks' modules are: the tests have some
    of the same names."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize(
    "program",
    [
        *["run", "plots", "report", "install"],
        *["crash_cases", "crash_actors", "crash_locks", "crash_queues"],
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


@pytest.mark.parametrize("case", ["hand", "sleeper", "room"])
def test_case_of_the_queues_passes(case):
    assert benchmark("crash_queues.py", case, "shmemext Channel") == "pass\n"


def test_case_of_the_frames_passes():
    assert (
        benchmark("crash_queues.py", "half", "shmemext Broadcast") == "pass\n"
    )


def test_case_of_the_queues_tells_what_is_lost():
    assert benchmark("crash_queues.py", "hand", "mp.Queue") == "lost\n"


def test_run_adds_to_what_was_asked_before(tmp_path):
    path = tmp_path / "result.json"
    of_both = ("--peers", "shmemext,stdlib")
    result_of(path, "--only", "holdings", *of_both)
    before = json.loads(path.read_text())
    _, result = result_of(path, "--only", "import", *of_both)
    assert set(result["asked"]) == {"holdings", "import"}
    held = [row for row in result["rows"] if row["question"] == "holdings"]
    assert held == before["rows"]
    assert result["asked"]["holdings"] == before["asked"]["holdings"]
    _, again = result_of(path, "--only", "holdings", *of_both)
    assert len(again["rows"]) == len(result["rows"])
    assert [path] == list(tmp_path.iterdir())


def test_result_of_another_machine_is_not_added_to(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(small_result()))
    _, result = result_of(
        path, "--only", "holdings", "--peers", "shmemext,stdlib"
    )
    assert set(result["asked"]) == {"holdings"}


GOES_WRONG = """
import signal, sys
from pathlib import Path
import run

def fails(bench):
    yield []
    raise RuntimeError("it went wrong")

def never_ends(bench):
    yield []
    signal.pause()

run.LIMIT = 1
run.QUESTIONS["lists"] = "fails", fails
run.QUESTIONS["scale"] = "hangs", never_ends
results = run.Results(Path(sys.argv[1]), {"load": 0.0}, {}, {})
bench = run.Bench(None, 0.01, 2, True, [])
for name in ("lists", "scale"):
    run.answer(name, bench, results)
"""


def test_question_that_goes_wrong_ends_and_leaves_the_others(tmp_path):
    path = tmp_path / "result.json"
    within(GOES_WRONG, path)
    asked = json.loads(path.read_text())["asked"]
    assert "it went wrong" in asked["lists"]["error"]
    assert asked["scale"]["error"] == "not answered whole in 1 s"


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
        "asked": {
            "lifecycle": {"at": "2026-01-01T12:00", "load": 0.5, "seconds": 9}
        },
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
    assert f"img/{name}.png" in (ROOT / "docs" / "speed.md").read_text()


def test_pictures_take_little_room():
    pictures = (ROOT / "docs" / "img").iterdir()
    assert sum(path.stat().st_size for path in pictures) < ALL
    assert EVIDENCE.stat().st_size < 250 * 1024


def test_readme_shows_a_picture():
    shown = re.findall(
        r"docs/img/([\w-]+)\.png", (ROOT / "README.md").read_text()
    )
    assert shown
    assert set(shown) <= set(PICTURES)


@pytest.mark.parametrize(
    "page, tables",
    [
        ("docs/speed.md", ["machine", "quicker", "short", "unmet"]),
        ("README.md", ["few"]),
    ],
)
def test_page_has_the_tables_of_the_run_that_it_shows(page, tables, tmp_path):
    copy = tmp_path / "copy.md"
    text = (ROOT / page).read_text()
    places = re.findall("<!-- bench: (.*) -->", text)
    assert sorted(places) == tables
    emptied = re.sub(
        r"(<!-- bench: .* -->\n)(?s:.*?)(<!-- end)", r"\1\2", text
    )
    assert emptied != text
    copy.write_text(emptied)
    benchmark("report.py", EVIDENCE, copy)
    assert copy.read_text() == text


def test_page_is_of_a_whole_run():
    asked = json.loads(EVIDENCE.read_text())["asked"]
    questions = within("import run; print(*run.QUESTIONS, *run.MATRICES)")
    assert set(asked) == set(questions.split())
    assert not any(of["quick"] or "error" in of for of in asked.values())
    missing = """if True:
        import sys, pathlib, report
        result = report.loaded(pathlib.Path(sys.argv[1]))
        for of in report.SHORT:
            if not report.row_of(result, of.question, of.work, of.theirs):
                print(of.words)
    """
    assert within(missing, EVIDENCE) == ""


def test_reduced_result_has_the_same_tables(tmp_path):
    path, small = tmp_path / "all.json", tmp_path / "small.json"
    result_of(path, "--only", "holdings", "--peers", "shmemext,stdlib")
    benchmark("report.py", path, "--keep", small)
    assert small.stat().st_size < path.stat().st_size
    assert benchmark("report.py", small) == benchmark("report.py", path)


def row(side, median, base="stdlib", ratio=None, **more):
    def of(value):
        return {"median": value, "p25": value, "p75": value, "rounds": 5}

    return {
        **of_one_row("locks", "take it", "us", side),
        "time": of(median),
        "base": base,
        "ratio": None if ratio is None else of(ratio),
        **{"reach": None, "limit": None, "met": None, **more},
    }


def test_report_says_what_is_not_met_and_who_is_quicker(tmp_path):
    path = tmp_path / "result.json"

    def tables(ours):
        rows = [
            row("shmemext", ours, ratio=2.0, reach=0.5, met=False),
            row("stdlib", 3.0),
            row("posix_ipc", 2.0, ratio=0.7),
            row("C floor", 1.0),
        ]
        path.write_text(json.dumps({**small_result(), "rows": rows}))
        return benchmark("report.py", path)

    said = tables(6.0)
    assert "0 of 1 promised figures are met." in said
    assert "| take it | standard library | 2 (2-2) | 0.5 |" in said
    slower = "| take it | 6 us | posix_ipc 2 us | 3 |"
    assert slower in said
    assert "posix_ipc 2 us" not in tables(2.1)


def test_quick_run_asks_less():
    count = """if True:
        import peers, run
        from crash_matrix import QUICK, takes_part
        few = [n for n in run.QUICK if n in QUICK]
        cells = sum(takes_part(of, n) for n in few for of in ASKED)
        print(len(run.QUICK), len(peers.NAMES), cells)
    """.replace("ASKED", "run.MATRICES.values()")
    quick, every, lines = map(int, within(count).split())
    assert quick <= every // 2
    assert lines <= 6
