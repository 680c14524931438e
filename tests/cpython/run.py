# SPDX-License-Identifier: MIT
"""Runs tests of CPython's suite, by name, under one start method.

    SHMEMEXT_START_METHOD=fork python run.py REPORT \\
        WithProcessesTestSharedMemory.test_shared_memory_basics ...

`python` is an interpreter in which shmemext stands in for the stdlib's
module of shared memory. The locks and the queues that the tests make are ours
by what is done here. REPORT gets a line of JSON per test. What children import
to find the test classes is this file, so it defines them without being
__main__; the start method comes by the environment, which all children have.
"""

import faulthandler
import json
import multiprocessing
import multiprocessing.managers
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from test import _test_multiprocessing, support

import shmemext.shared_memory
from shmemext import synchronize

TEST_LIMIT = 300  # seconds, then a traceback of where it hangs

SYNCHRONIZERS = [
    "Lock",
    "RLock",
    "Semaphore",
    "BoundedSemaphore",
    "Event",
    "Condition",
    "Barrier",
]


def nobody_sleeps(self, cond):
    """CPython's asks the three semaphores that its conditions are made of."""


for name in SYNCHRONIZERS:
    ours = getattr(synchronize, name)
    setattr(_test_multiprocessing.ProcessesMixin, name, ours)
_test_multiprocessing._TestCondition.check_invariant = nobody_sleeps

# Some of the tests of queues ask multiprocessing for theirs.
for name in "Queue", "JoinableQueue":
    setattr(_test_multiprocessing.ProcessesMixin, name, shmemext.Queue)
    setattr(multiprocessing, name, shmemext.Queue)

_test_multiprocessing.install_tests_in_module_dict(
    globals(), os.environ["SHMEMEXT_START_METHOD"]
)

IS_OURS = (
    "import sys, multiprocessing.managers as m, shmemext.shared_memory as o;"
    "from multiprocessing import shared_memory as s;"
    "sys.exit(not s is o is m.shared_memory)"
)


class StandInTests(unittest.TestCase):
    """The other tests prove nothing if they meet the stdlib's module."""

    def test_parent(self):
        ours = shmemext.shared_memory
        self.assertIs(_test_multiprocessing.shared_memory, ours)
        self.assertIs(multiprocessing.managers.shared_memory, ours)
        self.assertIs(multiprocessing.shared_memory, ours)
        self.assertTrue(ours.SharedMemory.__module__.startswith("shmemext"))

    def test_synchronizers(self):
        for name in SYNCHRONIZERS:
            made = getattr(WithProcessesTestLock, name)  # noqa: F821
            self.assertIs(made, getattr(shmemext.synchronize, name))

    def test_queues(self):
        for name in "Queue", "JoinableQueue":
            made = getattr(WithProcessesTestQueue, name)  # noqa: F821
            self.assertIs(made, shmemext.Queue)
            self.assertIs(getattr(multiprocessing, name), shmemext.Queue)

    def test_process(self):
        self.assertEqual(
            multiprocessing.get_start_method(),
            os.environ["SHMEMEXT_START_METHOD"],
        )
        process = multiprocessing.Process(target=exec, args=(IS_OURS,))
        process.start()
        process.join()
        self.assertEqual(process.exitcode, 0)

    def test_isolated_interpreter(self):
        for flags in ("-I",), ("-E",), ("-I", "-X", "dev"):
            with self.subTest(flags=flags):
                code = [sys.executable, *flags, "-c", IS_OURS]
                self.assertEqual(subprocess.call(code), 0)


class Report(unittest.TextTestResult):
    """Writes down each test as it ends, so that a crash names its test."""

    path: Path

    def startTest(self, test):
        super().startTest(test)
        self.failed, self.skip = [], None
        signal.alarm(TEST_LIMIT)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        self.write(test.id().removeprefix("__main__."))

    def write(self, test):
        line = {"test": test, "failed": self.failed, "skip": self.skip}
        with self.path.open("a") as report:
            report.write(json.dumps(line) + "\n")

    def addError(self, test, err):
        super().addError(test, err)
        if isinstance(test, unittest.TestCase):
            self.failed.append(self.errors[-1][1])
        else:  # setUpModule, tearDownModule
            self.failed, self.skip = [self.errors[-1][1]], None
            self.write(None)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed.append(self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            text = self._exc_info_to_string(err, test)
            self.failed.append(f"{subtest}\n{text}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skip = reason


def main(report, *names):
    faulthandler.enable()
    # No watchdog thread: the tests fork, and under AddressSanitizer a child
    # that is forked while a thread comes or goes waits for ever for a lock.
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    Report.path = Path(report)
    support.LONG_TIMEOUT = 100  # five minutes, for what takes two seconds
    _test_multiprocessing.DELTA = 0.4  # 0.1, for others to be scheduled in
    suite = unittest.defaultTestLoader.loadTestsFromNames(
        names, sys.modules[__name__]
    )
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Report)
    sys.exit(not runner.run(suite).wasSuccessful())


if __name__ == "__main__":
    main(*sys.argv[1:])
