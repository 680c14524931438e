# SPDX-License-Identifier: MIT
"""How the command writes names, sizes and times, and reads them."""

import argparse

import pytest
from commands import FAILED

from shmemext import __main__ as cli
from shmemext._command import text as texts


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (5000, "4.9 KiB"),
        (10 * 1024 + 1, "10 KiB"),
        (1024**2 - 1, "1 MiB"),
        (3 << 30, "3 GiB"),
        (1 << 62, "4 EiB"),
        (1 << 72, "4096 EiB"),
    ],
)
def test_human_sizes(size, text):
    assert texts.human(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (1e6, "11d")],
)
def test_human_ages(seconds, text):
    assert texts.age(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("7d", 604800)],
)
def test_durations(text, seconds):
    assert texts.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5", "1w", "1 h", "1h2m", "inf"])
def test_durations_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        texts.duration(text)


def test_main_can_be_called(capsys):
    assert cli.main(["info", "no-such-segment"]) == FAILED
    assert "no such segment" in capsys.readouterr().err
