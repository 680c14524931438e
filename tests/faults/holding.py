# SPDX-License-Identifier: MIT
"""One thread stops in the middle of a call of the extension: see failing.c.
What others do meanwhile must not wait for it, or only the thread that does it.

The argument says where. A deadlock is the test's failure.
"""

import ctypes
import os
import sys
import threading
import time

from shmemext import SharedMemory, _shmemext

libc = ctypes.CDLL(None)
where = sys.argv[1].encode()
PREFIX = f"shmemext-test-holding-{os.getpid()}"
ready = threading.Event()


def stop_in_a_create():
    libc.failing_hold(where)
    with SharedMemory(f"{PREFIX}-held", create=True, size=1) as shm:
        shm.unlink()


def create():
    with SharedMemory(f"{PREFIX}-new", create=True, size=1) as shm:
        shm.unlink()


def create_taken():
    with SharedMemory(old.name, create=True, size=1, exist_ok=True):
        pass


def create_generated():
    with SharedMemory(create=True, size=1) as shm:
        shm.unlink()


def adopt():
    _shmemext._adopt(adopted.name, family)


def started(target):
    thread = threading.Thread(target=target)
    thread.start()
    return thread


old = SharedMemory(f"{PREFIX}-old", create=True, size=1)
disowned = SharedMemory(f"{PREFIX}-disowned", create=True, size=1)
adopted = SharedMemory(f"{PREFIX}-adopted", create=True, size=1, track=False)
attached = SharedMemory(adopted.name)
family = _shmemext._found()
adopt()
create()  # what is set up once is set up now

holder = started(stop_in_a_create)
while not libc.failing_holds():
    time.sleep(0.001)
others = [
    started(act)
    for act in (
        create,
        create_taken,
        create_generated,
        old.unlink,
        attached.unlink,
        lambda: _shmemext._disown(disowned.name),
        lambda: _shmemext._disown("/nobody"),
    )
]
if where == b"linkat":  # names of one process are given in parallel
    for thread in others:
        thread.join()
time.sleep(0.05)  # for the others to wait, if they do, each by itself
assert holder.is_alive() and libc.failing_holds()
libc.failing_let_go()
for thread in (holder, *others):
    thread.join()
disowned.unlink()
print("done")
