# SPDX-License-Identifier: MIT
"""Every operation of queues, for operations.py.

What goes wrong loses no object but the one that it was about, and leaves
nothing in flight."""

import pickle
import queue
from contextlib import suppress

from shmemext import Queue, _pools

SIZE = 1 << 16  # of a queue, and of what lies beside it


def used(operation):
    """On one that has an object."""

    def run(shm):
        jobs = Queue(size=SIZE)
        jobs.put("first")
        operation(jobs)
        return jobs

    return run


def get(jobs):
    assert jobs.get() == "first"


def nothing(jobs):
    jobs.get()
    for timeout in 0, 0.001:
        with suppress(queue.Empty):
            jobs.get(timeout=timeout)


def full(jobs):
    with suppress(queue.Full):
        while True:
            jobs.put(bytes(SIZE // 8), timeout=0.001)


def tasks(jobs):
    jobs.put("second")
    jobs.get()
    jobs.get()
    jobs.task_done()
    jobs.task_done()
    jobs.join()
    with suppress(ValueError):
        jobs.task_done()


def beside(shm):
    """Within, where there is no pool to be had."""
    jobs = Queue(size=SIZE * 4)
    try:
        jobs.put(pickle.PickleBuffer(bytearray(SIZE)))
        assert len(jobs.get()) == SIZE
        jobs.task_done()
    finally:
        jobs.close()
        _pools.leave()


def look(jobs):
    assert (jobs.qsize(), jobs.empty(), jobs.full()) == (1, False, False)
    assert (jobs.size, jobs.maxsize, jobs.peers) == (SIZE, 0, 0)
    assert repr(jobs)


OPERATIONS = {
    "get of a Queue": used(get),
    "put in a Queue": used(lambda jobs: jobs.put("second")),
    "get of nothing of a Queue": used(nothing),
    "put of too much in a Queue": used(full),
    "tasks of a Queue": used(tasks),
    "buffers beside a Queue": beside,
    "look at a Queue": used(look),
    "pickle a Queue": used(lambda jobs: pickle.loads(pickle.dumps(jobs))),
}
