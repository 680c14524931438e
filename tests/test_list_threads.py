# SPDX-License-Identifier: MIT
"""Threads at one ShareableList: values are old or new, never torn, whether
they go through one object or through two on the same segment."""

import sys
import threading
import time
from contextlib import contextmanager

import pytest

import shmemext
from shmemext import ShareableList

SECONDS = 0.4
READERS = 2


@pytest.fixture(autouse=True)
def short_switches():
    """With a GIL, threads should meet in the middle of things too."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@contextmanager
def made(items):
    sl = ShareableList(items)
    try:
        yield sl
    finally:
        sl.shm.close()
        sl.shm.unlink()


@pytest.fixture(params=["one object", "two objects"])
def peer_of(request):
    """The list that the other threads use."""
    opened = []

    def make(sl):
        if request.param == "one object":
            return sl
        opened.append(ShareableList(name=sl.shm.name))
        return opened[-1]

    make.one = request.param == "one object"
    yield make
    for sl in opened:
        sl.shm.close()


def run(*works, seconds=SECONDS):
    """Each work again and again in a thread of its own."""
    errors = []
    stop = threading.Event()
    barrier = threading.Barrier(len(works))

    def loop(work):
        try:
            barrier.wait()
            while not stop.is_set():
                work()
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=loop, args=(w,)) for w in works]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


def writer(sl, values):
    def work():
        for value in values:
            for i in range(len(sl)):
                sl[i] = value

    return work


def reader(sl, values):
    def work():
        for item in sl:
            assert item in values, item

    return work


# Both halves of the word differ, so a torn one would be neither.
INTS = [0x0123456789ABCDEF, -0x0123456789ABCDF0, 0, -1]
FLOATS = [1.5e300, -2.25e-300, 0.1]


@pytest.mark.parametrize("values", [INTS, FLOATS], ids=["ints", "floats"])
def test_numbers_are_never_torn(peer_of, values):
    with made([values[0]] * 8) as sl:
        other = peer_of(sl)
        run(
            writer(sl, values),
            writer(other, values[::-1]),
            *[reader(other, values)] * READERS,
        )


def test_texts_of_one_object_are_whole():
    values = ["a" * 60, "é" * 30, b"b" * 59 + b"\0", "", b"c\0\0"]
    with made([values[0]] * 4) as sl:
        run(
            writer(sl, values),
            writer(sl, values[::-1]),
            *[reader(sl, values)] * READERS,
        )


def test_kinds_of_one_object_are_whole():
    values = [1, 2.5, True, None, "text\0", b"\1\2\3\4\5\6\7\0"]
    with made([values[-2]] * 4) as sl:
        run(writer(sl, values), writer(sl, values[::-1]), reader(sl, values))


def test_kinds_of_two_objects_do_no_harm():
    """Half of one and half of another: any value, or ValueError."""
    values = [1, 2.5, True, None, "text\0", b"\xff\2\3\4\5\6\7\0"]

    with made(["12345678"] * 4) as sl:
        other = ShareableList(name=sl.shm.name)

        def read():
            for i in range(4):
                try:
                    item = other[i]
                except ValueError:
                    continue
                kinds = int, float, bool, type(None), str, bytes
                assert type(item) in kinds

        run(writer(sl, values), writer(other, values[::-1]), read)
        other.shm.close()


def test_everything_else_meanwhile(peer_of):
    values = [5, -5]
    with made([5] * 50) as sl:
        other = peer_of(sl)

        def look():
            assert 0 <= other.count(5) <= 50
            assert other.format == "q" * 50
            assert len(other) == 50
            assert repr(other).startswith("ShareableList([")
            assert set(other) <= {5, -5}
            try:
                other.index(5)
            except ValueError as error:
                assert "list" in str(error) or "container" in str(error)

        run(writer(sl, values), look, look)


def test_close_meanwhile():
    """A list closes under its readers: a value, or the stdlib's TypeError."""
    for _ in range(20):
        with made(range(200)) as sl:

            def read(sl=sl):
                try:
                    for i in range(200):
                        assert sl[i] == i
                        sl[i] = i
                    sl.count(-1), sl.format, list(sl)
                except TypeError as error:
                    assert "bytes-like object" in str(error)

            def close(sl=sl):
                time.sleep(0.002)
                sl.shm.close()

            run(read, read, close, seconds=0.01)


def test_another_segment_meanwhile():
    """`shm` is replaced while a search runs over the items."""
    with made(range(3000)) as sl, made(range(500)) as other:
        first, second = sl.shm, other.shm

        def replace():
            sl.shm = second
            sl.shm = first

        def search():
            assert sl.count(-5) == 0
            assert sl.index(7) == 7
            assert sl.format.startswith("qq")

        run(replace, search, search)
        sl.shm = first


def test_constructors_meanwhile():
    """Many lists at once, and sequences that change while they are read."""
    source = list(range(100))

    def change():
        source.append(1)
        source.pop()

    def build():
        with made(source) as sl:
            assert list(sl)[:100] == list(range(100))

    run(change, build, build)


def test_sum_of_slots_of_their_own(peer_of):
    """Threads that write different items lose nothing."""
    count = 500
    with made([0] * 4) as sl:
        other = peer_of(sl)

        def add(of, i):
            for _ in range(count):
                of[i] = of[i] + 1

        threads = [
            threading.Thread(target=add, args=((sl, other)[i % 2], i))
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(sl) == [count] * 4


def test_import_has_not_turned_the_gil_on():
    if not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled():
        pytest.skip("this interpreter has a GIL")
    assert shmemext.ShareableList is ShareableList
