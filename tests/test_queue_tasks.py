# SPDX-License-Identifier: MIT
"""Tasks of a Queue: in whose hand they are, who gets them when that one dies,
and when all are done."""

import gc
import os
import pickle
import queue
import signal
import threading
import time

import pytest
import queue_children as children
from channel_children import PATIENCE, ended, kill, started, told

from shmemext import Queue

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)
methods = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])


@pytest.fixture
def jobs():
    with Queue() as made:
        yield made


def in_hand(jobs):
    return jobs._look()[2]


@methods
def test_task_of_a_killed_worker_is_another_ones(jobs, method):
    jobs.put("task")
    for _ in range(3):
        child, ours = told(children.get_and_stay, jobs, method=method)
        assert ours.recv() == "task"
        with pytest.raises(queue.Empty):
            jobs.get_nowait()
        kill(child)
    assert jobs.get(timeout=PATIENCE) == "task"


def test_task_of_a_killed_one_comes_before_what_waits(jobs):
    """Or those would end who find out what tells them to."""
    for number in range(10_000):
        jobs.put(number)
    child, ours = told(children.get_and_stay, jobs)
    assert ours.recv() == 0
    kill(child)
    time.sleep(0.02)  # it is looked for every few milliseconds
    assert [jobs.get() for _ in range(10)] == [*range(10)]


@methods
@pytest.mark.parametrize("how", ["return", "exit", "raise"])
def test_task_of_a_worker_that_ends_is_nobody_elses(jobs, method, how):
    jobs.put("task")
    child, ours = told(children.get_and_end, jobs, how, method=method)
    assert ours.recv() == "task"
    child.join(PATIENCE)
    assert child.exitcode == (how == "raise")
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.2)
    assert in_hand(jobs) == 0


def test_worker_that_leaves_in_haste_is_as_one_that_is_killed(jobs):
    jobs.put("task")
    child, ours = told(children.get_and_end, jobs, "_exit")
    assert ours.recv() == "task"
    ended(child)
    assert jobs.get(timeout=PATIENCE) == "task"


def test_task_before_the_last_is_not_given_again(jobs):
    jobs.put(1)
    jobs.put(2)
    child, ours = told(children.get_two_and_stay, jobs)
    assert ours.recv() == [1, 2]
    kill(child)
    assert jobs.get(timeout=PATIENCE) == 2
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.2)


def test_task_that_is_done_is_not_given_again(jobs):
    jobs.put(1)
    child, ours = told(children.get_say_done_and_stay, jobs)
    assert ours.recv() == 1
    assert ours.recv() == "done"
    kill(child)
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.2)


def test_worker_that_waits_for_the_next_is_done_with_the_last(jobs):
    jobs.put(1)
    child, ours = told(children.wait_for_another, jobs)
    assert ours.recv() == 1
    while in_hand(jobs) != 0:
        time.sleep(0.01)
    kill(child)
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.2)


def test_child_has_nothing_of_its_parents_in_hand(jobs):
    """Nor does its end, or its next get, give that back."""
    jobs.put("ours")
    jobs.put("its")
    assert jobs.get() == "ours"
    child, ours = told(children.get_and_end, jobs, "return")
    assert ours.recv() == "its"
    ended(child)
    assert in_hand(jobs) == 1
    jobs.task_done()
    assert in_hand(jobs) == 0


def test_each_thread_has_its_own_in_hand(jobs):
    got, go, seen = [], threading.Event(), threading.Event()

    def work():
        got.append(jobs.get())
        seen.set()
        go.wait()

    jobs.put(1)
    jobs.put(2)
    thread = threading.Thread(target=work)
    thread.start()
    seen.wait()
    assert jobs.get() == 2
    assert got == [1] and in_hand(jobs) == 2
    with pytest.raises(queue.Empty):
        jobs.get_nowait()
    assert in_hand(jobs) == 1
    go.set()
    thread.join()
    assert in_hand(jobs) == 0


def test_closed_or_forgotten_one_keeps_nothing(jobs):
    """Of other threads', too, which go on."""
    other = pickle.loads(pickle.dumps(jobs))
    go, seen = threading.Event(), threading.Event()

    def work(one):
        one.get()
        del one
        seen.set()
        go.wait()

    jobs.put(1)
    jobs.put(2)
    thread = threading.Thread(target=work, args=(other,))
    thread.start()
    seen.wait()
    other.get()
    assert in_hand(jobs) == 2
    other.close()
    assert in_hand(jobs) == 0
    thread_is_alive = thread.is_alive()
    go.set()
    thread.join()
    assert thread_is_alive
    jobs.put(3)
    third = pickle.loads(pickle.dumps(jobs))
    assert third.get() == 3
    assert in_hand(jobs) == 1
    del third
    gc.collect()
    assert in_hand(jobs) == 0


def test_many_queues_in_a_thread_leave_nothing_behind():
    """A queue may lie where another one lay."""
    for number in range(300):
        with Queue(size=1 << 16) as jobs:
            jobs.put(number)
            jobs.put(number + 1)
            assert jobs.get() == number
            assert jobs.get() == number + 1
            assert in_hand(jobs) == 1


# join()


def test_join_waits_for_all_tasks(jobs):
    jobs.join()
    for number in range(3):
        jobs.put(number)
    child, ours = told(children.wait_to_join, jobs)
    assert ours.recv() == "here"
    for _ in range(3):
        assert not ours.poll(0.05)
        jobs.get()
        assert not ours.poll(0.05)
        jobs.task_done()
    assert ours.recv() == "joined"
    ended(child)


def test_task_done_is_counted(jobs):
    with pytest.raises(ValueError, match="too many times"):
        jobs.task_done()
    for number in range(5):
        jobs.put(number)
    for _ in range(5):
        jobs.get()
    for _ in range(5):
        jobs.task_done()
    with pytest.raises(ValueError, match="too many times"):
        jobs.task_done()
    jobs.join()


def test_tasks_may_be_done_in_another_thread(jobs):
    """By whom the first one hands them to."""
    jobs.put(1)
    jobs.put(2)
    jobs.get()
    thread = threading.Thread(target=jobs.task_done)
    thread.start()
    thread.join()
    assert in_hand(jobs) == 0
    jobs.get()
    jobs.task_done()
    jobs.join()


@methods
def test_join_goes_on_when_a_worker_is_killed(method):
    with Queue() as jobs, Queue() as back:
        tasks = [60.0, 0, 0, 0.01, 0.02, 0]
        for task in tasks:
            jobs.put(task)
        victim = started(children.do_tasks, jobs, back, method=method)
        while in_hand(jobs) != 1:
            time.sleep(0.01)
        others = [
            started(children.do_tasks, jobs, back, method=method)
            for _ in range(2)
        ]
        got = [back.get(timeout=PATIENCE) for _ in tasks[1:]]
        assert sorted(got) == sorted(tasks[1:])
        joined = threading.Thread(target=jobs.join)
        joined.start()
        joined.join(0.1)
        assert joined.is_alive()
        kill(victim)
        while in_hand(jobs) != 1 or victim.is_alive():
            time.sleep(0.01)  # another one has it, which is a minute's work
        for child in others:
            kill(child)
        assert jobs.get(timeout=PATIENCE) == 60.0
        jobs.task_done()
        joined.join(PATIENCE)
        assert not joined.is_alive()


def test_join_takes_off_what_the_dead_owe(jobs):
    jobs.put(1)
    jobs.put(2)
    child, ours = told(children.get_two_and_stay, jobs)
    assert ours.recv() == [1, 2]
    joined = threading.Thread(target=jobs.join)
    joined.start()
    kill(child)
    assert jobs.get(timeout=PATIENCE) == 2
    jobs.task_done()
    joined.join(PATIENCE)
    assert not joined.is_alive()


def test_signal_ends_a_join(jobs):
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    jobs.put(1)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Alarm):
            jobs.join()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_killed_writer_has_put_what_it_has_put(jobs):
    child, ours = told(children.put_and_wait, jobs)
    assert ours.recv() == "put"
    kill(child)
    assert jobs.get(timeout=PATIENCE) == b"x" * 100_000


def test_fork_beside_threads_that_get(jobs):
    """A child is not kept by what they hold."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            try:
                jobs.get(timeout=0.01)
            except queue.Empty:
                jobs.put(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    jobs.put(2)
                    jobs.get(timeout=PATIENCE)
                    jobs.task_done()
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
