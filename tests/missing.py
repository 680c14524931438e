# SPDX-License-Identifier: MIT
"""Systems that lack a call, or a sandbox that forbids it: `make missing`.

For each of them the tests of SharedMemory, the operations of synchronizers and
the core's C tests run in processes that have not got it. Where there is
another way all pass. Where there is none, each that fails does so by an error
that names the call.
"""

import errno
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import plain_c
import preload
import pytest

TESTS = Path(__file__).parent

# Other ways take another number of descriptors for a moment.
BY_THE_WAY = "not descriptor_to_spare"
# What needs no process that waits for what cannot come.
SOME = "there_are_views or every_use or handle_of or array or closed"
SOME = f"({SOME}) and not sending and not from_fd"

DISPENSABLE = [
    "O_TMPFILE=95",
    "linkat=1",
    "linkat_empty=2,linkat_proc=2",
    "fallocate=95",
    "getrandom=38",
    "memfd=38",
    "seals=22",
    "statx=38",
    "inotify=38",
    "populate=22",
    "mremap=22",
    "clone=1",
    "close_range=38",
    "process_vm_readv=38",
    "lease=22",
    "pagemap=1",
    "procfd=2",
]

# Whose tests fail without, which of them are run, and what each failure says.
INDISPENSABLE = {
    "ofd=38": (
        "shared_memory",
        f"{BY_THE_WAY} and not way_out",
        "F_OFD_SETLK of fcntl(2)",
    ),
    "memfd=38": ("anonymous_memory", SOME, "memfd_create(2)"),
    "seals=22": ("anonymous_memory", SOME, "F_ADD_SEALS of fcntl(2)"),
}

# Of the operations of synchronizers: which fail without, by which errno and
# what words. An Atomic has no holder, so that it needs to ask nobody.
NEEDS_A_PARTY = re.compile("(?!.*Atomic|.*number|.*wrong place)")
SLEEPS = re.compile("acquire in vain|read and write|wait (for|at)|dead party")
LACKING = {
    "wipeonfork=22": (None, 0, ""),
    "ofd=38": (NEEDS_A_PARTY, errno.ENOTSUP, "F_OFD_SETLK of fcntl(2)"),
    "dontfork=22": (NEEDS_A_PARTY, errno.ENOTSUP, "MADV_DONTFORK of madvise"),
    "futex=38": (SLEEPS, errno.ENOSYS, os.strerror(errno.ENOSYS)),
    "futex=1": (SLEEPS, errno.EPERM, os.strerror(errno.EPERM)),
}

# What one of the C programs is about: files elsewhere, memory without a name,
# the faster way of a copy.
KINDS = re.compile("O_TMPFILE|linkat|memfd|seals|populate|procfd")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return preload.build("missing", tmp_path_factory.mktemp("missing"))


def without(calls, library):
    return {**os.environ, **preload.environment(library), "MISSING": calls}


def ran(noun, which, calls, library, report):
    """The failures of these tests: of each its name and all that it says."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-k", which),
            *(TESTS / f"test_{noun}.py", f"--junitxml={report}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        env=without(calls, library),
    )
    assert done.returncode in (0, 1), done.stdout
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) > 10
    return {
        case.get("name"): " ".join(case.itertext())
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


@pytest.mark.parametrize("calls", DISPENSABLE)
def test_what_has_another_way(calls, library, tmp_path):
    failed = ran("shared_memory", BY_THE_WAY, calls, library, tmp_path / "xml")
    assert failed == {}, "\n".join([calls, *failed.values()])


@pytest.mark.parametrize("noun", ["users", "corpse"])
def test_who_cannot_be_asked_keeps_no_name(noun, library, tmp_path):
    """Leases tell of those who know nothing of our locks. Without, all else
    holds."""
    which = "not descriptor_is and not standard_library and not what_somebody"
    failed = ran(noun, which, "lease=22", library, tmp_path / "xml")
    assert failed == {}, "\n".join(failed.values())


@pytest.mark.parametrize("calls", INDISPENSABLE)
def test_what_has_none_is_named(calls, library, tmp_path):
    noun, which, words = INDISPENSABLE[calls]
    failed = ran(noun, which, calls, library, tmp_path / "xml")
    assert failed
    others = {name: said for name, said in failed.items() if words not in said}
    assert others == {}, "\n".join([calls, *others.values()])


@pytest.mark.parametrize("calls", LACKING)
def test_synchronizers_work_or_say_what_is_missing(calls, library):
    needs, code, words = LACKING[calls]
    done = subprocess.run(
        [sys.executable, preload.FAULTS / "lacking.py"],
        capture_output=True,
        text=True,
        timeout=120,
        env=without(calls, library),
    )
    assert (done.returncode, done.stderr) == (0, "")
    raised = json.loads(done.stdout)
    assert len(raised) > 50
    for name, error in raised.items():
        if needs is None or needs.match(name) is None:
            assert error is None, (name, error)
        else:
            assert error is not None, name
            assert error[0] == code and words in error[1], (name, error)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Without sanitizers, which would come after the library."""
    where = tmp_path_factory.mktemp("core")
    nouns = "core", "contest", "ledger", "users"
    sources = [plain_c.PROGRAMS / f"test_{noun}.c" for noun in nouns]
    return [plain_c.link(one, where / one.stem, "-O1") for one in sources]


@pytest.mark.parametrize("calls", DISPENSABLE)
def test_core_has_another_way(calls, programs, library, name, tmp_path):
    kinds, *others = programs
    for program in others if KINDS.match(calls) else [kinds, *others]:
        directory = tmp_path / program.name
        directory.mkdir(mode=0o700)
        done = subprocess.run(
            [program, directory, name],
            capture_output=True,
            text=True,
            timeout=300,
            env=without(calls, library),
        )
        assert (done.returncode, done.stdout) == (0, "all passed\n"), (
            program.name,
            done.stderr,
        )
