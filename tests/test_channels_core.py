# SPDX-License-Identifier: MIT
"""The ring of messages without Python, and what may happen to who uses it."""

from plain_c import PROGRAMS, link, run


def program(where, noun, *flags):
    return link(PROGRAMS / f"{noun}_ring.c", where / noun, *flags)


def passed(*words):
    done = run(*map(str, words), timeout=600)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_channels_deaths_and_wake_ups(tmp_path):
    passed(program(tmp_path, "directed", "-O2"))
