# SPDX-License-Identifier: MIT
"""What the tests of the command line share."""

import json

OK, FAILED, USAGE, INTERRUPTED, UNHEARD = 0, 1, 2, 130, 141


def row(machine, name, **options):
    """The words of a segment's line in the table; None if it has none."""
    lines = machine.cli("ls", **options).stdout.splitlines()
    assert lines[0].split()[:6] == [
        "NAME",
        "SIZE",
        "HELD",
        "MODE",
        "OWNER",
        "AGE",
    ]
    rows = [line.split() for line in lines[1:] if line.split()[0] == name]
    assert len(rows) <= 1
    return rows[0] if rows else None


def listed(machine, command="ls", *arguments, **options):
    done = machine.cli(command, "--json", *arguments, **options)
    found = json.loads(done.stdout)
    return {one["name"]: one for one in found["segments"]}


def semaphore(machine, name):
    machine.made.add(f"sem.{name}")
    machine.run(
        "-c",
        "import _multiprocessing as m, sys;"
        "m.SemLock(1, 1, 1, '/' + sys.argv[1], False)",
        name,
    )
    assert machine.has(f"sem.{name}")
    return f"sem.{name}"


def only_stderr_line(done, *words):
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("shmemext: ")
    for word in words:
        assert word in done.stderr, done.stderr
