# SPDX-License-Identifier: MIT
"""Channel beside a collections.deque, with any operations in any order; and
what a failed allocation does to a message."""

import queue
from collections import deque
from contextlib import suppress
from importlib.util import find_spec

import pytest
from conftest import python
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from synchronizers import profile

from shmemext.channels import Channel, ShutDown

data = st.binary(max_size=600) | st.integers(0, 2032).map(bytes)
index = st.integers(0, 1000)


class Model(RuleBasedStateMachine):
    """What is held keeps the rest from wrapping, so what is full is not
    known; what has room is not lost."""

    def __init__(self):
        super().__init__()
        self.channel = Channel(create=True, size=4096, lifetime="users")
        self.messages = deque()
        self.held = []

    def teardown(self):
        self.held.clear()
        self.channel.shutdown()
        assert list(self.channel) == list(self.messages)
        self.channel.close()

    @rule(data=data)
    def put(self, data):
        with suppress(queue.Full):
            self.channel.put_nowait(data)
            self.messages.append(data)

    @rule(all=st.lists(data, max_size=8))
    def put_many(self, all):
        with suppress(queue.Full):
            count = self.channel.put_many(all, block=False)
            self.messages.extend(all[:count])

    @rule(data=data, drop=st.booleans())
    def reserve(self, data, drop):
        with (
            suppress(queue.Full, ZeroDivisionError),
            self.channel.reserve(len(data), False) as view,
        ):
            view[:] = data
            if drop:
                1 / 0  # noqa: B018
            self.messages.append(data)

    @rule()
    def get(self):
        if self.messages:
            assert self.channel.get_nowait() == self.messages.popleft()
        else:
            with pytest.raises(queue.Empty):
                self.channel.get_nowait()

    @rule(most=st.integers(1, 10))
    def get_many(self, most):
        with suppress(queue.Empty):
            got = self.channel.get_many(most, False)
            assert got == [self.messages.popleft() for _ in got]
            assert len(got) == most or not self.messages

    @precondition(lambda self: self.messages)
    @rule()
    def receive(self):
        message = self.channel.receive(False)
        expected = self.messages.popleft()
        with message:
            view = memoryview(message)
        assert message.deliveries == 1
        self.held.append((view, expected))

    @precondition(lambda self: self.held)
    @rule(which=index)
    def give(self, which):
        view, expected = self.held.pop(which % len(self.held))
        assert view == expected

    @invariant()
    def counts(self):
        messages, size, held, discarded, redelivered = self.channel._look()
        assert messages == len(self.messages) == self.channel.qsize()
        assert size == sum(map(len, self.messages))
        assert held == len(self.held)
        assert (discarded, redelivered) == (0, 0)
        assert self.channel.empty() == (not self.messages)
        for view, expected in self.held:
            assert view == expected


TestModel = Model.TestCase
TestModel.settings = profile


@pytest.mark.skipif(
    find_spec("_testcapi") is None, reason="this Python has no _testcapi"
)
@pytest.mark.parametrize(
    "call", ["get()", "get_many()", "receive()", "receive().__enter__()"]
)
def test_failed_allocation_loses_no_message(call):
    python(
        f"""
from _testcapi import remove_mem_hooks, set_nomemory
from shmemext import Channel

channel = Channel(create=True, size=1 << 16)
channel.put(b"warm")
channel.{call}
if channel.qsize():  # nobody has seen it
    channel.get()
failed = successes = k = 0
while successes < 10:
    channel.put_many([b"x" * 100, b"y" * 2000])
    result = None
    set_nomemory(k, k + 1)
    try:
        result = channel.{call}
    except MemoryError:
        remove_mem_hooks()
        failed += 1
    else:
        remove_mem_hooks()
        successes += 1
    lost = 2 - channel.qsize()
    assert lost == (0 if result is None else
                    len(result) if isinstance(result, list) else 1), k
    del result
    if channel.qsize():
        channel.get_many()
    k += 1
assert failed
""",
        env={"PYTHONMALLOC": "default"},
    )


PUTS = {
    "put(data)": 1,
    "put_nowait(data)": 1,
    "put(long)": 1,
    "put_many([data, long] * 3)": 6,
    "put_many(iter([data] * 3))": 3,
    "reserve(100)": 0,
    "reserve(100).__enter__()": 0,
    "reserve(100).__exit__(None, None, None)": 1,
}


@pytest.mark.skipif(
    find_spec("_testcapi") is None, reason="this Python has no _testcapi"
)
@pytest.mark.parametrize("call", PUTS)
def test_failed_allocation_sends_nothing_and_is_in_nobodys_way(call):
    python(
        f"""
from _testcapi import remove_mem_hooks, set_nomemory
from shmemext import Channel

channel = Channel(create=True, size=1 << 16)
data, long = bytearray(100), bytes(2000)
channel.{call}
while not channel.empty():
    channel.get()
failed = successes = k = 0
while successes < 10:
    channel.put(b"before")
    done = False
    set_nomemory(k, k + 1)
    try:
        channel.{call}
    except MemoryError:
        remove_mem_hooks()
        failed += 1
    else:
        remove_mem_hooks()
        done = True
        successes += 1
    data.append(0)  # nobody has its buffer
    channel.put(b"after")
    got = channel.get_many()
    assert len(got) == 2 + ({PUTS[call]} if done else 0), (k, done)
    assert channel.empty() and channel._look()[2] == 0
    k += 1
""",
        env={"PYTHONMALLOC": "default"},
    )


def test_shut_down_model():
    """What was in by then is in, and nothing after it."""
    with Channel(create=True, size=4096) as channel:
        with channel.reserve(3) as view:
            view[:] = b"abc"
            channel.put(b"x")
            channel.shutdown()
            with pytest.raises(ShutDown):
                channel.put(b"y")
        assert list(channel) == [b"abc", b"x"]
        channel.unlink()
