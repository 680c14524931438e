# SPDX-License-Identifier: MIT
"""Atomic: numbers in shared memory that many change at once."""

import multiprocessing
import os
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import semaphore_children as children
from arrays import np
from conftest import python

import shmemext
from shmemext.synchronize import Atomic

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

PATIENCE = 60
BITS = {"q": 64, "Q": 64, "i": 32, "I": 32}
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
all_types = pytest.mark.parametrize("letter", BITS)


@pytest.fixture
def memory():
    with shmemext.AnonymousMemory(4096) as made:
        yield made


def limits(letter):
    bits = BITS[letter]
    if letter.islower():
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


@all_types
def test_every_function(letter, memory):
    least, most = limits(letter)
    atomic = Atomic(memory, 16, letter)
    assert atomic.load() == 0
    assert atomic.store(5) is None
    assert atomic.add(3) == 5, "the old one, as fetch_add"
    assert atomic.exchange(most) == 8
    assert atomic.compare_exchange(0, 1) == most
    assert atomic.load() == most
    assert atomic.compare_exchange(most, least) == most
    assert atomic.load() == least
    size = Atomic.size_of(letter)
    assert memory.buf[16 : 16 + size] == struct.pack(letter, least)
    assert not any(memory.buf[:16]) and not any(memory.buf[16 + size :])


@all_types
def test_add_wraps_around(letter, memory):
    least, most = limits(letter)
    atomic = Atomic(memory, 8, letter)
    atomic.store(most)
    assert atomic.add(1) == most
    assert atomic.load() == least
    assert atomic.add(-1) == least
    assert atomic.load() == most
    atomic.store(7)
    assert atomic.add(2 ** BITS[letter] - 1) == 7
    assert atomic.load() == 6


@all_types
def test_numbers_out_of_range(letter):
    least, most = limits(letter)
    atomic = Atomic(type=letter)
    for wrong in (most + 1, least - 1, 2**64, -(2**64), 2**200):
        for method in (atomic.store, atomic.exchange, atomic.wait):
            with pytest.raises(OverflowError):
                method(wrong)
        with pytest.raises(OverflowError):
            atomic.compare_exchange(wrong, 0)
        with pytest.raises(OverflowError):
            atomic.compare_exchange(0, wrong)
    for wrong in (2 ** BITS[letter], -(2 ** (BITS[letter] - 1)) - 1):
        with pytest.raises(OverflowError):
            atomic.add(wrong)
    assert atomic.load() == 0
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError):
            atomic.store(wrong)


def test_what_is_an_index_is_a_number():
    class Three:
        def __index__(self):
            return 3

    atomic = Atomic()
    atomic.store(Three())
    assert atomic.add(True) == 3
    assert atomic.load() == 4


def test_size_of():
    assert [Atomic.size_of(letter) for letter in "qQiI"] == [8, 8, 4, 4]
    assert Atomic.size_of() == 8
    with pytest.raises(ValueError, match="one of q Q i I"):
        Atomic.size_of("x")


def test_places(memory):
    assert Atomic(memory, 4088).load() == 0
    assert Atomic(memory, 4092, "i").load() == 0
    for offset, letter in [
        (4, "q"),
        (2, "i"),
        (4092, "Q"),
        (4096, "I"),
        (-8, "q"),
    ]:
        with pytest.raises(ValueError, match="multiple"):
            Atomic(memory, offset, letter)
    with pytest.raises(ValueError, match="one of q Q i I"):
        Atomic(memory, 0, "d")
    with pytest.raises(ValueError, match="one of q Q i I"):
        Atomic(memory, 0, 8)
    with pytest.raises(TypeError, match="where"):
        Atomic("name")
    with pytest.raises(ValueError, match="offset"):
        Atomic(None, 8)
    memory.close()
    with pytest.raises(ValueError, match="closed"):
        Atomic(memory)


def test_two_of_a_process_of_its_own_are_two():
    first, second = Atomic(), Atomic()
    first.add(1)
    assert (first.load(), second.load()) == (1, 0)


def test_an_item_of_an_array(memory):
    array = np.frombuffer(memory, dtype=np.int64)
    array[:] = np.arange(array.size)
    atomic = Atomic(memory, 3 * array.itemsize)
    assert atomic.add(100) == 3
    assert array[3] == 103
    assert list(array[[2, 4]]) == [2, 4]
    atomic.store(array[7])
    assert array[3] == 7


def test_nothing_is_said_of_a_cell(memory):
    """Unlike the others it has no head: whatever is there is the number."""
    memory.buf[:8] = b"whatever"
    assert Atomic(memory).load() == int.from_bytes(b"whatever", "little")


def test_readonly_memory(name):
    with (
        shmemext.SharedMemory(name, True, 4096) as shm,
        shmemext.SharedMemory(name, readonly=True) as readonly,
    ):
        writer, reader = Atomic(shm, 8), Atomic(readonly, 8)
        writer.store(5)
        assert reader.load() == 5
        assert reader.wait(4, 0) is True
        assert reader.wait(5, 0.01) is False
        for call in (
            lambda: reader.store(1),
            lambda: reader.add(1),
            lambda: reader.exchange(1),
            lambda: reader.compare_exchange(5, 1),
            lambda: reader.notify(),
            lambda: reader.notify_all(),
        ):
            with pytest.raises(TypeError, match="readonly"):
                call()
        assert writer.load() == 5
        with ThreadPoolExecutor(1) as pool:
            waiter = pool.submit(reader.wait, 5, PATIENCE)
            time.sleep(0.05)
            writer.store(6)
            writer.notify()
            assert waiter.result() is True


@methods
@all_types
def test_processes_lose_nothing(letter, method):
    context = multiprocessing.get_context(method)
    atomic = Atomic(type=letter)
    workers = [
        context.Process(target=children.add, args=(atomic, 5000))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
        assert worker.exitcode == 0
    assert atomic.load() == 15000


def test_threads_lose_nothing():
    atomic = Atomic()
    with ThreadPoolExecutor(4) as pool:
        for done in [
            pool.submit(children.add, atomic, 5000) for _ in range(4)
        ]:
            done.result()
    assert atomic.load() == 20000


@all_types
def test_wait_and_notify(letter):
    atomic = Atomic(type=letter)
    assert atomic.wait(1) is True
    assert atomic.wait(0, 0) is False
    assert atomic.wait(0, -1) is False
    assert atomic.wait(value=0, timeout=0.01) is False
    assert atomic.notify() == 0
    with ThreadPoolExecutor(3) as pool:
        waiters = [pool.submit(atomic.wait, 0, PATIENCE) for _ in range(3)]
        time.sleep(0.05)
        atomic.store(1)
        atomic.notify_all()
        assert all(waiter.result() for waiter in waiters)


def test_notify_says_how_many_it_woke():
    atomic = Atomic(type="i")
    with pytest.raises(ValueError, match="negative"):
        atomic.notify(-1)
    assert atomic.notify(n=0) == 0
    assert atomic.notify(2**31 - 1) == 0
    assert atomic.notify_all() == 0


@methods
@all_types
def test_a_process_waits(letter, method):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    atomic = Atomic(type=letter)
    most = limits(letter)[1]
    atomic.store(most)
    child = context.Process(
        target=children.wait_for_change, args=(atomic, most, theirs)
    )
    child.start()
    assert ours.recv() == "here"
    atomic.store(3)
    atomic.notify()
    assert ours.recv() == (True, 3)
    child.join(PATIENCE)


def test_a_change_of_the_upper_half_alone_is_noticed():
    """The system looks at the lower one: without any notify()."""
    atomic = Atomic()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(atomic.wait, 0, PATIENCE)
        time.sleep(0.05)
        atomic.store(1 << 40)
        assert waiter.result() is True


def test_who_would_notify_is_killed():
    """As if: nobody is woken, and all see the change nevertheless."""
    atomic = Atomic(type="i")
    with ThreadPoolExecutor(2) as pool:
        waiters = [pool.submit(atomic.wait, 0, PATIENCE) for _ in range(2)]
        time.sleep(0.05)
        atomic.store(1)
        assert all(waiter.result() for waiter in waiters)


def test_a_forked_child_shares_it():
    atomic = Atomic()
    pid = os.fork()
    if pid == 0:
        atomic.add(5)
        os._exit(0)
    os.waitpid(pid, 0)
    assert atomic.load() == 5


def test_memory_that_is_closed_and_unlinked(name):
    shm = shmemext.SharedMemory(name, True, 4096)
    atomic = Atomic(shm, 64)
    shm.close()
    shm.unlink()
    assert atomic.add(1) == 0
    assert atomic.load() == 1


def test_repr(memory):
    atomic = Atomic(memory, 8, "I")
    atomic.store(2**32 - 1)
    text = "<Atomic at 8 of anonymous memory: I 4294967295>"
    assert repr(atomic) == text


def test_interrupted():
    python(
        """
import signal, threading
from shmemext.synchronize import Atomic
atomic = Atomic()
threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
try:
    atomic.wait(0)
except KeyboardInterrupt:
    pass
else:
    raise AssertionError
"""
    )


def test_memory_that_is_cut_short():
    python(
        """
import subprocess, sys, threading, warnings
import shmemext
from shmemext.synchronize import Atomic
warnings.simplefilter("ignore")
shm = shmemext.SharedMemory(create=True, size=1 << 16)
atomic = Atomic(shm, 4096)
def cut():
    code = f"import os; os.truncate('/dev/shm/{shm.name}', 4096)"
    subprocess.run([sys.executable, "-c", code], check=True)
threading.Timer(0.1, cut).start()
for call in (
    lambda: atomic.wait(0), atomic.load, lambda: atomic.store(1),
    lambda: atomic.add(1), lambda: atomic.exchange(1),
    lambda: atomic.compare_exchange(0, 1), lambda: atomic.wait(1),
):
    try:
        call()
    except OSError as error:
        assert "cut short" in str(error), error
    else:
        raise AssertionError
shm.unlink()
"""
    )


def test_a_word_that_never_rests(memory):
    atomic = Atomic(memory)
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            atomic.exchange(1)
            atomic.exchange(0)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(50):
            assert atomic.wait(0, 0.005) in (True, False)
    finally:
        stop.set()
        thread.join()
