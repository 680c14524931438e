# SPDX-License-Identifier: MIT
"""CPython's own tests of shared memory, locks and queues, with ours in their
place.

The tests are the running interpreter's. Each run starts in a virtual
environment of its own, made for this session, where any interpreter that
imports multiprocessing.shared_memory gets ours: cpython/stand_in.py. What is
known not to pass is listed in cpython/expected_failures.toml.

The runs under the three start methods go on side by side: these tests sleep
for most of their time.
"""

import ast
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import pytest

import shmemext
import shmemext_family

HERE = Path(__file__).parent / "cpython"
LISTED = tomllib.loads((HERE / "expected_failures.toml").read_text())
START_METHODS = ["fork", "spawn", "forkserver"]
RUN_LIMIT = 1800  # seconds, for all tests under one start method

# The classes in test/_test_multiprocessing.py, under the names by which they
# are run; of the last one, the one test that has to do with us.
CLASSES = {
    "_TestSharedMemory": ("WithProcessesTestSharedMemory", "test*"),
    "TestSharedMemoryNames": ("TestSharedMemoryNames", "test*"),
    "_TestImportStar": ("_TestImportStar", "test*"),
    "TestResourceTracker": ("TestResourceTracker", "test_resource_tracker"),
    "_TestLock": ("WithProcessesTestLock", "test*"),
    "_TestSemaphore": ("WithProcessesTestSemaphore", "test*"),
    "_TestCondition": ("WithProcessesTestCondition", "test*"),
    "_TestEvent": ("WithProcessesTestEvent", "test*"),
    "_TestBarrier": ("WithProcessesTestBarrier", "test*"),
    "_TestQueue": ("WithProcessesTestQueue", "test*"),
}
OUR_CASES = [
    "StandInTests.test_parent",
    "StandInTests.test_synchronizers",
    "StandInTests.test_queues",
    "StandInTests.test_process",
    "StandInTests.test_isolated_interpreter",
]
NO_SUITE = (
    "CPython's tests are not installed: Debian has them in "
    f"libpython{sys.version_info[0]}.{sys.version_info[1]}-testsuite"
)


class AsExpected(AssertionError):
    """It failed by the difference that is listed for it."""


def suite():
    """The source of CPython's tests, None if they are not installed."""
    try:
        spec = importlib.util.find_spec("test._test_multiprocessing")
    except ModuleNotFoundError:
        return None
    return spec and Path(spec.origin)


def cases():
    """CPython's tests by name, read from the source without importing it."""
    found = []
    for node in ast.parse(suite().read_bytes()).body:
        if isinstance(node, ast.ClassDef) and node.name in CLASSES:
            name, pattern = CLASSES[node.name]
            found += [
                f"{name}.{function.name}"
                for function in node.body
                if isinstance(function, ast.FunctionDef)
                and fnmatch(function.name, pattern)
            ]
    return found


def marks(case):
    for pattern, waits_for in LISTED["not_yet"].items():
        if fnmatch(case, pattern):
            return [pytest.mark.skip(f"not ours yet: {waits_for}")]
    if case in LISTED["expected"]:
        return [
            pytest.mark.xfail(
                raises=AsExpected,
                reason=LISTED["expected"][case]["reason"],
                strict=True,
            )
        ]
    return []


def pytest_generate_tests(metafunc):
    if "case" not in metafunc.fixturenames:
        return
    if suite() is None:
        parameters = [pytest.param("none", marks=pytest.mark.skip(NO_SUITE))]
    else:
        parameters = [
            pytest.param(case, marks=marks(case))
            for case in OUR_CASES + cases()
        ]
    metafunc.parametrize("report", START_METHODS, indirect=True)
    metafunc.parametrize("case", parameters)


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory):
    """One in which shmemext stands in for multiprocessing.shared_memory."""
    where = tmp_path_factory.mktemp("stand-in")
    venv.EnvBuilder(symlinks=True).create(where)
    python = where / "bin" / "python"
    site_packages = subprocess.check_output(
        [python, "-Ic", "import sysconfig as s; print(s.get_path('purelib'))"],
        text=True,
    )
    folder = Path(site_packages.strip())
    assert folder.is_relative_to(where)
    for path in Path(shmemext.__file__).parent, Path(shmemext_family.__file__):
        (folder / path.name).symlink_to(path)
    (folder / "stand_in.py").symlink_to(HERE / "stand_in.py")
    (folder / "stand_in.pth").write_text("import stand_in\n")
    return python


def run(command, log, **environment):
    """Runs in a process group of its own, which does not outlive its time."""
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            return process.wait(RUN_LIMIT)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_suite(interpreter, folder, method, names):
    """What the tests came to under one start method."""
    (folder / "report").touch()
    command = [interpreter, HERE / "run.py", folder / "report", *names]
    status = run(command, folder / "log", SHMEMEXT_START_METHOD=method)
    lines = (folder / "report").read_text().splitlines()
    results = {line["test"]: line for line in map(json.loads, lines)}
    results["log"] = f"status {status}\n" + (folder / "log").read_text()
    return results


@pytest.fixture(scope="session")
def reports(request, interpreter, tmp_path_factory):
    """Of the tests that were asked for, by the start method."""
    names = {}
    for item in request.session.items:
        call = getattr(item, "callspec", None)
        method = call and call.params.get("report")
        if method and not item.get_closest_marker("skip"):
            names.setdefault(method, []).append(call.params["case"])
    with ThreadPoolExecutor(len(START_METHODS)) as pool:
        futures = {
            method: pool.submit(
                run_suite,
                interpreter,
                tmp_path_factory.mktemp(method),
                method,
                cases,
            )
            for method, cases in names.items()
        }
        return {method: future.result() for method, future in futures.items()}


@pytest.fixture
def report(request, reports):
    return reports[request.param]


def test_suite(report, case):
    log = report["log"]
    if None in report or case not in report:
        pytest.fail(f"did not get to its end, see:\n{log}", pytrace=False)
    result = report[case]
    if result["skip"] is not None:
        pytest.skip(f"CPython: {result['skip']}")
    if not result["failed"]:
        return
    text = "\n".join(result["failed"])
    if case in LISTED["expected"]:
        wanted = LISTED["expected"][case]["failure"]
        if all(wanted in failure for failure in result["failed"]):
            raise AsExpected(text)
    pytest.fail(f"{text}\n{log}", pytrace=False)


def test_list_names_only_texts_of_others():
    """What a tracker prints, or repr() says: no behaviour differs, but for
    who is told of what cannot be pickled, and close() of an unused queue."""
    of_queues = {"q.put(NotSerializable())", "ValueError: the queue is closed"}
    for case, entry in LISTED["expected"].items():
        text = entry["failure"]
        if text.endswith("' not found in"):  # as assertIn has it
            assert text.startswith("resource_tracker: "), case
        elif text not in of_queues:
            assert text.startswith(("AssertionError: '<",)), case


def test_generic_alias(interpreter, tmp_path):
    """test.test_genericalias, which has our ShareableList among others."""
    if suite() is None:
        pytest.skip(NO_SUITE)
    code = (
        "import unittest, test.test_genericalias as suite\n"
        "from shmemext.shared_memory import ShareableList\n"
        "assert ShareableList in suite.BaseTest.generic_types\n"
        "unittest.main(suite)\n"
    )
    log = tmp_path / "log"
    assert run([interpreter, "-I", "-c", code], log) == 0, log.read_text()
