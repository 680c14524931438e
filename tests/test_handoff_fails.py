# SPDX-License-Identifier: MIT
"""handoff: whatever fails, nothing is left in flight; and where there is no
room, everything is pickled as ever."""

import gc
import os
import pickle
import threading
from multiprocessing import Pipe, forkserver, get_context, spawn
from pathlib import Path

import pytest
from conftest import python
from handoff_children import lies_in_pool
from test_full import on_tmpfs as on_tmpfs

from shmemext import _hooks, _pickles, _pools, handoff

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

LARGE = 70_000
CONTENT = os.urandom(LARGE)


class Broken(Exception):
    pass


class Unpicklable:
    def __reduce__(self):
        raise Broken


class Ordinary:
    """As an array is pickled."""

    def __reduce_ex__(self, protocol):
        if protocol >= 5:
            return _same, (pickle.PickleBuffer(CONTENT),)
        return _same, (CONTENT,)


def _same(content):
    return content


@pytest.fixture(autouse=True)
def enabled():
    handoff.enable(limit=16 << 20)
    yield
    handoff.disable()
    gc.collect()


def in_flight():
    return handoff.stats()["in_flight"]


@pytest.fixture
def pipe():
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        yield reader, writer


@pytest.fixture
def queue():
    made = get_context("fork").SimpleQueue()
    yield made
    made.close()


def test_pickle_that_fails_leaves_nothing(pipe, queue):
    _, writer = pipe
    for send in writer.send, queue.put:
        for fails in Unpicklable(), lambda: None:
            with pytest.raises((Broken, AttributeError, pickle.PickleError)):
                send([Ordinary(), Ordinary(), fails])
    assert in_flight() == 0


def test_pickle_that_fails_in_a_queues_thread_leaves_nothing(capfd):
    queue = get_context("fork").Queue()
    queue.put([Ordinary(), Unpicklable()])
    queue.put([Ordinary()])
    received = queue.get()
    assert lies_in_pool(received[0])
    assert in_flight() == 0
    queue.close()
    queue.join_thread()
    assert "Broken" in capfd.readouterr().err


def test_nobody_reads_and_nothing_is_left(pipe, queue):
    reader, writer = pipe
    reader.close()
    queue._reader.close()
    for send in writer.send, queue.put:
        with pytest.raises(BrokenPipeError):
            send([Ordinary(), Ordinary()])
    assert in_flight() == 0


def test_nobody_reads_a_queue_and_nothing_is_left(capfd):
    queue = get_context("fork").Queue()
    queue._reader.close()
    queue.put([Ordinary(), Ordinary()])
    queue.close()
    queue.join_thread()
    assert "BrokenPipeError" in capfd.readouterr().err
    assert in_flight() == 0


def test_queue_that_was_in_use_before_leaves_nothing(capfd):
    """Its thread has taken its methods before."""
    handoff.disable()
    queue = get_context("fork").Queue()
    queue.put("before")
    assert queue.get() == "before"
    handoff.enable()
    queue.put(Ordinary())
    assert lies_in_pool(queue.get())
    queue._reader.close()
    queue.put([Ordinary()])
    queue.close()
    queue.join_thread()
    assert "BrokenPipeError" in capfd.readouterr().err
    assert in_flight() == 0


@pytest.mark.parametrize("error", [TimeoutError("late"), KeyboardInterrupt()])
def test_what_a_handler_raises_may_come_after_the_last_byte(
    pipe, monkeypatch, error
):
    """So what was sent is left to who reads it."""
    reader, writer = pipe
    before = _hooks._SEND_BYTES.before

    def late(self, data):
        before(self, data)
        raise error

    monkeypatch.setattr(_hooks._SEND_BYTES, "before", late)
    with pytest.raises(type(error)):
        writer.send(Ordinary())
    assert lies_in_pool(reader.recv())


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_child_that_cannot_be_started_leaves_nothing(monkeypatch, method):
    def fail(*args, **options):
        assert in_flight() == 2
        raise BlockingIOError

    monkeypatch.setattr(spawn, "get_command_line", fail)
    monkeypatch.setattr(forkserver, "connect_to_new_process", fail)
    context = get_context(method)
    process = context.Process(target=print, args=(Ordinary(), Ordinary()))
    with pytest.raises(BlockingIOError):
        process.start()
    del process
    gc.collect()
    assert in_flight() == 0


def test_child_that_cannot_be_pickled_leaves_nothing():
    context = get_context("spawn")
    args = Ordinary(), Unpicklable()
    with pytest.raises(Broken):
        context.Process(target=print, args=args).start()
    assert in_flight() == 0


@pytest.mark.parametrize("error", [OSError, MemoryError, KeyboardInterrupt])
def test_what_cannot_be_received_leaves_nothing(pipe, monkeypatch, error):
    """But for what failed, of which nobody knows how far it came."""
    reader, writer = pipe
    writer.send([Ordinary() for _ in range(5)])
    assert in_flight() == 5
    receive, received = _pools.receive, []

    def fail_at_third(reference):
        received.append(reference)
        if len(received) == 3:
            raise error
        return receive(reference)

    with monkeypatch.context() as patch:
        patch.setattr(_pools, "receive", fail_at_third)
        with pytest.raises(error):
            reader.recv()
    assert in_flight() == 1
    _pools.withdraw(received[2:])
    assert in_flight() == 0


def test_what_fails_while_it_is_made_has_let_go_of_its_buffers(pipe):
    reader, writer = pipe
    writer.send([Ordinary(), Failing()])
    with pytest.raises(Broken):
        reader.recv()
    gc.collect()
    told = handoff.stats()
    assert (told["in_flight"], told["held"]) == (0, 0)


class Failing:
    def __reduce__(self):
        return _fail, ()


def _fail():
    raise Broken


def test_message_is_received_once(pipe):
    """A second time is an error, and never other bytes."""
    reader, writer = pipe
    writer.send(Ordinary())
    message = reader.recv_bytes()
    assert pickle.loads(message) == CONTENT
    for _ in range(3):
        writer.send(Ordinary())
        with pytest.raises(LookupError, match="received before"):
            pickle.loads(message)
        assert reader.recv() == CONTENT


# --- no room


def test_full_pool_is_an_ordinary_pickle(pipe):
    reader, writer = pipe
    _pools.leave()
    handoff.enable(limit=2 * LARGE)
    refused = handoff.stats()["refused"]
    received = []
    for number in range(4):
        sender = threading.Thread(target=writer.send, args=([Ordinary()],))
        sender.start()
        received += reader.recv()
        sender.join()
        assert lies_in_pool(received[-1]) == (number == 0)
    assert [bytes(one) for one in received] == [CONTENT] * 4
    assert handoff.stats()["refused"] == refused + 3
    del received[:]
    sender = threading.Thread(target=writer.send, args=(Ordinary(),))
    sender.start()
    assert lies_in_pool(reader.recv())  # there is room again
    sender.join()


def test_no_pool_is_an_ordinary_pickle(queue):
    _pools.leave()
    handoff.enable(min_size=1000, limit=0)
    queue.put(pickle.PickleBuffer(CONTENT[:2000]))
    received = queue.get()
    assert not lies_in_pool(received)
    assert received == CONTENT[:2000]


LIMITED = """
import pickle, resource, sys, threading
from multiprocessing import Pipe
import shmemext.handoff
from handoff_children import lies_in_pool

shmemext.handoff.enable()
reader, writer = Pipe(duplex=False)
content = bytes(range(256)) * 512
{limit}
for _ in range(3):
    sent = pickle.PickleBuffer(content)
    sender = threading.Thread(target=writer.send, args=(sent,))
    sender.start()
    received = reader.recv()
    sender.join()
    assert received == content
    print(lies_in_pool(received))
"""

# For how much more than it has a process may ask, and what that leaves.
LIMITS = {
    "address space for half": ("RLIMIT_AS", "mapped + (1 << 28)", True),
    "no address space": ("RLIMIT_AS", "mapped + (1 << 25)", None),
    "no long files": ("RLIMIT_FSIZE", "1 << 12", False),
    "no descriptors": ("RLIMIT_NOFILE", "5", False),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_limits_of_a_process_are_ordinary_pickles(limit):
    name, value, goes = LIMITS[limit]
    code = f"""
text = open("/proc/self/status").read()
mapped = int(text.split("VmSize:")[1].split()[0]) << 10
threading.stack_size(1 << 16)
_, hard = resource.getrlimit(resource.{name})
resource.setrlimit(resource.{name}, ({value}, hard))
"""
    here = {"PYTHONPATH": str(Path(__file__).parent)}
    done = python(LIMITED.format(limit=code), env=here)
    told = done.stdout.split()
    assert len(told) == 3
    if goes is not None:
        assert told == [str(goes)] * 3


def test_full_dev_shm_is_an_ordinary_pickle(on_tmpfs):
    on_tmpfs(
        "1m",
        """
        import pickle
        from multiprocessing import get_context
        import shmemext.handoff
        shmemext.handoff.enable(limit=64 << 20)
        queue = get_context("fork").SimpleQueue()
        kept, sizes = [], []
        for number in range(12):
            content = bytes([number]) * (200 << 10)
            sender = threading.Thread(
                target=queue.put, args=(pickle.PickleBuffer(content),)
            )
            sender.start()
            received = queue.get()
            sender.join()
            assert received == content
            kept.append(received)
        kinds = {type(one) for one in kept}
        assert memoryview in kinds and bytes in kinds, kinds
        assert shmemext.handoff.stats()["refused"] > 0
        """,
    )


def test_take_back_is_for_what_was_not_sent_only():
    parcel = _pickles.message(Ordinary())
    assert in_flight() == 1
    _pickles.take_back(memoryview(parcel)[1:])
    assert in_flight() == 0
    _pickles.take_back(parcel)
    _pickles.take_back(b"other")
    _pickles.take_back(memoryview(b"other"))
    assert in_flight() == 0
