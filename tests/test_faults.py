# SPDX-License-Identifier: MIT
"""What happens when a call or an allocation fails, each of them in turn.

The scripts in tests/faults/ do it in processes of their own. Their asserts
say what went wrong.
"""

import errno
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
from preload import FAULTS, build, environment

from shmemext import _shmemext

# Functions that cannot fail, or whose failure has no effect.
HARMLESS = {
    "__assert_fail",
    "__cxa_finalize",
    "__errno_location",
    "__gmon_start__",
    "__isoc23_sscanf",
    "__isoc99_sscanf",
    "__register_atfork",
    "__memcpy_chk",
    "__snprintf_chk",
    "__stack_chk_fail",
    "__strcpy_chk",
    "__tls_get_addr",
    "___tls_get_addr",  # where words have 32 bits
    "_ITM_deregisterTMCloneTable",
    "_ITM_registerTMCloneTable",
    "_exit",
    "chdir",  # of the reaper, which ends when it fails
    "atexit",
    "bcmp",
    "clock_gettime",
    "closedir",
    "dirfd",
    "free",
    "geteuid",
    "getrlimit",  # no limit is known then
    "gnu_dev_makedev",  # a number of two, by a call where code is small
    "getrlimit64",
    "getpid",
    "getuid",
    "lseek",
    "lseek64",
    "memchr",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "posix_spawnattr_destroy",
    "pthread_attr_destroy",
    "pthread_attr_setstacksize",  # it has as much as others have then
    "pthread_join",
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "pthread_once",
    "pthread_rwlock_rdlock",
    "pthread_rwlock_unlock",
    "pthread_rwlock_wrlock",
    "pthread_sigmask",
    "raise",
    "setsid",
    "sigemptyset",
    "sigfillset",
    "sigaction",
    "sigaddset",
    "sigismember",
    "snprintf",
    "strchr",
    "strcmp",
    "strcpy",
    "strerror",
    "strlen",
    "strncmp",
    "strncpy",
    "strrchr",
    "strstr",
    "strnlen",
    "strspn",
    "sysconf",
    "umask",
}

if SANITIZED := "SHMEMEXT_SANITIZER" in os.environ:  # its malloc() is used
    HARMLESS |= {"malloc", "calloc", "realloc", "reallocarray"}


def run(script, *args, timeout=600, **env):
    done = subprocess.run(
        [sys.executable, FAULTS / script, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **env},
    )
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """The preloaded library, built."""
    options = ["-DNO_MALLOC"] if SANITIZED else []
    return build("failing", tmp_path_factory.mktemp("faults"), *options)


@pytest.fixture
def preload(failing):
    return environment(failing)


def symbols(library, which):
    listing = subprocess.run(
        ["nm", "--dynamic", "--format=posix", which, library],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {line.split()[0].split("@")[0] for line in listing.splitlines()}


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm(1)")
def test_every_call_of_the_extension_can_be_made_to_fail(failing):
    """Otherwise the other tests here would not notice a new one: it belongs
    into failing.c, or into HARMLESS."""
    calls = {
        name
        for name in symbols(_shmemext.__file__, "--undefined-only")
        if not name.startswith(
            ("Py", "_Py", "__asan", "__ubsan", "__tsan", "__sanitizer")
        )
    }
    assert {"open", "mmap"} <= {call.removesuffix("64") for call in calls}
    assert calls - symbols(failing, "--defined-only") - HARMLESS == set()


@pytest.mark.parametrize("code", ["EMFILE", "ENOMEM"])
def test_failing_call_is_an_error_that_leaves_nothing(preload, code):
    seen = run("calls.py", code, **preload).split()
    assert {"fstat", "fchmod", "fallocate", "linkat", "unlink"} < set(seen)
    assert {"fsync", "msync", "memfd_create", "fcntl", "madvise"} < set(seen)
    assert {"fstatfs", "futex", "eventfd", "pthread_create"} < set(seen)
    assert {"futex_waitv", "poll"} < set(seen)


def test_interrupted_call_is_retried_or_an_error(preload):
    seen = run("calls.py", "EINTR", **preload).split()
    assert {"fallocate", "futex"} < set(seen)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_child_that_its_parent_made_no_party_is_one_by_itself(preload, code):
    """Or that is an error, and the next time it works. Nothing is left in
    either."""
    by_parent, by_child = map(int, run("forking.py", code, **preload).split())
    assert by_parent > 5 < by_child


def test_failing_call_of_a_fork_with_frames_and_messages_in_hand(preload):
    """They are its parent's, and the child reads them as they were."""
    assert int(run("inheriting.py", errno.EMFILE, **preload)) > 5


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_failing_call_of_the_first_create_and_lock(preload, code, name):
    assert 5 < int(run("first.py", code, name, **preload)) < 198


def test_family_whose_directory_is_there_already(preload):
    """Another one is drawn."""
    assert len(run("squatted.py", **preload).strip()) == 32


def test_wait_for_a_name_works_without_inotify(preload, name):
    """Whichever call fails: the name comes, or the error is that one."""
    seen = run("waiting.py", name, **preload).split()
    assert "inotify_init1" in seen


@pytest.mark.parametrize("code", ["EMFILE", "ENOMEM", "ENOSYS", "EINTR"])
def test_failing_call_of_a_thread_that_helps_to_wait(preload, code):
    seen = run("helping.py", code, timeout=60, **preload).split()
    assert {"futex_waitv", "poll"} <= {*seen}


@pytest.mark.parametrize("where", ["pthread_mutex_lock", "linkat"])
def test_nobody_waits_for_a_thread_that_is_stopped(preload, where):
    """In the family's mutex, nobody but those who want it: in no case with
    the GIL, which would stop all threads. Where a name is given, nobody."""
    assert run("holding.py", where, timeout=60, **preload) == "done\n"


@pytest.mark.skipif(
    find_spec("_testcapi") is None, reason="this Python has no _testcapi"
)
def test_failing_allocation_is_memory_error_and_leaves_nothing():
    assert int(run("memory.py", PYTHONMALLOC="default")) > 50


def test_no_operation_leaks_objects():
    """With Python's own allocator, which counts."""
    run("leaks.py", PYTHONMALLOC="default")


@pytest.mark.parametrize(
    "size, options", [(1 << 20, []), (1 << 16, []), (100, ["exist_ok"])]
)
def test_create_looks_first_whether_the_name_is_taken(
    preload, name, size, options
):
    """Or the whole memory would be made, and thrown away."""
    free, taken = map(
        int, run("taken.py", name, size, *options, **preload).split()
    )
    # one, and whether a dead one has it; attaching afterwards takes some
    assert taken <= (9 if options else 6)
    assert free > 6
