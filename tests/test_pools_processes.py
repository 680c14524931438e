# SPDX-License-Identifier: MIT
"""Pools among processes: whoever ends, is killed or forks, what is held is not
written, and pools of which nobody has anything go."""

import multiprocessing
import os
import random
import time

import pool_children
import pytest
from channel_children import ended, ended_well, forked, in_a_fork, kill, told
from conftest import python, segments
from family_children import wait_until

from shmemext import _pools, _shmemext

# They fork beside threads, as their users do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

METHODS = ["fork", "spawn", "forkserver"]


def pattern(seed, size=100_000):
    return random.Random(seed).randbytes(size)


def names():
    return {one for one in segments() if one.startswith(_pools.PREFIX)}


def sent(data, **how):
    reference = _pools.refer(data, **how)
    assert reference is not None
    return reference


def stops(child, connection):
    connection.send(None)
    ended(child)
    connection.close()


@pytest.fixture(autouse=True)
def all_pools_go():
    """Also those of children that were killed: when they are looked at."""
    before = names()
    yield
    _pools.leave()
    assert names() - before == set()


@pytest.mark.parametrize("method", METHODS)
def test_there_and_back_again(method):
    child, connection = told(pool_children.echo, method=method)
    for seed in range(20):
        data = bytearray(pattern(seed))
        connection.send(sent(data))
        there = connection.recv()
        assert bytes(_pools.receive(there)) == data
    assert _pools.stats()["in_flight"] == 0
    assert wait_until(lambda: _pools.stats()["held"] == 0)  # by the child
    stops(child, connection)


@pytest.mark.parametrize("method", METHODS)
def test_shared_is_shared_by_processes(method):
    made = memoryview(_pools.make(1 << 20))
    made[:] = bytes(1 << 20)
    child, connection = told(pool_children.write, method=method)
    for place in 0, 4096, 5, (1 << 20) - 1:
        connection.send(sent(made[place:]))
        connection.recv()
        assert made[place] == 1
    stops(child, connection)


def test_what_another_holds_is_not_written():
    child, connection = told(pool_children.hold, method="spawn")
    for seed in range(10):
        data = pattern(seed)
        connection.send(sent(bytearray(data)))
        assert connection.recv() == data
    for seed in range(50):
        _pools.receive(sent(pattern(seed + 100)))
    assert _pools.stats()["held"] == 10
    stops(child, connection)
    # The dead one's are free, as soon as there is a use for them.
    for _ in range(60):
        _pools.withdraw([sent(bytes(100_000))])
    assert _pools.stats()["blocks"] == 0 or _pools.stats()["held"] <= 10


def test_reference_is_received_by_one_of_several():
    pairs = [told(pool_children.hold) for _ in range(3)]
    data = pattern(1)
    reference = sent(bytearray(data))
    for _, connection in pairs:
        connection.send(reference)
    answers = [connection.recv() for _, connection in pairs]
    assert answers.count(data) == 1
    assert sum(isinstance(one, LookupError) for one in answers) == 2
    for child, connection in pairs:
        stops(child, connection)


def test_holds_of_the_killed_are_had_again():
    _pools.configure(1 << 20)
    child, connection = told(pool_children.hold)
    for seed in range(9):
        connection.send(sent(pattern(seed)))
        connection.recv()
    assert _pools.refer(bytes(300_000)) is None
    kill(child)
    connection.close()
    reference = sent(bytes(900_000))
    _pools.withdraw([reference])


@pytest.mark.parametrize("how", ["ended", "killed"])
def test_what_was_sent_outlives_who_sent_it(how):
    data = pattern(5)
    before = names()
    child, connection = _sender(data, how)
    reference = connection.recv()
    if how == "killed":
        connection.send(None)
    child.join(60)
    connection.close()
    assert len(names() - before) == 2
    lease = _pools.receive(reference)
    assert bytes(lease) == data
    assert len(names() - before) == 2
    del lease
    assert names() == before


def _sender(data, how, method="spawn"):
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context(method).Process(
        target=pool_children.send, args=(theirs, data, how), daemon=True
    )
    child.start()
    theirs.close()
    return child, ours


def test_many_killed_senders_leave_one_pool():
    before = names()
    for seed in range(12):
        child, connection = _sender(pattern(seed), "killed", "fork")
        reference = connection.recv()
        connection.send(None)
        child.join(60)
        connection.close()
        assert bytes(_pools.receive(reference)) == pattern(seed)
        assert len(names() - before) <= 2
    assert names() == before
    _pools._forget()
    assert _pools.stats()["pools"] == 0


def test_child_that_ends_removes_its_pool():
    before = names()
    child, connection = told(pool_children.echo)
    connection.send(sent(bytes(70_000)))
    _pools.receive(connection.recv())
    assert len(names() - before) == 4
    stops(child, connection)
    assert len(names() - before) == 2


def test_kept_of_a_process_that_has_ended_is_gone():
    child, connection = _sender(pattern(1), "kept")
    reference = connection.recv()
    assert bytes(_pools.receive(reference)) == pattern(1)
    connection.send(None)
    child.join(60)
    connection.close()
    with pytest.raises(LookupError):
        _pools.receive(reference)


def test_program_that_ends_leaves_nothing():
    before = names()
    python(
        """
        from shmemext import _pools
        kept = _pools.make(100_000)
        _pools.receive(_pools.refer(bytes(100_000)))
        """.replace("\n        ", "\n")
    )
    python(
        """
        from shmemext import _pools
        _pools.refer(bytes(100_000))  # nobody will ever receive it
        """.replace("\n        ", "\n")
    )
    deadline = time.monotonic() + 60
    while names() != before and time.monotonic() < deadline:
        _shmemext._sweep(False)
        time.sleep(0.02)
    assert names() - before == set()


# fork


def test_child_holds_what_its_parent_holds():
    had = [
        _pools.receive(sent(bytearray(pattern(1)))),
        memoryview(_pools.make(100_000)),
    ]
    had[1][:5] = b"hello"
    told_, tell = os.pipe()

    def live():
        os.close(tell)
        os.read(told_, 1)
        assert bytes(had[0]) == pattern(1)
        assert bytes(had[1][:5]) == b"hello"

    child = forked(live)
    os.close(told_)
    had.clear()
    for seed in range(50):
        _pools.receive(sent(pattern(seed + 10)))
    os.write(tell, b"x")
    os.close(tell)
    ended_well(child)


def test_child_has_a_pool_of_its_own():
    lease = _pools.receive(sent(bytearray(pattern(1))))
    shared = _pools.make(1000)

    def use():
        assert _pools.stats()["size"] == 0
        assert _pools._known[0].own is False
        reference = _pools.refer(bytearray(pattern(2)))
        assert reference[0] != _pools._known[0].pair
        assert bytes(_pools.receive(reference)) == pattern(2)
        by_reference = _pools.refer(shared)
        assert by_reference[0] == _pools._known[0].pair
        _pools.withdraw([by_reference])
        copied = _pools.refer(lease)
        assert copied[0] == reference[0]
        _pools.withdraw([copied])
        _pools.leave()

    in_a_fork(use)
    assert bytes(lease) == pattern(1)
    assert _pools.stats()["held"] == 2


def test_childs_end_is_not_its_parents():
    before = names()
    lease = _pools.receive(sent(bytearray(pattern(1))))
    in_a_fork(_pools.leave)
    assert len(names() - before) == 2
    for seed in range(50):
        _pools.receive(sent(pattern(seed + 10)))
    assert bytes(lease) == pattern(1)


def test_what_is_kept_is_not_the_childs():
    kept = sent(bytearray(pattern(1)), kept=True)

    def use():
        assert _pools.stats()["kept"] == 0
        assert bytes(_pools.receive(kept)) == pattern(1)

    in_a_fork(use)
    _pools.withdraw([kept])
    _pools.withdraw([sent(bytes(100_000)) for _ in range(40)])
    with pytest.raises(LookupError):
        _pools.receive(kept)


def test_children_beside_threads():
    """Who receives and sends while another thread forks."""
    import threading

    stop = threading.Event()
    wrong = []

    def work(seed):
        while not stop.is_set():
            data = pattern(seed, 80_000)
            lease = _pools.receive(sent(bytearray(data)))
            if bytes(lease) != data:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()

    def use():
        data = pattern(9)
        assert bytes(_pools.receive(sent(data))) == data
        _pools.leave()

    for _ in range(20):
        in_a_fork(use)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    for _ in range(20):  # of what threads of the dead held nothing stays
        _pools.withdraw([sent(bytes(80_000))])
    assert _pools.stats()["in_flight"] == 0
    _forget_the_dead()


def _forget_the_dead():
    """Takes blocks until the dead ones' are found."""
    references = [sent(bytes(80_000)) for _ in range(40)]
    _pools.withdraw(references)


FAILING = """
import os, resource
from shmemext import _pools
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
lease = _pools.receive(_pools.refer(bytearray(b"x" * 100_000)))
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
for _ in range(3):
    try:
        child = os.fork()
    except BlockingIOError:
        pass
    else:
        os._exit(2)
del lease
for _ in range(50):
    _pools.withdraw([_pools.refer(bytes(100_000))])
assert _pools.stats()["blocks"] == 0, _pools.stats()
assert _pools.stats()["pinned"] == 0, _pools.stats()
_pools.withdraw([_pools.refer(bytes(_pools.stats()["size"] // 4 * 3))])
assert _pools.stats()["refused"] == 0, _pools.stats()
"""


def test_fork_that_fails_leaves_nothing():
    python(FAILING.replace("lease =", "_pools.configure(1 << 20)\nlease =", 1))


INTERPRETERS = """
import sys, threading
from shmemext import _pools

CODE = '''
from shmemext import _pools
first = _pools.receive({moved})
assert bytes(first) == b"m" * 100_000
shared = memoryview(_pools.receive({shared}))
shared[0] = 9
own = _pools.refer(b"o" * 100_000)
assert own[0] != {moved}[0]
assert bytes(_pools.receive(own)) == b"o" * 100_000
again = _pools.refer(shared)
assert again[0] == {shared}[0]
_pools.withdraw([again])
del first, shared
_pools._forget()
assert _pools.stats()["pools"] == 2
'''

def run(code):
    if sys.version_info >= (3, 14):
        from concurrent import interpreters
        interpreter = interpreters.create()
        interpreter.exec(code)
        interpreter.close()
        return
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
    else:
        import _xxsubinterpreters as interpreters
    interpreter = interpreters.create()
    failed = interpreters.run_string(interpreter, code)
    interpreters.destroy(interpreter)
    assert failed is None, failed.formatted

made = memoryview(_pools.make(100_000))
for _ in range(3):
    made[0] = 1
    run(CODE.format(
        moved=_pools.refer(bytearray(b"m" * 100_000)),
        shared=_pools.refer(made),
    ))
    assert made[0] == 9
    kept = _pools.receive(_pools.refer(bytearray(b"k" * 100_000)))
    for _ in range(30):
        _pools.withdraw([_pools.refer(bytes(100_000))])
    assert bytes(kept) == b"k" * 100_000
assert _pools.stats()["held"] == 2
assert _pools.stats()["in_flight"] == 0
assert _pools.stats()["pools"] == 1
"""


def test_interpreters_have_pools_of_their_own():
    """And receive from each other, in one process."""
    before = names()
    python(INTERPRETERS)
    assert names() == before


def test_pool_of_workers():
    context = multiprocessing.get_context("fork")
    with context.Pool(2, maxtasksperchild=3) as pool:
        references = [sent(pattern(seed)) for seed in range(20)]
        back = pool.map(pool_children.work, references, chunksize=1)
        loads = [_pools.receive(reference) for reference in back]
        for seed, load in enumerate(loads):
            assert bytes(load) == pattern(seed)[::-1]
        del loads, load
        pool.close()
        pool.join()
    _pools._forget()


@pytest.mark.parametrize("method", METHODS)
def test_pools_that_only_the_dead_knew_go_with_the_next_one(method):
    before = names()
    for seed in range(3):
        data = pattern(seed)
        sender, near = _sender(data, "stays", method)
        receiver, far = told(pool_children.hold, method=method)
        far.send(near.recv())
        assert far.recv() == data
        for child, connection in (sender, near), (receiver, far):
            kill(child)
            connection.close()
        assert len(names() - before) == 2  # and not those of before
    withdrawn = sent(pattern(4))
    left = names() - before
    _pools.withdraw([withdrawn])
    assert len(left) == 2
