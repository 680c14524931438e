# SPDX-License-Identifier: MIT
"""Conditions: who is notified, and what the dead leave behind."""

import asyncio
import errno
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shmemext import AnonymousMemory, SharedMemory
from shmemext.synchronize import Condition, Lock, OwnerDied, RLock

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*:DeprecationWarning"
)

LONG = 30  # seconds, which nothing here takes
STARTS = ["fork", "spawn"]


def until(predicate):
    end = time.monotonic() + LONG
    while not predicate():
        assert time.monotonic() < end
        time.sleep(0.001)


def count(condition):
    return int(re.search(r"(\d+) waits?>", repr(condition))[1])


def wait_and_tell(condition, told, index, timeout=None):
    with condition:
        told[index] = 1 if condition.wait(timeout) else 2


class Waiters:
    """Processes that wait, in order; which of them were woken."""

    def __init__(self, condition, start="fork"):
        self.condition = condition
        self.context = multiprocessing.get_context(start)
        self.memory = AnonymousMemory(4096)
        self.all = []

    def add(self, timeout=None):
        before = count(self.condition)
        process = self.context.Process(
            target=tell_by_memory,
            args=(self.condition, self.memory, len(self.all), timeout),
        )
        process.start()
        self.all.append(process)
        until(lambda: count(self.condition) > before)
        time.sleep(0.01)  # it sleeps
        return process

    def end(self):
        for process in self.all:
            process.kill()
            process.join()
        self.memory.close()

    def told(self):
        return [self.memory.buf[i] for i in range(len(self.all))]

    def woken(self):
        return [i for i, told in enumerate(self.told()) if told == 1]


def tell_by_memory(condition, memory, index, timeout):
    wait_and_tell(condition, memory.buf, index, timeout)


@contextmanager
def waiters(condition, start="fork", first=0):
    made = Waiters(condition, start)
    try:
        for _ in range(first):
            made.add()
        yield made
    finally:
        made.end()


def notify(condition, n=1):
    with condition:
        condition.notify(n)


# Whom a notification reaches


@pytest.mark.parametrize("start", STARTS)
def test_processes_are_notified_in_order(start):
    condition = Condition()
    with waiters(condition, start, 3) as some:
        notify(condition)
        until(lambda: some.woken() == [0])
        notify(condition)
        until(lambda: some.woken() == [0, 1])
        notify(condition)
        until(lambda: some.woken() == [0, 1, 2])


def test_notify_wakes_exactly_n():
    condition = Condition()
    with waiters(condition, first=5) as some:
        notify(condition, 2)
        until(lambda: some.woken() == [0, 1])
        time.sleep(0.2)  # longer than a slice
        assert some.woken() == [0, 1]
        notify(condition, 10)
        until(lambda: some.woken() == [0, 1, 2, 3, 4])


def test_notification_is_not_kept_for_who_comes_later():
    condition = Condition()
    with condition:
        condition.notify_all()
        assert not condition.wait(0.05)


def test_threads_are_notified_in_order():
    condition = Condition()
    order = []

    def wait(i):
        with condition:
            condition.wait()
            order.append(i)

    threads = []
    for i in range(6):
        threads.append(threading.Thread(target=wait, args=(i,)))
        threads[-1].start()
        until(lambda i=i: count(condition) == i + 1)
    for i in range(6):
        notify(condition)
        until(lambda i=i: len(order) == i + 1)
    for thread in threads:
        thread.join()
    assert order == list(range(6))


def test_threads_produce_and_consume():
    condition = Condition(Lock())
    made, taken = [], []

    def consume():
        for _ in range(200):
            with condition:
                condition.wait_for(lambda: made)
                taken.append(made.pop())

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(800):
        with condition:
            made.append(i)
            condition.notify()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(800))


# Deaths


def test_notify_all_returns_after_a_waiter_was_killed():
    condition = Condition()
    with waiters(condition, first=2) as some:
        some.all[0].kill()
        some.all[0].join()
        with condition:
            condition.notify_all()
        until(lambda: some.woken() == [1])
    assert count(condition) == 0


STDLIB_HANGS = """if True:
    import multiprocessing, time
    context = multiprocessing.get_context("fork")
    condition = context.Condition()
    def wait():
        with condition:
            condition.wait()
    process = context.Process(target=wait)
    process.start()
    time.sleep(0.3)
    process.kill()
    process.join()
    print("notifies", flush=True)
    with condition:
        condition.notify_all()
    print("returned", flush=True)
"""


def test_standard_librarys_notify_all_hangs_then():
    with subprocess.Popen(
        [sys.executable, "-c", STDLIB_HANGS], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"notifies\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.kill()


def test_dead_waiter_is_passed_over():
    condition = Condition()
    with waiters(condition, first=3) as some:
        some.all[0].kill()
        some.all[0].join()
        notify(condition)
        until(lambda: some.woken() == [1])
        time.sleep(0.2)
        assert some.woken() == [1]


def stop(process):
    os.kill(process.pid, signal.SIGSTOP)
    stat = Path(f"/proc/{process.pid}/stat")

    def stopped():
        return stat.read_text().rpartition(")")[2].split()[0] == "T"

    until(stopped)


def test_waiter_that_is_killed_with_its_notification_leaves_it_to_the_next():
    condition = Condition()
    with waiters(condition, first=3) as some:
        stop(some.all[0])
        notify(condition)
        time.sleep(0.2)
        assert some.woken() == []  # it is who is stopped that has it
        some.all[0].kill()
        until(lambda: some.woken() == [1])
        time.sleep(0.2)
        assert some.woken() == [1]


def test_newcomer_does_not_get_a_dead_waiters_notification():
    """All slots are taken, so the newcomer takes that of the dead."""
    condition = Condition(waiters=2)
    with waiters(condition, first=2) as some:
        stop(some.all[0])
        stop(some.all[1])  # it does not look after the other's
        notify(condition)
        some.all[0].kill()
        some.all[0].join()
        memory = some.memory
        process = some.context.Process(
            target=tell_by_memory, args=(condition, memory, 2, None)
        )
        process.start()
        some.all.append(process)
        time.sleep(0.2)
        os.kill(some.all[1].pid, signal.SIGCONT)
        until(lambda: some.woken() == [1])
        time.sleep(0.2)
        assert some.woken() == [1]
        notify(condition)
        until(lambda: some.woken() == [1, 2])


def test_later_waiter_does_not_inherit():
    condition = Condition()
    with waiters(condition, first=1) as some:
        stop(some.all[0])
        notify(condition)
        some.add()
        some.add(0.3)
        some.all[0].kill()
        some.all[0].join()
        until(lambda: some.told()[2])
        assert some.woken() == []
        notify(condition)
        until(lambda: some.woken() == [1])


def test_as_many_wait_as_it_was_made_for():
    condition = Condition(waiters=2)
    with waiters(condition, first=2) as some:
        with condition, pytest.raises(OSError, match="waiters=") as caught:
            condition.wait()
        assert caught.value.errno == errno.ENOSPC
        some.all[0].kill()
        some.all[0].join()
        with condition:
            assert not condition.wait(0.01)
        notify(condition)
        until(lambda: some.woken() == [1])


def hold_and_tell(condition, memory):
    condition.acquire()
    condition.notify()
    memory.buf[100] = 1
    time.sleep(LONG)


@contextmanager
def killed_holder(condition, memory):
    process = multiprocessing.get_context("fork").Process(
        target=hold_and_tell, args=(condition, memory)
    )
    process.start()
    until(lambda: memory.buf[100])
    process.kill()
    process.join()
    memory.buf[100] = 0
    yield process


def test_wait_has_the_lock_when_it_tells_that_its_holder_died():
    condition = Condition()
    memory = AnonymousMemory(4096)
    died = []

    def wait():
        with condition, pytest.raises(OwnerDied) as caught:
            condition.wait()
        died.append(caught.value)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: count(condition) == 1)
    with killed_holder(condition, memory) as holder:
        thread.join()
    assert died[0].pid == holder.pid
    assert "condition.lock.repair()" in str(died[0])
    with pytest.raises(OwnerDied):  # it stays so
        condition.acquire()
    with condition.lock.repair() as torn:
        assert torn
        condition.notify_all()
    with condition:
        assert not condition.wait(0)


def test_what_wait_told_is_repaired_where_it_was_told():
    condition = Condition()
    memory = AnonymousMemory(4096)
    repaired = []

    def wait():
        with condition:
            try:
                condition.wait()
            except OwnerDied:
                with condition.lock.repair() as torn:
                    repaired.append(torn)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: count(condition) == 1)
    with killed_holder(condition, memory):
        thread.join()
    assert repaired == [True]
    with condition:
        pass


def test_lock_that_ignores_deaths_tells_nobody():
    condition = Condition(on_death="ignore")
    memory = AnonymousMemory(4096)
    with waiters(condition, first=2) as some:
        with killed_holder(condition, memory):
            until(lambda: some.woken() == [0])
        with condition:
            condition.notify()
        until(lambda: some.woken() == [0, 1])


def storm(condition, memory, seed):
    """Waits and notifies at random, until it is killed."""
    turn = seed
    while True:
        turn = (turn * 1103515245 + 12345) & 0x7FFFFFFF
        with condition:
            if turn & 0x10000:
                condition.notify(1 + (turn >> 8) % 3)
            else:
                condition.wait((turn >> 4) % 16 / 4000)
            memory.buf[seed] = (memory.buf[seed] + 1) % 256


def test_storm_leaves_nobody_behind():
    condition = Condition(waiters=6, on_death="ignore")
    memory = AnonymousMemory(4096)
    context = multiprocessing.get_context("fork")

    def start(i):
        process = context.Process(target=storm, args=(condition, memory, i))
        process.start()
        return process

    processes = [start(i) for i in range(4)]
    for i in range(60):
        time.sleep(0.003 * (i % 4))
        if i % 3 == 0:
            os.kill(processes[i % 4].pid, signal.SIGSTOP)
        processes[i % 4].kill()
        processes[i % 4].join()
        processes[i % 4] = start(i % 4)
    before = bytes(memory.buf[:4])
    until(lambda: all(before[i] != memory.buf[i] for i in range(4)))
    for process in processes:
        process.kill()
        process.join()
    assert count(condition) == 0
    with waiters(condition, first=3) as some:
        notify(condition, 2)
        until(lambda: some.woken() == [0, 1])
        time.sleep(0.2)
        assert some.woken() == [0, 1]
        with condition:
            condition.notify_all()
        until(lambda: some.woken() == [0, 1, 2])


# The lock


def test_recursion_is_restored():
    condition = Condition()
    had = []

    def other():
        with condition:
            condition.notify()
            had.append(True)

    with condition, condition, condition:
        thread = threading.Thread(target=other)
        thread.start()
        assert condition.wait(LONG)
        thread.join()
    assert had == [True]
    assert not condition.locked()
    with pytest.raises(AssertionError):
        condition.release()


@pytest.mark.parametrize("kind", [Lock, RLock])
def test_lock_may_lie_anywhere(kind):
    lock = kind(AnonymousMemory(4096), 128)
    one = Condition(lock, AnonymousMemory(4096), 64)
    two = Condition(lock)
    assert one.lock is lock
    with waiters(one, first=1) as first, waiters(two, first=1) as second:
        notify(two)
        until(lambda: second.woken() == [0])
        assert first.woken() == []
        notify(one)
        until(lambda: first.woken() == [0])


@pytest.mark.parametrize(
    "lock", [threading.Lock(), multiprocessing.RLock(), 5, "gpu"]
)
def test_lock_is_one_of_ours(lock):
    with pytest.raises(TypeError, match="Lock or RLock"):
        Condition(lock)


def test_on_death_is_the_locks():
    with pytest.raises(ValueError, match="on_death"):
        Condition(Lock(), on_death="ignore")


# As multiprocessing's


@pytest.fixture(params=["ours", "theirs"])
def made(request):
    if request.param == "ours":
        return Condition()
    return multiprocessing.get_context("fork").Condition()


def test_who_has_not_the_lock_is_refused(made):
    with pytest.raises(
        AssertionError, match=r"must acquire\(\) condition before using wait"
    ):
        made.wait()
    for call in (made.notify, made.notify_all):
        with pytest.raises(AssertionError, match="lock is not owned"):
            call()
    with pytest.raises(AssertionError, match="not owned by thread"):
        made.release()


@pytest.mark.parametrize("timeout", [-1, 0, 0.01])
def test_wait_says_that_nobody_notified(made, timeout):
    with made:
        assert made.wait(timeout) is False
        assert made.wait(timeout=timeout) is False


@pytest.mark.parametrize("n", [0, -1])
def test_notify_of_none_wakes_none(made, n):
    told = [0]
    thread = threading.Thread(target=wait_and_tell, args=(made, told, 0, LONG))
    thread.start()
    until(lambda: re.search(r"1( waits?)?[>)]", repr(made)))
    with made:
        made.notify(n)
        made.notify(n=n)
    time.sleep(0.05)
    assert told == [0]
    with made:
        made.notify(2**70 if n else 1) if n == 0 else made.notify()
    thread.join()
    assert told == [1]


def test_wait_for_returns_what_the_predicate_did(made):
    answers = iter([0, "", "yes"])
    with made:
        assert made.wait_for(lambda: [], 0.01) == []
        assert made.wait_for(lambda: 7, -1) == 7
        done = threading.Event()

        def notify_often():
            while not done.wait(0.001):
                notify(made)

        thread = threading.Thread(target=notify_often)
        thread.start()
        assert made.wait_for(lambda: next(answers)) == "yes"
        done.set()
    thread.join()


def test_wait_for_passes_on_what_the_predicate_raises(made):
    with made, pytest.raises(ZeroDivisionError):
        made.wait_for(lambda: 1 / 0)


def test_with_and_acquire(made):
    assert made.acquire() is True
    assert made.acquire(timeout=0) is True
    made.release()
    made.release()
    with made as entered:
        assert entered is True


def test_signal_wakes_and_the_lock_is_held(made):
    class Alarm(Exception):
        pass

    def ring(number, frame):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(Alarm), made:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            made.wait()
    finally:
        signal.signal(signal.SIGALRM, before)
    with made:
        pass


def test_who_is_interrupted_leaves_its_notification_to_the_next():
    condition = Condition()
    told = [0]

    class Alarm(Exception):
        pass

    def ring(number, frame):
        raise Alarm

    main = threading.main_thread().ident

    def others():
        until(lambda: count(condition) == 1)
        thread = threading.Thread(
            target=wait_and_tell, args=(condition, told, 0, LONG)
        )
        thread.start()
        until(lambda: count(condition) == 2)
        with condition:
            condition.notify()
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0.2)
        thread.join()

    before = signal.signal(signal.SIGUSR1, ring)
    thread = threading.Thread(target=others)
    try:
        with condition, pytest.raises(Alarm):
            thread.start()
            condition.wait()
    finally:
        signal.signal(signal.SIGUSR1, before)
    thread.join()
    assert told == [1]


# Places


def test_memory_is_the_place():
    memory = AnonymousMemory(4096)
    one = Condition(where=memory, offset=64, waiters=5)
    two = Condition(where=memory, offset=64, waiters=5)
    assert Condition.size_of(5) == 128 + 128
    assert Condition.size_of(waiters=4) == 128 + 64
    with one:
        assert two.locked()
    with pytest.raises(ValueError, match=r"waiters=5.*waiters=6"):
        Condition(where=memory, offset=64, waiters=6)
    with pytest.raises(ValueError, match=r"waiters=5.*lock"):
        Condition(Lock(), memory, 64, waiters=5)
    with pytest.raises(ValueError, match="takes 512 bytes"):
        Condition(where=AnonymousMemory(448))
    with pytest.raises(ValueError, match="in use"):
        memory.buf[1024 + 500] = 1
        Condition(where=memory, offset=1024)


@pytest.mark.parametrize("waiters", [0, -1, 65536])
def test_waiters_are_some(waiters):
    with pytest.raises(ValueError, match="waiters"):
        Condition(waiters=waiters)


def test_memory_cut_short_is_told():
    shm = SharedMemory(create=True, size=4096)
    condition = Condition(where=shm)
    condition.acquire()
    os.truncate(f"/dev/shm/{shm.name}", 0)
    with pytest.warns(RuntimeWarning):
        for call in (condition.notify, condition.wait, condition.notify_all):
            with pytest.raises(OSError, match="cut short"):
                call()
    shm.close()
    shm.unlink()


def test_readonly_memory_is_refused():
    shm = SharedMemory(create=True, size=4096)
    reader = SharedMemory(shm.name, readonly=True)
    with pytest.raises(TypeError, match="readonly"):
        Condition(where=reader)
    reader.close()
    shm.close()
    shm.unlink()


def test_closing_the_memory_disturbs_nobody():
    memory = AnonymousMemory(4096)
    condition = Condition(where=memory)
    told = [0]
    thread = threading.Thread(target=wait_and_tell, args=(condition, told, 0))
    thread.start()
    until(lambda: count(condition) == 1)
    memory.close()
    notify(condition)
    thread.join()
    assert told == [1]


@pytest.mark.parametrize("lock", [None, Lock, RLock])
def test_pickle_is_a_reference(lock):
    shm = SharedMemory(create=True, size=4096)
    lock = lock and lock(shm, 1024)
    condition = Condition(lock, shm, 64, waiters=3)
    again = pickle.loads(pickle.dumps(condition))
    assert type(again.lock) is type(condition.lock)
    told = [0]
    thread = threading.Thread(target=wait_and_tell, args=(condition, told, 0))
    thread.start()
    until(lambda: count(again) == 1)
    notify(again)
    thread.join()
    assert told == [1]
    shm.close()
    shm.unlink()


def use_name(name):
    with Condition(where=name) as _, Condition(where=name):
        Condition(where=name).notify_all()


@pytest.mark.parametrize("start", STARTS)
def test_name_is_the_place(start):
    name = f"cond-{os.getpid()}"
    condition = Condition(where=name)
    told = [0]
    thread = threading.Thread(target=wait_and_tell, args=(condition, told, 0))
    thread.start()
    until(lambda: count(condition) == 1)
    context = multiprocessing.get_context(start)
    process = context.Process(target=use_name, args=(name,))
    process.start()
    process.join()
    thread.join()
    assert told == [1]


def test_subclass_and_repr():
    class Mine(Condition):
        pass

    mine = Mine()
    assert re.search("Mine at .*: free, 0 wait>", repr(mine))
    with mine:
        assert "held here" in repr(mine)
    assert mine.lock is mine.lock
    with pytest.raises(AttributeError):
        mine.lock = None


def test_fork_while_others_wait_leaves_the_child_without_a_slot():
    condition = Condition(waiters=2)
    told = [0]
    thread = threading.Thread(target=wait_and_tell, args=(condition, told, 0))
    thread.start()
    until(lambda: count(condition) == 1)
    with waiters(condition, first=1) as some:
        notify(condition, 2)
        until(lambda: some.woken() == [0])
    thread.join()
    assert told == [1]


def test_bytes_written_by_a_stranger_do_no_harm():
    memory = AnonymousMemory(4096)
    condition = Condition(where=memory, waiters=24)
    stops = threading.Event()

    def write():
        while not stops.is_set():
            memory.buf[128:512] = os.urandom(384)
            memory.buf[8:12] = os.urandom(4)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(100):
        with suppress(OSError), condition:
            condition.notify_all()
            condition.wait(0.001)
    stops.set()
    thread.join()


# Tasks


def test_task_waits_while_others_run():
    condition = Condition()

    async def main():
        ticks = 0
        async with condition:
            waiting = asyncio.create_task(wait_async(condition))
        while count(condition) == 0:
            await asyncio.sleep(0.001)
            ticks += 1
        async with condition:
            condition.notify()
        assert await waiting is True
        assert ticks

    asyncio.run(main())
    assert count(condition) == 0
    assert not condition.locked()


async def wait_async(condition):
    async with condition:
        return await condition.wait_async()


def test_task_is_notified_by_a_process():
    condition = Condition()

    async def main():
        process = multiprocessing.get_context("fork").Process(
            target=notify_when_one_waits, args=(condition,)
        )
        process.start()
        assert await wait_async(condition) is True
        process.join()

    asyncio.run(main())


def notify_when_one_waits(condition):
    until(lambda: count(condition) == 1)
    notify(condition)


class Sleepless(Condition):
    def _sleep(self, slot, timeout):
        raise OSError(errno.ENOSYS, "a sandbox forbids futex(2)")


def test_task_that_cannot_sleep_has_the_lock_and_its_slot_is_free():
    condition = Sleepless()
    had = []

    async def main():
        async with condition:
            try:
                await condition.wait_async()
            finally:
                had.append(condition.locked())

    with pytest.raises(OSError, match="forbids"):
        asyncio.run(main())
    assert had == [True]
    assert not condition.locked()
    assert count(condition) == 0


def test_cancelled_task_has_the_lock_and_leaves_its_notification():
    condition = Condition()
    had = []

    async def cancelled():
        async with condition:
            try:
                await condition.wait_async()
            finally:
                had.append(condition.locked())

    async def main():
        one = asyncio.create_task(cancelled())
        while count(condition) < 1:
            await asyncio.sleep(0.001)
        two = asyncio.create_task(wait_async(condition))
        while count(condition) < 2:
            await asyncio.sleep(0.001)
        async with condition:
            condition.notify()
            one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert await asyncio.wait_for(two, LONG) is True

    asyncio.run(main())
    assert had == [True]
    assert count(condition) == 0


def test_task_that_times_out_has_the_lock():
    condition = Condition()

    async def main():
        async with condition:
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(0.05):
                    await condition.wait_async()
            assert condition.locked()
        assert not condition.locked()

    asyncio.run(main())


def test_many_tasks_some_of_them_cancelled():
    condition = Condition(waiters=100)

    async def main():
        tasks = [asyncio.create_task(wait_async(condition)) for _ in range(60)]
        while count(condition) < 60:
            await asyncio.sleep(0.001)
        for task in tasks[::3]:
            task.cancel()
        async with condition:
            condition.notify(40)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results.count(True) == 40

    asyncio.run(asyncio.wait_for(main(), LONG))
    assert count(condition) == 0


def test_task_is_told_that_the_holder_died():
    condition = Condition()
    memory = AnonymousMemory(4096)

    async def main():
        task = asyncio.create_task(wait_async(condition))
        while count(condition) < 1:
            await asyncio.sleep(0.001)
        with killed_holder(condition, memory), pytest.raises(OwnerDied):
            await task

    asyncio.run(main())
    with pytest.raises(OwnerDied):
        condition.acquire()
    with condition.lock.repair():
        pass


def test_task_without_the_lock_is_refused():
    async def main():
        with pytest.raises(AssertionError, match="wait_async"):
            await Condition().wait_async()

    asyncio.run(main())
