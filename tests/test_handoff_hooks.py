# SPDX-License-Identifier: MIT
"""handoff: what is put into multiprocessing, and taken away again; other
programs do the same."""

import copyreg
import pickle
from multiprocessing import Pipe, connection, get_context, queues, reduction
from multiprocessing.reduction import ForkingPickler
from unittest import mock

import pytest
from handoff_children import lies_in_pool

from shmemext import _hooks, handoff

# Where a send fails, its frames hold a view of the pickle's file, in a circle
# with the exception: who collects that may close the file first, and say so.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*finalizing file <_io.BytesIO"
    ":pytest.PytestUnraisableExceptionWarning"
)

CONTENT = bytes(range(250)) * 8
ABSENT = object()


def places():
    """All that is looked at when something is sent."""
    kind = connection.Connection
    return [
        vars(owner).get(name, ABSENT)
        for owner, name in (
            (kind, "send"),
            (kind, "_send_bytes"),
            (connection._ConnectionBase, "send"),
            (connection, "_ForkingPickler"),
            (queues, "_ForkingPickler"),
            (queues.Queue, "put"),
            (queues.SimpleQueue, "put"),
            (reduction, "dump"),
            (reduction, "ForkingPickler"),
            (ForkingPickler, "dumps"),
            (ForkingPickler, "loads"),
            (ForkingPickler, "__init__"),
            (ForkingPickler, "_extra_reducers"),
            (pickle, "dumps"),
            (pickle, "Pickler"),
        )
    ]


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Nor is there a reason to share anything, from tests before."""
    reasons = set(_hooks._reasons)
    for reason in reasons:
        _hooks.end(reason)
    before = places()
    yield
    handoff.disable()
    assert places() == before
    for reason in reasons:
        _hooks.begin(reason)


@pytest.fixture
def pipe():
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        yield reader, writer


def enable():
    handoff.enable(min_size=1000, limit=16 << 20)


class Content:
    def __reduce_ex__(self, protocol):
        if protocol >= 5:
            return _same, (pickle.PickleBuffer(CONTENT),)
        return _same, (CONTENT,)


def _same(content):
    return content


def is_by_reference(pipe):
    reader, writer = pipe
    writer.send(Content())
    received = reader.recv()
    assert received == CONTENT
    return lies_in_pool(received)


def queue_is_by_reference():
    queue = get_context("fork").SimpleQueue()
    queue.put(Content())
    received = queue.get()
    queue.close()
    assert received == CONTENT
    return lies_in_pool(received)


def test_nothing_is_touched_without_it(pipe):
    assert not is_by_reference(pipe)
    assert not queue_is_by_reference()


def test_disable_puts_everything_back(pipe):
    before = places()
    for _ in range(3):
        enable()
        enable()
        assert places() != before
        assert is_by_reference(pipe) and queue_is_by_reference()
        handoff.disable()
        handoff.disable()
        assert places() == before
        assert not is_by_reference(pipe) and not queue_is_by_reference()


def test_forking_pickler_itself_is_left_alone():
    before = dict(vars(ForkingPickler))
    enable()
    assert dict(vars(ForkingPickler)) == before
    assert reduction.ForkingPickler is ForkingPickler


def test_second_enable_is_for_what_is_new(pipe):
    enable()
    handoff.enable(min_size=10000)
    assert not is_by_reference(pipe)
    enable()
    assert is_by_reference(pipe)


def test_what_was_sent_is_received_after_disable(pipe):
    reader, writer = pipe
    enable()
    writer.send(Content())
    handoff.disable()
    assert reader.recv() == CONTENT


def test_who_has_taken_the_method_before_sends_so_too(pipe):
    reader, writer = pipe
    send = writer.send
    enable()
    send(Content())
    assert lies_in_pool(reader.recv())
    handoff.disable()
    send(Content())
    assert not lies_in_pool(reader.recv())


def test_who_has_taken_the_method_since_sends_as_ever_afterwards(pipe):
    reader, writer = pipe
    enable()
    send, pickler, dump = (
        writer.send,
        queues._ForkingPickler,
        reduction.dump,
    )
    handoff.disable()
    send(Content())
    assert not lies_in_pool(reader.recv())
    plain = bytes(ForkingPickler.dumps(Content()))
    assert bytes(pickler.dumps(Content())) == plain
    file = mock.Mock()
    dump(Content(), file)
    assert b"".join(call.args[0] for call in file.write.mock_calls) == plain


# --- other programs


def counting(calls, before):
    """As a program that wants to know puts it in a method's place."""

    def count(self, *args):
        calls.append(args)
        return before(self, *args)

    return count


@pytest.mark.parametrize("name", ["send", "_send_bytes"])
@pytest.mark.parametrize("order", ["before", "since"])
def test_what_another_program_has_put_there_stays(pipe, name, order):
    kind, calls = connection.Connection, []
    if order == "since":
        enable()
    there = getattr(kind, name)
    with mock.patch.object(kind, name, counting(calls, there)):
        theirs = vars(kind)[name]
        enable()
        assert vars(kind)[name] is theirs
        assert is_by_reference(pipe)
        handoff.disable()
        assert vars(kind)[name] is theirs
        assert not is_by_reference(pipe)
        enable()
        assert is_by_reference(pipe)
        handoff.disable()
    assert len(calls) == 3
    # The patch has put ours back, if that was there: it does nothing.
    assert not is_by_reference(pipe)
    enable()
    assert is_by_reference(pipe)
    handoff.disable()
    if order == "since":
        delattr_if_ours(kind, name, there)


def delattr_if_ours(kind, name, there):
    if vars(kind).get(name) is there:
        if name == "send":
            delattr(kind, name)
        else:
            kind._send_bytes = _hooks._SEND_BYTES.before


@pytest.mark.parametrize("order", ["before", "since"])
def test_another_dumps_is_the_one_that_is_called(pipe, order):
    """As programs have cloudpickle's there, for what pickle cannot."""
    calls = []

    def dumps(obj, protocol=None):
        calls.append(obj)
        return pickle.dumps(obj, 4)

    if order == "since":
        enable()
    with mock.patch.object(ForkingPickler, "dumps", dumps):
        enable()
        assert not is_by_reference(pipe)
        assert not queue_is_by_reference()
        assert len(calls) == 2
    assert is_by_reference(pipe)


@pytest.mark.parametrize("order", ["before", "since"])
def test_another_pickler_of_queues_is_the_one_that_is_called(order):
    class Theirs(ForkingPickler):
        @staticmethod
        def dumps(obj, protocol=None):
            return pickle.dumps("theirs")

    if order == "since":
        enable()
    with mock.patch.object(queues, "_ForkingPickler", Theirs):
        enable()
        queue = get_context("fork").SimpleQueue()
        queue.put(Content())
        assert queue.get() == "theirs"
        queue.close()
        handoff.disable()
        assert queues._ForkingPickler is Theirs
    if order == "since":  # the patch has put ours back
        assert not queue_is_by_reference()
        queues._ForkingPickler = ForkingPickler


@pytest.mark.parametrize("register", [ForkingPickler.register, copyreg.pickle])
def test_reducers_count_from_when_they_are_registered(pipe, register):
    reader, writer = pipe

    class Local:
        pass

    enable()
    with (
        mock.patch.dict(ForkingPickler._extra_reducers),
        mock.patch.dict(copyreg.dispatch_table),
    ):
        register(Local, lambda one: (_same, (pickle.PickleBuffer(CONTENT),)))
        writer.send(Local())
        assert lies_in_pool(reader.recv())
    with pytest.raises((AttributeError, pickle.PicklingError)):
        writer.send(Local())


def test_hooks_stay_while_arrays_need_them(pipe):
    """What is large goes as ever then."""
    enable()
    _hooks.begin(_hooks.ARRAYS)
    before = places()
    handoff.disable()
    assert places() == before
    assert not is_by_reference(pipe)
    _hooks.end(_hooks.ARRAYS)
    assert places() != before


def test_protocol_that_is_asked_for_is_the_one():
    enable()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = bytes(queues._ForkingPickler.dumps(Content(), protocol))
        assert pickled == bytes(ForkingPickler.dumps(Content(), protocol))


def test_what_pickles_as_queues_do_is_a_pickler():
    enable()
    assert issubclass(queues._ForkingPickler, ForkingPickler)
    assert queues._ForkingPickler.loads is ForkingPickler.loads
    assert pickle.loads(queues._ForkingPickler.dumps([1])) == [1]


def test_dump_without_a_child_is_as_ever(tmp_path):
    enable()
    with open(tmp_path / "file", "wb") as file:  # noqa: PTH123
        reduction.dump(Content(), file)
    written = (tmp_path / "file").read_bytes()
    assert written == bytes(ForkingPickler.dumps(Content()))
