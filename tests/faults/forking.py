# SPDX-License-Identifier: MIT
"""Makes each system call of a fork fail, and of what a child does by itself
whose parent could not make it a party. Argument: the errno.

Prints how many calls there were of each.
"""

import ctypes
import os
import sys

import operations

from shmemext import Lock, SharedMemory

libc = ctypes.CDLL(None)
libc.failing_name.restype = ctypes.c_char_p
code = int(sys.argv[1])
LOST = 255


def arm(k):
    libc.failing_arm(b"_shmemext", k, code)


def failed():
    return libc.failing_name().decode()


def check(before, lost):
    """The names, descriptors and mappings: of these an anchor is one, and a
    child's is at another place."""
    names, files, descriptors, mappings = operations.held()
    assert (names, files) == before[:2]
    assert lost or descriptors == before[2], (descriptors, before[2])
    assert len(mappings) == len(before[3]), (mappings, before[3])


def join_by_itself(lock, k):
    """How many calls that takes: 0 if it is a party already. What fails is an
    error, and the next time it works."""
    arm(k)
    try:
        taken = lock.acquire(False)
    except OSError as error:
        taken = False
        assert error.errno == code or failed() == "fstat", error
    calls = libc.failing_disarm()
    assert taken or (failed() and lock.acquire(False))
    lock.release()
    return calls


def fork(lock, k, child_k):
    """The calls of the parent, and of the child."""
    before = operations.held()
    arm(k)
    child = os.fork()
    calls = libc.failing_disarm()
    # A descriptor that cannot be told to be still ours is left open.
    lost = failed() == "fstat"
    if child == 0:
        done = LOST
        try:
            done = join_by_itself(lock, child_k)
            check(before, lost or failed() == "fstat")
        except BaseException:
            done = LOST
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(done)
    _, status = os.waitpid(child, 0)
    done = os.waitstatus_to_exitcode(status)
    assert 0 <= done < LOST, done
    check(before, lost)
    with lock:
        pass
    return calls, done


operations.awaiting.let_go()
shm = SharedMemory(operations.OLD, create=True, size=4096)
lock = Lock(shm)
lock.acquire(), lock.release()
failing = most = 0
calls = k = 1
while k <= calls:
    calls, by_child = fork(lock, k, 0)
    if by_child:  # none was made for it
        failing = k
        most = by_child
    k += 1
assert failing, "nothing that fails keeps a child from being a party"
for child_k in range(1, most + 1):
    fork(lock, failing, child_k)
del lock
shm.close()
shm.unlink()
print(calls, most)
