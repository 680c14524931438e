# SPDX-License-Identifier: MIT
"""Barrier: who waits for whom, and that nobody waits for the dead."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import barrier_children as children
import pytest

from shmemext import AnonymousMemory, Barrier, Lock

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

PATIENCE = children.PATIENCE
FORK = multiprocessing.get_context("fork")
METHODS = ("fork", "spawn", "forkserver")
Broken = threading.BrokenBarrierError


@pytest.fixture(params=["shmemext", "multiprocessing"])
def both(request):
    """The class, and its double in the standard library."""
    return Barrier if request.param == "shmemext" else FORK.Barrier


@pytest.fixture
def replies():
    made = children.Replies()
    yield made
    made.close()


@pytest.fixture
def start():
    """Starts a process, which does not outlive the test."""
    started = []

    def start(target, *args, context=FORK):
        process = context.Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def kill(process):
    process.kill()
    process.join()


def in_threads(count, function):
    """What each of so many threads returns, or the exception."""
    results = queue.SimpleQueue()

    def run(number):
        try:
            results.put(function(number))
        except BaseException as error:
            results.put(error)

    threads = [
        threading.Thread(target=run, args=(number,)) for number in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return [results.get(timeout=PATIENCE) for _ in threads]


# As the standard library's


def test_arguments(both):
    if both is Barrier:
        with pytest.raises(ValueError, match="parties must be > 0"):
            both(0)
    else:
        both(0)  # where whoever waits waits for ever; threading refuses it
    barrier = both(1, None, 5)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (
        1,
        0,
        False,
    )
    assert barrier.wait() == 0
    assert barrier.wait(None) == 0
    assert barrier.wait(timeout=-1) == 0
    with pytest.raises(TypeError):
        barrier.wait(1, 2)
    with pytest.raises(AttributeError):
        barrier.parties = 2


@pytest.mark.parametrize("timeout", [0, -1, 0.05])
def test_timeout_breaks_it(both, timeout):
    barrier = both(2)
    with pytest.raises(Broken):
        barrier.wait(timeout)
    assert barrier.broken
    assert barrier.n_waiting == 0
    with pytest.raises(Broken):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken
    assert sorted(in_threads(2, lambda _: barrier.wait(PATIENCE))) == [0, 1]


def test_default_timeout_is_the_objects(both):
    barrier = both(2, timeout=0.01)
    with pytest.raises(Broken):
        barrier.wait()


def test_thousand_generations_of_threads(both):
    barrier = both(3)
    rounds = in_threads(
        3, lambda _: [barrier.wait(PATIENCE) for _ in range(1000)]
    )
    for indices in zip(*rounds, strict=True):
        assert sorted(indices) == [0, 1, 2]


def test_thousand_generations_of_processes(both, start, replies):
    barrier = both(2)
    start(children.come, barrier, replies, 1000)
    ours = [barrier.wait(PATIENCE) for _ in range(1000)]
    theirs = [replies.get(timeout=PATIENCE) for _ in ours]
    assert [a + b for a, b in zip(ours, theirs, strict=True)] == [1] * 1000


def test_more_threads_than_parties_pass_in_turns(both):
    barrier = both(2)
    tickets = iter(range(400))
    rounds = in_threads(4, lambda _: [barrier.wait(PATIENCE) for _ in tickets])
    indices = [index for one in rounds for index in one]
    assert sorted(indices) == [0] * 200 + [1] * 200


def test_action_runs_once_before_anybody_passes(both):
    ran = []
    barrier = both(3, lambda: ran.append(barrier.n_waiting))

    def run(_):
        barrier.wait(PATIENCE)
        return len(ran)

    assert in_threads(3, run) == [1, 1, 1]


def test_action_that_fails_breaks_it(both):
    def action():
        raise LookupError("in the action")

    barrier = both(2, action)
    errors = in_threads(2, lambda _: barrier.wait(PATIENCE))
    assert sorted(map(type, errors), key=str) == [LookupError, Broken]
    assert barrier.broken


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_abort_and_reset_end_the_wait_of_all(both, end):
    barrier = both(4)

    def run(number):
        if number == 0:
            wait_until(lambda: barrier.n_waiting == 3)
            return getattr(barrier, end)()
        return barrier.wait(PATIENCE)

    errors = in_threads(4, run)
    assert sum(isinstance(error, Broken) for error in errors) == 3
    assert barrier.broken is (end == "abort")
    barrier.reset()
    assert sorted(in_threads(4, lambda _: barrier.wait(PATIENCE))) == [
        *range(4)
    ]


def test_timeout_is_for_arrivals_and_not_for_the_action(both):
    slow = threading.Event()
    barrier = both(2, lambda: slow.wait(PATIENCE))

    def run(number):
        if number == 0:
            return barrier.wait(0.3)
        wait_until(lambda: barrier.n_waiting == 1)
        threading.Timer(0.6, slow.set).start()
        return barrier.wait(PATIENCE)

    assert sorted(in_threads(2, run)) == [0, 1]


def test_who_comes_while_it_is_reset_waits(both):
    """Whoever a reset has woken comes again at once."""
    barrier = both(3)
    for _ in range(100):

        def run(number):
            if number == 0:
                wait_until(lambda: barrier.n_waiting == 2)
                barrier.reset()
            else:
                with pytest.raises(Broken):
                    barrier.wait(PATIENCE)
            return barrier.wait(PATIENCE)

        assert sorted(in_threads(3, run)) == [0, 1, 2]


# Deaths


def test_party_killed_before_it_comes_again_breaks_it(both, start, replies):
    barrier = both(3)
    victim = start(children.come_and_work, barrier, replies)
    other = start(children.come, barrier, replies, 2)
    barrier.wait(PATIENCE)
    assert {replies.get(timeout=PATIENCE) for _ in range(2)} < {0, 1, 2}
    wait_until(lambda: barrier.n_waiting == 1)
    kill(victim)
    if both is Barrier:
        with pytest.raises(Broken, match=f"process {victim.pid} died"):
            barrier.wait(PATIENCE)
        assert f"process {victim.pid} died" in replies.get(timeout=PATIENCE)
    else:
        with pytest.raises(Broken):
            barrier.wait(0.5)  # for ever, without a timeout
    other.join()


def test_party_killed_while_all_others_sleep_breaks_it(start, replies):
    barrier = Barrier(3)
    victim = start(children.come_and_work, barrier, replies)
    start(children.come, barrier, replies, 2)
    barrier.wait(PATIENCE)
    wait_until(lambda: barrier.n_waiting == 1)
    thread = threading.Thread(target=lambda: (time.sleep(0.2), kill(victim)))
    thread.start()
    with pytest.raises(Broken, match=str(victim.pid)):
        barrier.wait()
    thread.join()


def test_party_killed_after_it_has_come_breaks_it(both, start, replies):
    barrier = both(2)
    victim = start(children.come, barrier, replies)
    wait_until(lambda: barrier.n_waiting == 1)
    kill(victim)
    if both is Barrier:
        with pytest.raises(Broken, match=f"process {victim.pid} died"):
            barrier.wait(PATIENCE)
    else:
        start(children.come, barrier, replies)
        with pytest.raises(queue.Empty):
            replies.get(timeout=0.5)  # for ever, whatever its timeout


def test_workers_that_end_after_they_passed_are_no_deaths(
    both, start, replies
):
    barrier = both(2)
    for _ in range(4):
        worker = start(children.come, barrier, replies)
        barrier.wait(PATIENCE)
        worker.join(PATIENCE)
        assert worker.exitcode == 0
        assert replies.get(timeout=PATIENCE) in (0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_workers_that_end_are_no_deaths_however_started(method):
    context = multiprocessing.get_context(method)
    replies = context.Queue()
    barrier = Barrier(2)
    for _ in range(2):
        worker = context.Process(target=children.come, args=(barrier, replies))
        worker.start()
        barrier.wait(PATIENCE)
        worker.join(PATIENCE)
        assert worker.exitcode == 0
        assert replies.get(timeout=PATIENCE) in (0, 1)
    replies.close()
    replies.join_thread()


def test_worker_that_ends_at_once_is_a_death(both, start, replies):
    barrier = both(2)
    worker = start(children.come_and_end_at_once, barrier, replies)
    barrier.wait(PATIENCE)
    worker.join(PATIENCE)
    with pytest.raises(Broken) as caught:
        barrier.wait(PATIENCE if both is Barrier else 0.5)
    assert (str(worker.pid) in str(caught.value)) is (both is Barrier)


def test_object_that_is_gone_is_not_counted_on(start, replies):
    barrier = Barrier(2)
    barriers = [pickle.loads(pickle.dumps(barrier))]
    worker = start(children.come_drop_and_end_at_once, barriers, replies)
    barriers.clear()
    barrier.wait(PATIENCE)
    worker.join(PATIENCE)
    start(children.come, barrier, replies)
    assert barrier.wait(PATIENCE) in (0, 1)


def test_object_that_is_gone_takes_no_other_along():
    barrier = Barrier(2)
    other = pickle.loads(pickle.dumps(barrier))
    two = [barrier, other]
    del other
    in_threads(2, lambda number: two[number].wait(PATIENCE))
    two.pop()
    gc.collect()
    cell = bytes(barrier.memory.buf[barrier.offset + 64 :][:16])
    assert sum(any(cell[at : at + 8]) for at in (0, 8)) == 1


def test_dead_party_is_forgotten_by_reset(start, replies):
    barrier = Barrier(2)
    for _ in range(3):
        victim = start(children.come_and_work, barrier, replies)
        barrier.wait(PATIENCE)
        kill(victim)
        with pytest.raises(Broken):
            barrier.wait(PATIENCE)
        barrier.reset()
        assert not barrier.broken


def test_death_in_the_action_breaks_it(start, replies):
    barrier = Barrier(2, children.never_end)
    other = Barrier(2, where=barrier.memory, offset=barrier.offset)
    thread = threading.Thread(
        target=lambda: replies.put(children.told(other)), daemon=True
    )
    thread.start()
    wait_until(lambda: barrier.n_waiting == 1)
    victim = start(children.come, barrier, replies)
    wait_until(lambda: barrier.n_waiting == 2)
    kill(victim)
    assert f"process {victim.pid} died" in replies.get(timeout=PATIENCE)
    thread.join()
    assert barrier.broken


def test_process_that_ends_while_a_thread_waits_breaks_it(start, replies):
    barrier = Barrier(3)
    worker = start(children.leave_a_thread_waiting, barrier, replies)
    assert replies.get(timeout=PATIENCE) == "waiting"
    with pytest.raises(Broken):
        barrier.wait(PATIENCE)
    worker.join(PATIENCE)


def test_who_waits_may_be_interrupted(start, replies):
    barrier = Barrier(2)
    worker = start(children.be_interrupted, barrier, replies)
    wait_until(lambda: barrier.n_waiting == 1)
    os.kill(worker.pid, signal.SIGINT)
    assert replies.get(timeout=PATIENCE) == "interrupted"
    assert not barrier.broken
    assert barrier.wait(PATIENCE) in (0, 1)
    assert replies.get(timeout=PATIENCE) in (0, 1)


def test_killed_at_any_moment_nobody_waits_for_ever(start):
    barrier = Barrier(3)
    for moment in range(1, 30):  # all have come once, and are counted on
        victim = start(children.come_again_and_again, barrier)
        other = start(children.come_again_and_again, barrier)
        with suppress(Broken):
            for _ in range(moment):
                barrier.wait(PATIENCE)
            kill(victim)
            while True:
                barrier.wait(PATIENCE)
        assert barrier.broken
        other.join(PATIENCE)
        assert other.exitcode == 0
        barrier.reset()


# Places


@pytest.mark.parametrize("method", METHODS)
def test_passes_to_children_by_every_way(method):
    context = multiprocessing.get_context(method)
    replies = context.Queue()
    barrier = Barrier(3)
    workers = [
        context.Process(target=children.say_pid, args=(barrier, replies))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    indices = {barrier.wait(PATIENCE)}
    for _ in workers:
        parties, index = replies.get(timeout=PATIENCE)
        assert parties == 3
        indices.add(index)
    assert indices == {0, 1, 2}
    for worker in workers:
        worker.join(PATIENCE)
    replies.close()
    replies.join_thread()


def test_pickle_takes_action_and_timeout_along():
    barrier = pickle.loads(pickle.dumps(Barrier(1, os.getpid, 0.01)))
    assert barrier.wait() == 0
    two = pickle.loads(pickle.dumps(Barrier(2, None, 0.01)))
    with pytest.raises(Broken):
        two.wait()


def test_two_programs_that_know_a_name():
    name = f"test-barrier-{uuid.uuid4().hex}"
    barrier = Barrier(2, where=name)
    program = Path(children.__file__)
    for _ in range(2):
        done = subprocess.Popen(
            [sys.executable, program, name], stdout=subprocess.PIPE, text=True
        )
        index = barrier.wait(PATIENCE)
        assert done.communicate(timeout=PATIENCE) == (f"{1 - index}\n", None)
        assert done.returncode == 0


def test_lies_in_a_memory():
    memory = AnonymousMemory(4096)
    barrier = Barrier(5, where=memory, offset=64)
    assert Barrier(5, None, None, memory, 64).parties == 5
    end = 64 + Barrier.size_of(5)
    assert end % 64 == 0
    Lock(memory, end)
    with pytest.raises(ValueError, match=r"Barrier\(parties=5\) already"):
        Barrier(6, where=memory, offset=64)
    with pytest.raises(ValueError, match="in use"):
        Barrier(3, where=memory, offset=end - 64)
    with pytest.raises(ValueError, match="bytes"):
        Barrier(5, where=memory, offset=4096 - 64)
    with pytest.raises(ValueError, match="at most 65536"):
        Barrier(1 << 17)
    assert barrier.memory is memory


def test_repr_says_who_waits():
    memory = AnonymousMemory(4096)
    barrier = Barrier(2, where=memory)
    assert re.fullmatch("<Barrier at 0 of .*: waiters=0/2>", repr(barrier))
    barrier.abort()
    assert re.fullmatch("<Barrier at 0 of .*: broken>", repr(barrier))


def test_closed_memory_disturbs_nobody():
    memory = AnonymousMemory(4096)
    barrier = Barrier(2, where=memory)
    memory.close()
    assert sorted(in_threads(2, lambda _: barrier.wait(PATIENCE))) == [0, 1]


def test_scribbled_memory_is_waited_for_no_longer_than_asked():
    memory = AnonymousMemory(4096)
    barrier = Barrier(3, where=memory)
    over = threading.Event()

    def scribble():
        while not over.is_set():
            memory.buf[8:] = os.urandom(4088)
            memory.buf[8:] = bytes(4088)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(50):
            with suppress(Broken):
                barrier.wait(0.005)
            barrier.abort()
    finally:
        over.set()
        thread.join()


# Tasks


def test_tasks_wait_for_each_other():
    barrier = Barrier(3)

    async def main():
        return await asyncio.gather(*(barrier.wait_async() for _ in range(3)))

    for _ in range(3):
        assert sorted(asyncio.run(main())) == [0, 1, 2]


def test_cancelled_task_has_not_come():
    barrier = Barrier(2)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(barrier.wait_async(), 0.1)
        while barrier.n_waiting:
            await asyncio.sleep(0.001)
        assert not barrier.broken
        return await asyncio.gather(*(barrier.wait_async() for _ in range(2)))

    assert sorted(asyncio.run(main())) == [0, 1]


@pytest.mark.parametrize("cancels", [True, False])
def test_task_that_ends_with_its_loop_has_not_come(cancels):
    barrier = Barrier(2)

    async def main():
        waiting = asyncio.ensure_future(barrier.wait_async())
        while not barrier.n_waiting:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)  # by now a thread is at it
        if cancels:
            waiting.cancel()

    asyncio.run(main())
    deadline = time.monotonic() + PATIENCE
    while barrier.n_waiting and time.monotonic() < deadline:
        time.sleep(0.001)
    assert barrier.n_waiting == 0
    assert not barrier.broken


def test_task_is_told_that_it_broke():
    barrier = Barrier(2)

    async def main():
        waiting = asyncio.ensure_future(barrier.wait_async())
        while not barrier.n_waiting:
            await asyncio.sleep(0.001)
        barrier.abort()
        with pytest.raises(Broken):
            await waiting

    asyncio.run(main())
