# SPDX-License-Identifier: MIT
"""What may be shown of the synchronizers' models in a few seconds, and that
their runner takes nothing for shown that was not. `make model` runs it all."""

import shutil
import subprocess
import sys

import pytest
from models import run as models

MODELS = sorted(models.HERE.glob("*.pml"))
LOST = """
bool there = true;
active proctype waiter() { there == false }
"""
LONG = """
int i;
active proctype counter() { do :: i < 5000 -> i++ :: else -> break od }
"""


@pytest.fixture
def checker():
    for tool in ("spin", "gcc"):
        if not shutil.which(tool):
            pytest.skip(models.MISSING.format(tool))


@pytest.fixture
def model(tmp_path):
    def make(text, *options):
        path = tmp_path / "model.pml"
        path.write_text(text)
        return models.Run(path, "run", list(options))

    return make


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_model_says_what_is_run(path):
    kinds = [run.kind for run in models.runs(path)]
    assert {"quick", "run", "mutant"} <= set(kinds)


def test_small_ones_hold(checker):
    done = subprocess.run(
        [sys.executable, models.__file__, "--quick"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("holds") >= len(MODELS)


def test_sleeper_that_nobody_wakes_is_an_error(checker, model):
    assert models.search(model(LOST)).error == "invalid end state"


def test_search_that_was_cut_off_is_none(checker, model, monkeypatch):
    assert models.search(model(LONG)).error is None
    monkeypatch.setattr(models, "DEPTH", 100)
    with pytest.raises(models.Wrong, match="not all states were seen"):
        models.search(model(LONG))


def test_search_without_memory_is_none(checker, model, monkeypatch):
    monkeypatch.setattr(models, "MEGABYTES", 1)
    with pytest.raises(models.Wrong):
        models.search(model(LONG))


def test_mutant_is_of_a_run(model):
    run = model("/* run: -DN=2 */\n/* mutant: -DBAD -DN=3 */\n")
    with pytest.raises(models.Wrong, match="nothing is run"):
        models.runs(run.model)


def test_mutant_that_nobody_catches_fails(checker, model, capsys):
    run = model("active proctype p() { skip }")
    mutant = models.Run(run.model, "mutant", ["-DBAD"])
    assert not models.tell(mutant, models.search(mutant))
    assert "NOT CAUGHT" in capsys.readouterr().out
