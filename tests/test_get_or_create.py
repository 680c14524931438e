# SPDX-License-Identifier: MIT
"""Who comes first creates, who comes early waits: exist_ok= and timeout=."""

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import shared_memory as stdlib

import kinds
import machine as machines
import pytest
from conftest import DEV_SHM, descriptors, python

from shmemext import SharedMemory

PATIENT = kinds.PATIENCE  # for calls that are to be over much sooner


# --- exist_ok, created


def test_first_creates_and_second_attaches(name):
    first = SharedMemory(name, create=True, size=100, exist_ok=True)
    second = SharedMemory(name, create=True, size=100, exist_ok=True)
    assert (first.created, second.created) == (True, False)
    first.buf[0] = 7
    assert second.buf[0] == 7
    first.unlink()
    third = SharedMemory(name, create=True, size=100, exist_ok=True)
    assert third.created
    assert third.buf[0] == 0
    third.unlink()
    for shm in first, second, third:
        shm.close()


def test_created_without_exist_ok(name):
    with SharedMemory(name, create=True, size=100) as shm:
        assert shm.created is True
        with SharedMemory(name) as again:
            assert again.created is False
        with pytest.raises(FileExistsError):
            SharedMemory(name, create=True, size=100, exist_ok=False)
        with pytest.raises(AttributeError):
            shm.created = False
        shm.unlink()


def test_unpickled_has_not_created(name):
    with SharedMemory(name, create=True, size=100, exist_ok=True) as shm:
        with pickle.loads(pickle.dumps(shm)) as again:
            assert again.created is False
        shm.unlink()


def test_exist_ok_without_a_name_creates():
    with SharedMemory(create=True, size=100, exist_ok=True) as shm:
        assert shm.created
        shm.unlink()


@pytest.mark.parametrize("size", [1, 99, 100])
def test_what_is_there_may_be_larger(name, size):
    with SharedMemory(name, create=True, size=100) as shm:
        again = SharedMemory(name, create=True, size=size, exist_ok=True)
        assert again.size == len(again.buf) == 100
        again.close()
        shm.unlink()


@pytest.mark.parametrize("size", [101, 5000, sys.maxsize // 2])
def test_what_is_there_must_not_be_smaller(name, size):
    with SharedMemory(name, create=True, size=100) as shm:
        shm.buf[0] = 7
        before = descriptors()
        with pytest.raises(ValueError, match=rf"\b{size}\b") as caught:
            SharedMemory(name, create=True, size=size, exist_ok=True)
        assert "100" in str(caught.value)
        assert name in str(caught.value)
        assert descriptors() == before
        assert (DEV_SHM / name).stat().st_size == 100
        assert shm.buf[0] == 7
        shm.unlink()


def test_exist_ok_is_for_creators(name):
    with pytest.raises(ValueError, match="exist_ok"):
        SharedMemory(name, exist_ok=True)
    with SharedMemory(name, create=True, size=10) as shm:
        with pytest.raises(ValueError, match="exist_ok"):
            SharedMemory(name, exist_ok=True)
        shm.unlink()


@pytest.mark.parametrize("size", [0, -1])
def test_exist_ok_needs_a_size(name, size):
    with pytest.raises(ValueError):
        SharedMemory(name, create=True, size=size, exist_ok=True)
    assert not (DEV_SHM / name).exists()


def test_exist_ok_on_what_is_no_segment(name):
    (DEV_SHM / name).mkdir()
    try:
        with pytest.raises((OSError, ValueError)):
            SharedMemory(name, create=True, size=10, exist_ok=True)
        assert (DEV_SHM / name).is_dir()
    finally:
        (DEV_SHM / name).rmdir()


def test_attacher_by_exist_ok_does_not_own_the_name(name):
    """The name is of who made it: here of another family, which goes on."""
    code = """
import sys
from shmemext import SharedMemory
shm = SharedMemory(sys.argv[1], create=True, size=100, exist_ok=True)
assert not shm.created
shm.buf[0] += 1
"""
    with SharedMemory(name, create=True, size=100) as shm:
        python(code, name)
        python(code, name)
        assert shm.buf[0] == 2
        assert (DEV_SHM / name).exists()
        shm.unlink()


def test_segment_of_the_standard_library_is_attached_to(name):
    theirs = stdlib.SharedMemory(name, create=True, size=100)
    with SharedMemory(name, create=True, size=50, exist_ok=True) as shm:
        assert not shm.created
        shm.buf[0] = 7
    assert theirs.buf[0] == 7
    theirs.close()
    theirs.unlink()


# --- exist_ok, and what another user has put there

OTHER = machines.NOBODY
TAKES = """
import sys
from shmemext import SharedMemory
name, mode = sys.argv[1], eval(sys.argv[2])
try:
    shm = SharedMemory(name, create=True, size=9, mode=mode, exist_ok=True)
    print(shm.created, shm.buf[0])
except PermissionError as error:
    print(error.errno, error.filename, *error.__notes__)
"""


@pytest.fixture(scope="module")
def users():
    with machines.boot() as machine:
        machines.need_two_users(machine)
        yield machine


def taken(machine, name, user, mode=None):
    return machine.run("-c", TAKES, name, mode, user=user).stdout.strip()


@pytest.mark.parametrize("mode", [0o600, 0o622, 0o666])
@pytest.mark.parametrize("caller, owner", [(OTHER, OTHER - 1), (0, OTHER)])
def test_what_another_user_made_is_not_taken(users, name, caller, owner, mode):
    """Whatever its mode: who put it there may read all that is written."""
    users.file(name, uid=owner, mode=mode)
    said = taken(users, name, caller)
    assert said.startswith(f"{errno.EACCES} /{name} ")
    for word in f"/{name}", f"user {owner},", f"0o{mode:o}", "mode=0o666":
        assert word in said
    (users.shm / name).unlink()


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o660])
@pytest.mark.parametrize("caller, owner", [(OTHER, OTHER - 1), (0, OTHER)])
def test_who_shares_with_others_takes_theirs(users, name, caller, owner, mode):
    users.file(name, uid=owner, mode=0o666)
    assert taken(users, name, caller, oct(mode)) == "False 1"
    (users.shm / name).unlink()


def test_what_root_made_is_taken(users, name):
    users.file(name, mode=0o666)
    assert taken(users, name, OTHER) == "False 1"
    assert taken(users, name, 0) == "False 1"
    (users.shm / name).unlink()


def test_own_name_that_others_may_open_is_taken(users, name):
    users.file(name, uid=OTHER, mode=0o666)
    assert taken(users, name, OTHER) == "False 1"
    (users.shm / name).unlink()


def test_what_is_not_open_to_us_stays_so(users, name):
    """The system refuses it: a mode= of ours changes nothing."""
    users.file(name, uid=OTHER - 1, mode=0o600)
    said = taken(users, name, OTHER, "0o666")
    assert said.startswith(f"{errno.EACCES} /{name} ")
    assert f"user {OTHER - 1}," in said
    assert "another name" in said
    (users.shm / name).unlink()


@pytest.mark.parametrize("user", [OTHER, 0])
@pytest.mark.parametrize(
    "module", ["shmemext", "multiprocessing.shared_memory"]
)
def test_attach_by_name_asks_for_no_owner(users, name, module, user):
    path = users.file(name, uid=OTHER - 1, mode=0o666)
    code = (
        "import sys; from multiprocessing import resource_tracker\n"
        "resource_tracker.register = lambda *_: None\n"  # it would unlink
        f"from {module} import SharedMemory\n"
        "shm = SharedMemory(sys.argv[1])\n"
        "print(shm.buf[0])"
    )
    said = users.run("-W", "ignore", "-c", code, name, user=user)
    assert said.stdout == "1\n"
    path.unlink()


def test_mode_of_a_subclass_says_whether_it_shares(users, name):
    users.file(name, uid=OTHER, mode=0o666)
    code = (
        "import sys; from shmemext import SharedMemory\n"
        "class Shared(SharedMemory):\n    _mode = 0o666\n"
        "print(Shared(sys.argv[1], True, 9, exist_ok=True).created)"
    )
    assert users.run("-c", code, name).stdout == "False\n"
    (users.shm / name).unlink()


# --- exist_ok, and many at once

STARTERS = 30
ROUNDS = 20


def test_one_of_many_starters_creates(name):
    """All of them at once, again and again: one has created, and all are in
    the same memory."""
    python(
        f"""
import multiprocessing as mp, sys
from shmemext import SharedMemory
STARTERS, ROUNDS = {STARTERS}, {ROUNDS}

def start(me, barrier, name):
    for turn in range(ROUNDS):
        barrier.wait(60)
        shm = SharedMemory(
            f"{{name}}-{{turn}}", create=True, size=100, exist_ok=True
        )
        shm.buf[me] = 1 + shm.created
        barrier.wait(60)
        assert sum(shm.buf) == STARTERS + 1, bytes(shm.buf)
        barrier.wait(60)
        shm.unlink(missing_ok=True)
        shm.close()

context = mp.get_context("fork")
barrier = context.Barrier(STARTERS)
processes = [
    context.Process(target=start, args=(me, barrier, sys.argv[1]))
    for me in range(STARTERS)
]
for process in processes:
    process.start()
for process in processes:
    process.join()
assert [process.exitcode for process in processes] == [0] * STARTERS
""",
        name,
        timeout=120,
    )


def test_starters_while_others_unlink(name):
    """Between a name that is taken and a name that is gone there is no third
    state that a caller would see."""
    python(
        """
import multiprocessing as mp, sys
from shmemext import SharedMemory

def work(name):
    for _ in range(400):
        with SharedMemory(name, create=True, size=100, exist_ok=True) as shm:
            assert shm.size == 100
            shm.unlink(missing_ok=True)

context = mp.get_context("fork")
processes = [
    context.Process(target=work, args=sys.argv[1:]) for _ in range(4)
]
for process in processes:
    process.start()
for process in processes:
    process.join()
assert [process.exitcode for process in processes] == [0] * 4
""",
        name,
    )


# --- timeout


@pytest.fixture
def waiting(name):
    """A process that waits for the name, and prints what comes of it."""
    code = """
import sys, time
from shmemext import SharedMemory
start, cpu = time.monotonic(), time.process_time()
try:
    with SharedMemory(sys.argv[1], timeout=float(sys.argv[2])) as shm:
        print(shm.size, shm.buf[0], shm.created)
except BaseException as error:
    print(type(error).__name__, error)
"""
    started = []

    def start(timeout=PATIENT):
        process = subprocess.Popen(
            [sys.executable, "-c", code, name, str(timeout)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        kinds.wait_until(
            lambda: (
                process.poll() is not None
                or (
                    kinds.watches(process.pid)
                    and kinds.is_blocked(process.pid)
                )
            )
        )
        assert process.poll() is None, process.stdout.read()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def outcome(process):
    return process.communicate(timeout=kinds.PATIENCE)[0].strip()


def test_name_that_is_there_is_attached_at_once(name):
    with SharedMemory(name, create=True, size=100) as shm:
        for timeout in 0, 0.0, 5, PATIENT, 1e300, float("inf"), None:
            SharedMemory(name, timeout=timeout).close()
        shm.unlink()


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9, 0.01])
def test_name_that_never_comes(name, timeout):
    before = descriptors()
    with pytest.raises(FileNotFoundError) as caught:
        SharedMemory(name, timeout=timeout)
    assert caught.value.filename == f"/{name}"
    assert descriptors() == before


def test_name_that_comes_later(name, waiting):
    process = waiting()
    with SharedMemory(name, create=True, size=100) as shm:
        assert outcome(process) == "100 0 False"
        shm.unlink()


def test_many_wait_for_one_name(name, waiting):
    processes = [waiting() for _ in range(5)]
    with SharedMemory(name, create=True, size=100) as shm:
        for process in processes:
            assert outcome(process) == "100 0 False"
        shm.unlink()


def test_other_names_do_not_wake_for_good(name, waiting):
    process = waiting()
    for i in range(50):
        with SharedMemory(f"{name}-{i}", create=True, size=10) as other:
            other.unlink()
    kinds.wait_until(kinds.is_blocked, process.pid)
    assert process.poll() is None
    with SharedMemory(name, create=True, size=100) as shm:
        assert outcome(process) == "100 0 False"
        shm.unlink()


def test_name_that_comes_by_rename(name, waiting):
    process = waiting()
    other = DEV_SHM / f"{name}-other"
    other.write_bytes(bytes(30))
    other.rename(DEV_SHM / name)
    assert outcome(process) == "30 0 False"


def test_name_of_the_standard_library_which_is_empty_at_first(name, waiting):
    """It makes the name, then the size."""
    process = waiting()
    fd = os.open(DEV_SHM / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        kinds.wait_until(kinds.is_blocked, process.pid)
        assert process.poll() is None
        os.ftruncate(fd, 200)
        assert outcome(process) == "200 0 False"
    finally:
        os.close(fd)


def test_name_that_is_empty_already(name, waiting):
    fd = os.open(DEV_SHM / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        process = waiting()
        os.ftruncate(fd, 200)
        assert outcome(process) == "200 0 False"
    finally:
        os.close(fd)


def test_empty_name_that_is_replaced(name, waiting):
    """The creator died in the middle; the next one begins anew."""
    (DEV_SHM / name).touch()
    process = waiting()
    (DEV_SHM / name).unlink()
    with SharedMemory(name, create=True, size=100) as shm:
        assert outcome(process) == "100 0 False"
        shm.unlink()


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_name_that_stays_empty(name, timeout):
    (DEV_SHM / name).touch()
    before = descriptors()
    with pytest.raises(ValueError, match="empty"):
        SharedMemory(name, timeout=timeout)
    assert descriptors() == before


def test_standard_library_creates_while_we_wait(name, waiting):
    process = waiting()
    theirs = stdlib.SharedMemory(name, create=True, size=100)
    assert outcome(process) == "100 0 False"
    theirs.close()
    theirs.unlink()


def test_reader_waits_too(name):
    came = []

    def create():
        came.append(SharedMemory(name, create=True, size=100))

    thread = threading.Timer(0.05, create)
    thread.start()
    with SharedMemory(name, readonly=True, timeout=PATIENT) as reader:
        assert reader.readonly
    thread.join()
    came[0].unlink()
    came[0].close()


@pytest.mark.parametrize("timeout", [-1, -0.001, float("-inf")])
def test_negative_timeout_is_refused(name, timeout):
    with pytest.raises(ValueError, match="timeout"):
        SharedMemory(name, timeout=timeout)


def test_timeout_that_is_no_number(name):
    with pytest.raises(ValueError):
        SharedMemory(name, timeout=float("nan"))
    for timeout in "1", b"1", [], {}:
        with pytest.raises(TypeError):
            SharedMemory(name, timeout=timeout)


def test_timeout_is_for_attachers(name):
    for exist_ok in False, True:
        with pytest.raises(ValueError, match="timeout"):
            SharedMemory(name, True, 10, timeout=1, exist_ok=exist_ok)
    assert not (DEV_SHM / name).exists()


def test_waiting_does_not_spin(name):
    """A loop without a pause would use all of its time."""
    start, before = (
        time.monotonic(),
        resource.getrusage(resource.RUSAGE_THREAD),
    )
    with pytest.raises(FileNotFoundError):
        SharedMemory(name, timeout=1)
    after = resource.getrusage(resource.RUSAGE_THREAD)
    elapsed = time.monotonic() - start
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert elapsed >= 0.99
    assert used < elapsed / 4


def test_waiting_lets_other_threads_run(name):
    """The one that creates is a thread of the same process."""

    def create():
        time.sleep(0.05)
        shm = SharedMemory(name, create=True, size=100)
        shm.unlink()
        again = SharedMemory(name, create=True, size=100)
        made.extend([shm, again])

    made = []
    thread = threading.Thread(target=create)
    thread.start()
    with SharedMemory(name, timeout=PATIENT) as shm:
        assert shm.size == 100
    thread.join()
    made[1].unlink()
    for shm in made:
        shm.close()


def test_ctrl_c_ends_the_wait(name, waiting):
    process = waiting()
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert outcome(process).startswith("KeyboardInterrupt")
    assert time.monotonic() - before < PATIENT / 2


def test_interrupted_wait_leaves_no_descriptor(name):
    before = descriptors()
    main = threading.get_ident()
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            SharedMemory(name, timeout=PATIENT)
    finally:
        timer.join()
    assert descriptors() == before


def test_other_signals_neither_end_nor_prolong_the_wait(name):
    """Each of them has a handler, and the wait goes on."""
    caught = []
    before = signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        start = time.monotonic()
        with pytest.raises(FileNotFoundError):
            SharedMemory(name, timeout=0.3)
        assert time.monotonic() - start >= 0.29
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught


def test_waiters_and_creators_at_once(name):
    """Names that come and go: a waiter gets one of them, whole."""
    rounds = 100
    errors = []

    def wait():
        try:
            for i in range(rounds):
                with SharedMemory(f"{name}-{i}", timeout=PATIENT) as shm:
                    assert shm.size == 100
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    made = []
    with suppress(FileExistsError):
        for i in range(rounds):
            made.append(SharedMemory(f"{name}-{i}", create=True, size=100))
    for thread in threads:
        thread.join()
    for shm in made:
        shm.unlink()
        shm.close()
    assert not errors, errors


# --- timeout, and a time.sleep() of the program's own


@pytest.fixture
def sleeps(monkeypatch):
    """What time.sleep() was asked for; it sleeps, after a function that may
    be put into it."""
    asked = []
    asked_before = []
    sleep = time.sleep

    def patched(seconds):
        asked.append(seconds)
        for function in asked_before:
            function()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", patched)
    return asked, asked_before


def test_wait_is_by_the_sleep_that_a_program_has_put_there(name, sleeps):
    asked, first = sleeps
    made = []

    def create():
        if len(asked) == 5:
            made.append(SharedMemory(name, create=True, size=100))

    first.append(create)
    before = descriptors()
    with SharedMemory(name, timeout=PATIENT) as shm:
        assert shm.size == 100
    assert asked[:5] == [0.001, 0.002, 0.004, 0.008, 0.016]
    assert len(asked) == 5
    assert descriptors() == before
    made[0].unlink()
    made[0].close()


def test_patched_wait_ends_when_its_time_is_over(name, sleeps):
    asked, _ = sleeps
    start = time.monotonic()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name, timeout=0.2)
    assert time.monotonic() - start >= 0.2
    assert max(asked) <= 0.032
    assert sum(asked) <= 0.2


def test_exception_of_a_patched_sleep_ends_the_wait(name, sleeps):
    _, first = sleeps
    before = descriptors()

    def stop():
        raise KeyError("enough")

    first.append(stop)
    with pytest.raises(KeyError, match="enough"):
        SharedMemory(name, timeout=PATIENT)
    assert descriptors() == before


def test_patched_sleep_that_goes_while_it_sleeps(name, sleeps):
    """No reference to it is left but ours."""
    asked, first = sleeps
    first.append(lambda: setattr(time, "sleep", None))
    with pytest.raises(FileNotFoundError):
        SharedMemory(name, timeout=0.01)
    assert asked


def test_name_that_is_there_needs_no_sleep(name, sleeps):
    with SharedMemory(name, create=True, size=100) as shm:
        SharedMemory(name, timeout=PATIENT).close()
        shm.unlink()
    assert not sleeps[0]


@pytest.mark.parametrize("broken", ["time.sleep", "sys.modules['time']"])
def test_time_that_is_broken(name, broken):
    """Nothing hangs, and nothing crashes."""
    python(
        f"""
import sys, time
from shmemext import SharedMemory
keep = time.sleep
del {broken}
sys.modules.setdefault("time", None)
try:
    SharedMemory(sys.argv[1], timeout=0.01)
except (FileNotFoundError, AttributeError, ImportError) as error:
    print(type(error).__name__)
""",
        name,
    )
