# SPDX-License-Identifier: MIT
"""Bytes in and out in one go: write(), readinto(), populate()."""

import array
import os
import re
import sys
import threading
from pathlib import Path

import kinds
import pytest
from arrays import np
from conftest import python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PAGE = kinds.PAGE
SIZE = (5 << 20) + 3 * PAGE + 17
MiB = 1 << 20


@pytest.fixture(params=kinds.KINDS)
def kind(request, tmp_path):
    with kinds.kind_of(request.param, tmp_path) as kind:
        yield kind


@pytest.fixture
def memory(kind):
    return kind.create(5000)


@pytest.fixture(scope="module", params=kinds.KINDS)
def large(request, tmp_path_factory):
    """Memory whose bytes all are known, and a model of it."""
    directory = tmp_path_factory.mktemp("large")
    with kinds.kind_of(request.param, directory) as kind:
        memory = kind.create(SIZE)
        model = bytearray(os.urandom(SIZE))
        assert memory.write(model) == SIZE
        yield memory, model


# --- against a model

BORDERS = [0, PAGE, 16 * PAGE, MiB, 2 * MiB, 4 * MiB, SIZE]
positions = st.builds(
    lambda border, by: min(max(border + by, 0), SIZE),
    st.sampled_from(BORDERS),
    st.integers(-2, 2) | st.integers(-2 * PAGE, 2 * PAGE),
)
spans = st.tuples(positions, positions).map(sorted)
settle = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@settle
@given(span=spans, byte=st.integers(0, 255))
def test_write_is_a_slice_assignment(large, span, byte):
    memory, model = large
    begin, end = span
    data = bytes([byte]) * (end - begin)
    assert memory.write(data, begin) == end - begin
    model[begin:end] = data
    assert memory.buf[begin:end] == data
    near = slice(max(begin - PAGE, 0), end + PAGE)
    assert memory.buf[near] == model[near]


@settle
@given(begin=positions, size=st.integers(0, 3 * PAGE) | positions)
def test_readinto_is_a_slice(large, begin, size):
    memory, model = large
    into = bytearray(b"\xaa" * size)
    expected = model[begin : begin + size]
    assert memory.readinto(into, begin) == len(expected)
    assert into == expected + b"\xaa" * (size - len(expected))


@settle
@given(source=spans, to=positions)
def test_overlapping_write_is_as_if_copied_first(large, source, to):
    """Data that is part of the memory itself, in either direction."""
    memory, model = large
    begin, end = source
    end = min(end, begin + SIZE - to)
    data = bytes(model[begin:end])
    assert memory.write(memory.buf[begin:end], to) == end - begin
    model[to : to + end - begin] = data
    assert memory.buf[to : to + end - begin] == data
    assert memory.buf[begin:end] == model[begin:end]


@settle
@given(source=spans, to=positions)
def test_overlapping_readinto_is_as_if_copied_first(large, source, to):
    memory, model = large
    begin, end = source
    end = min(end, begin + SIZE - to)
    data = bytes(model[begin:end])
    into = memory.buf[to : to + end - begin]
    assert memory.readinto(into, begin) == end - begin
    model[to : to + end - begin] = data
    assert into == data


def test_model_and_memory_are_the_same_after_all(large):
    memory, model = large
    assert memory.buf == model


def test_write_through_another_object_overlaps_too(kind):
    """Other addresses, the same bytes: what an overlap makes of it cannot be
    known, but nothing outside of it changes."""
    memory = kind.create(3 * MiB)
    peer = kind.again(memory)
    peer.buf[:MiB] = os.urandom(MiB)
    before = bytes(peer.buf[:MiB])
    assert memory.write(peer.buf[:MiB], 2 * MiB) == MiB
    assert memory.buf[2 * MiB :] == before
    assert memory.buf[:MiB] == before


# --- what fits


@pytest.mark.parametrize(
    ("size", "offset"), [(1, 5000), (5001, 0), (2, 4999), (5000, 1)]
)
def test_write_that_does_not_fit_writes_nothing(memory, size, offset):
    with pytest.raises(ValueError, match="5000"):
        memory.write(b"x" * size, offset)
    assert not any(memory.buf)


@pytest.mark.parametrize("offset", [5001, sys.maxsize // 2, sys.maxsize])
def test_offset_beyond_the_end(memory, offset):
    with pytest.raises(ValueError):
        memory.write(b"x", offset)
    with pytest.raises(ValueError):
        memory.write(b"", offset)
    with pytest.raises(ValueError):
        memory.readinto(bytearray(5), offset)
    with pytest.raises(ValueError):
        memory.readinto(bytearray(), offset)


@pytest.mark.parametrize("offset", [-1, -5000, -sys.maxsize])
def test_negative_offset(memory, offset):
    into = bytearray(5)
    with pytest.raises(ValueError):
        memory.write(b"x", offset)
    with pytest.raises(ValueError):
        memory.readinto(into, offset)
    assert not any(memory.buf)


@pytest.mark.parametrize("offset", [1 << 64, -(1 << 64)])
def test_offset_beyond_any_number(memory, offset):
    with pytest.raises((OverflowError, ValueError)):
        memory.write(b"x", offset)
    with pytest.raises((OverflowError, ValueError)):
        memory.readinto(bytearray(5), offset)


def test_nothing_is_written_and_read_anywhere(memory):
    for offset in 0, 1, 4999, 5000:
        assert memory.write(b"", offset) == 0
        assert memory.readinto(bytearray(), offset) == 0
    assert memory.readinto(bytearray(10), 5000) == 0


def test_readinto_fills_what_there_is(memory):
    memory.buf[4990:] = b"0123456789"
    into = bytearray(b"x" * 20)
    assert memory.readinto(into, 4990) == 10
    assert into == b"0123456789" + b"x" * 10
    assert memory.readinto(into, offset=4995) == 5
    assert memory.write(b"end", offset=4997) == 3
    assert bytes(memory.buf[-3:]) == b"end"
    assert memory.readinto(into) == 20


# --- what is data


DATA = {
    "bytes": b"hello, you",
    "bytearray": bytearray(b"hello, you"),
    "memoryview": memoryview(b"--hello, you--")[2:12],
    "array": array.array("B", b"hello, you"),
    "wide items": array.array("H", b"hello, you"),
}
if np:
    numbers = np.frombuffer(b"--hello, you", dtype="u1")
    DATA |= {
        "numpy": numbers[2:].copy(),
        "two dimensions": numbers[2:].copy().reshape(2, 5),
        "a part": numbers[2:],
    }


@pytest.mark.parametrize("what", DATA)
def test_write_takes_any_contiguous_buffer(memory, what):
    assert memory.write(DATA[what], 7) == 10
    assert bytes(memory.buf[:20]) == bytes(7) + b"hello, you" + bytes(3)


NOT_CONTIGUOUS = {
    "steps": lambda: memoryview(bytearray(20))[::2],
    "backwards": lambda: memoryview(bytearray(20))[::-1],
}
if np:
    NOT_CONTIGUOUS |= {
        "column": lambda: np.zeros((5, 5), dtype="u1")[:, 1],
        "fortran": lambda: np.zeros((5, 5), dtype="u1", order="F"),
    }


@pytest.mark.parametrize("what", NOT_CONTIGUOUS)
def test_buffers_with_gaps_are_refused(memory, what):
    buffer = NOT_CONTIGUOUS[what]()
    for call in memory.write, memory.readinto:
        with pytest.raises((BufferError, ValueError, TypeError)):
            call(buffer)
    assert not any(memory.buf)


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2], object()])
def test_what_is_no_buffer_is_refused(memory, data):
    with pytest.raises(TypeError):
        memory.write(data)
    with pytest.raises(TypeError):
        memory.readinto(data)


def test_readinto_needs_a_buffer_that_can_be_written(memory):
    for into in (
        b"bytes",
        memoryview(b"bytes"),
        memoryview(memory).toreadonly(),
    ):
        with pytest.raises((TypeError, BufferError)):
            memory.readinto(into)


@pytest.mark.parametrize("arguments", [(), (b"x", 0, 0), (b"x", "0")])
def test_wrong_arguments(memory, arguments):
    with pytest.raises(TypeError):
        memory.write(*arguments)
    with pytest.raises(TypeError):
        memory.readinto(*arguments)


def test_kinds_copy_from_each_other(tmp_path):
    """A memory is a buffer, and so data for another."""
    with (
        kinds.kind_of("SharedMemory", tmp_path) as one,
        kinds.kind_of("MappedFile", tmp_path) as two,
        kinds.kind_of("AnonymousMemory", tmp_path) as three,
    ):
        memories = [kind.create(3 * MiB) for kind in (one, two, three)]
        data = os.urandom(3 * MiB)
        assert memories[0].write(data) == 3 * MiB
        assert memories[1].write(memories[0]) == 3 * MiB
        assert memories[1].readinto(memories[2]) == 3 * MiB
        assert memories[2].buf == data


def test_whole_memory_into_itself(memory):
    memory.buf[:5] = b"hello"
    assert memory.write(memory) == 5000
    assert memory.readinto(memory) == 5000
    assert bytes(memory.buf[:6]) == b"hello\0"


# --- populate


def resident(memory, kind):
    """Bytes of its mapping that are present, from the kernel's own list."""
    addresses = {line[0] for line in kind.mappings(memory)}
    text = Path("/proc/self/smaps").read_text()
    found = 0
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.M):
        if block.partition(" ")[0] in addresses:
            found += 1024 * int(re.search(r"^Rss: +(\d+)", block, re.M)[1])
    return found


def test_populate_makes_every_page_present(kind):
    found = []
    while 8 * MiB not in found:  # the system may take one away just then
        assert len(found) < 10, found
        with kind.create(8 * MiB, reserve=False) as memory:
            assert resident(memory, kind) < 4 * MiB
            assert memory.populate() is None
            found.append(resident(memory, kind))
            assert kind.stat(memory).st_blocks * 512 >= 8 * MiB
            assert not any(memory.buf[::PAGE])


def test_populate_keeps_what_is_there(kind):
    memory = kind.create(3 * MiB)
    data = os.urandom(3 * MiB)
    memory.write(data)
    memory.populate()
    assert memory.buf == data
    reader = kind.again(memory, readonly=True)
    reader.populate()
    assert reader.buf == data
    memory.populate()


def test_populate_of_a_reader_makes_pages_present(kind):
    memory = kind.create(8 * MiB)
    memory.buf[::PAGE] = b"x" * len(memory.buf[::PAGE])
    found = []
    while not any(more >= 8 * MiB for more in found):  # likewise
        assert len(found) < 10, found
        with kind.again(memory, readonly=True) as reader:
            before = resident(memory, kind)
            reader.populate()
            found.append(resident(memory, kind) - before)


def test_populate_of_a_part_of_a_page(kind):
    memory = kind.create(1)
    memory.populate()
    memory.buf[0] = 1


def test_populate_takes_no_arguments(memory):
    with pytest.raises(TypeError):
        memory.populate(0, 10)


# --- threads


LARGE = 256 * MiB
ATTEMPTS = 20


@pytest.fixture
def switches():
    """A thread that is waiting gets its turn as soon as there is one."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def is_seen_in_the_middle(call, first, last):
    """Does another thread run while the call is at work, that is, see its
    first byte changed and its last one not?"""
    seen = threading.Event()
    over = threading.Event()
    ready = threading.Event()

    def watch():
        ready.set()
        while not over.is_set():
            if first() and not last():
                seen.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    ready.wait()
    call()
    over.set()
    thread.join()
    return seen.is_set()


def test_other_threads_run_during_a_write(switches):
    with kinds.kind_of("AnonymousMemory", "/") as kind:
        memory = kind.create(LARGE)
        for turn in range(1, ATTEMPTS):
            data = bytes([turn]) * LARGE
            if is_seen_in_the_middle(
                lambda data=data: memory.write(data),
                lambda turn=turn: memory.buf[0] == turn,
                lambda turn=turn: memory.buf[-1] == turn,
            ):
                return
    pytest.fail("nobody ran in the middle")


def test_other_threads_run_during_a_readinto(switches):
    with kinds.kind_of("AnonymousMemory", "/") as kind:
        memory = kind.create(LARGE)
        into = bytearray(LARGE)
        for turn in range(1, ATTEMPTS):
            memory.buf[0] = memory.buf[-1] = turn
            if is_seen_in_the_middle(
                lambda: memory.readinto(into),
                lambda turn=turn: into[0] == turn,
                lambda turn=turn: into[-1] == turn,
            ):
                return
    pytest.fail("nobody ran in the middle")


def test_close_during_a_write_is_safe(kind):
    """The memory stays until the write is over."""
    memory = kind.create(64 * MiB)
    peer = kind.again(memory)
    data = b"x" * (64 * MiB)
    thread = threading.Thread(target=memory.close)

    def write():
        try:
            assert memory.write(data) == len(data)
        except ValueError:
            return False
        return True

    writer = threading.Thread(target=write)
    writer.start()
    thread.start()
    thread.join()
    writer.join()
    assert memory.buf is None
    assert peer.buf[-1] in (0, ord("x"))


def test_buffer_stays_during_a_readinto(kind):
    """A bytearray that is being filled cannot be resized."""
    memory = kind.create(64 * MiB)
    into = bytearray(64 * MiB)
    thread = threading.Thread(target=lambda: memory.readinto(into))
    thread.start()
    outside = 0  # before it has the buffer, and after
    while thread.is_alive():
        try:
            into.append(1)
        except BufferError:
            continue
        outside += 1
    thread.join()
    assert len(into) == 64 * MiB + outside


# --- lost pages


def test_lost_pages_do_not_kill(tmp_path, name):
    """A peer has cut the memory short: an error or zeros, no SIGBUS."""
    done = python(
        """
import os, sys, warnings
from shmemext import MappedFile, SharedMemory
warnings.simplefilter("ignore")
path, name = sys.argv[1:]
for make, where in (
    (lambda: MappedFile(path, create=True, size=1 << 20), path),
    (lambda: SharedMemory(name, create=True, size=1 << 20),
     "/dev/shm/" + name),
):
    for call in (
        lambda memory: memory.write(b"x" * (1 << 20)),
        lambda memory: memory.write(b"x", 500_000),
        lambda memory: memory.readinto(bytearray(1 << 20)),
        lambda memory: memory.write(memory.buf[:1000], 500_000),
        lambda memory: memory.populate(),
        lambda memory: memory.flush(),
    ):
        memory = make()
        memory.buf[:5] = b"hello"
        os.truncate(where, 4096)
        try:
            call(memory)
        except OSError:
            pass
        assert memory.buf[1] in b"ex"
        os.unlink(where)
        memory.close()
print("ok")
""",
        tmp_path / "file",
        name,
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")
