# SPDX-License-Identifier: MIT
"""Runs each operation of the synchronizers once, on a system that lacks
something: see missing.c.

Prints what each has raised, as JSON: [errno, text], or None. Where nobody can
sleep, nobody hangs either, however long it was to be.
"""

import json
import os
import signal

import synchronizing

from shmemext import Lock, SharedMemory


def fork(shm):
    """A child is somebody else, also where nothing wipes its pages."""
    lock = Lock(shm)
    with lock:
        child = os.fork()
        if child == 0:
            try:
                lock.release()
            except ValueError:
                os._exit(lock.acquire(False))
            os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


signal.alarm(60)
if "futex" in os.environ["MISSING"]:
    synchronizing.MOMENT = 3600
operations = {**synchronizing.OPERATIONS, "fork": fork}
del operations["Lock by a name, of a segment"]  # which others make
raised = {}
for name, operation in operations.items():
    shm = SharedMemory(
        f"shmemext-test-lacking-{os.getpid()}", True, 4096, track=False
    )
    try:
        operation(shm)
        raised[name] = None
    except OSError as error:
        raised[name] = [error.errno, str(error)]
    finally:
        shm.unlink()
print(json.dumps(raised))
