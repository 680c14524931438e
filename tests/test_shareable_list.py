# SPDX-License-Identifier: MIT
"""ShareableList: what it has of the stdlib's, what it does better in the same
layout, and what it makes of memory that is not a list."""

import copy
import gc
import os
import pickle
import random
import struct
import sys
import threading
import types
from contextlib import contextmanager, suppress
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from multiprocessing import shared_memory as stdlib

import pytest
from arrays import np
from conftest import DEV_SHM, python, segments

import shmemext
from shmemext import ShareableList, SharedMemory

ITEMS = ["abc", b"de", 7, 2.5, True, None, "0123456789"]


@contextmanager
def made(module, *args, **kwargs):
    """A list that is gone afterwards."""
    sl = module.ShareableList(*args, **kwargs)
    try:
        yield sl
    finally:
        sl.shm.close()
        sl.shm.unlink()


@contextmanager
def attached(module, name):
    """A stdlib attacher unregisters, since it is not the owner."""
    sl = module.ShareableList(name=name)
    try:
        yield sl
    finally:
        sl.shm.close()


@pytest.fixture
def sl():
    with made(shmemext, ITEMS) as made_list:
        yield made_list


def fill(sl, sequence, more=0):
    items, _, data, _ = sl._measure(sequence)
    sl._fill(items, data + more)


def test_list_in_readonly_memory_refuses_changes(sl):
    with SharedMemory(sl.shm.name, readonly=True) as shm:
        reader = ShareableList(name=sl.shm.name)
        reader.shm, was = shm, reader.shm
        assert list(reader) == ITEMS
        for change in (
            lambda: reader.__setitem__(2, 8),
            lambda: reader._set_packing_format_and_transform(2, "q", 8),
            lambda: fill(reader, ITEMS),
        ):
            with pytest.raises(TypeError, match="read-only"):
                change()
        was.close()
    assert list(sl) == ITEMS


# As the stdlib's: these run on both.


def test_items_come_back(both):
    with made(both, ITEMS) as sl:
        assert list(sl) == ITEMS
        assert [type(item) for item in sl] == [type(item) for item in ITEMS]
        assert len(sl) == len(ITEMS)
        assert [sl[i - len(ITEMS)] for i in range(len(ITEMS))] == ITEMS
        assert list(reversed(sl)) == ITEMS[::-1]
        assert sl[True] == ITEMS[1]
        assert 7 in sl and 8 not in sl
        assert sl.format == "8s8sqdxxxxxxx?xxxxxx?x16s"
        assert repr(sl) == f"ShareableList({ITEMS}, name={sl.shm.name!r})"


def test_empty(both):
    for empty in ([], (), "", 0):
        with made(both, empty) as sl:
            assert len(sl) == 0 and list(sl) == [] and sl.format == ""
            with pytest.raises(IndexError, match=r"^index out of range$"):
                sl[0]
    with made(both) as sl:
        assert len(sl) == 0


def test_sequences(both):
    for sequence in (range(3), (0, 1, 2), {0: "", 1: "", 2: ""}, {0, 1, 2}):
        with made(both, sequence) as sl:
            assert list(sl) == [0, 1, 2]
    with made(both, "abc") as sl:
        assert list(sl) == ["a", "b", "c"]
    with made(both, [1, 2]) as sl, made(both, sl) as other:
        assert list(other) == [1, 2]


def test_arguments(both, name):
    with pytest.raises(TypeError, match="takes from 1 to 2 positional"):
        both.ShareableList([1], name)
    with pytest.raises(TypeError, match="not iterable"):
        both.ShareableList(5)
    with made(both, [1], name=name) as sl:
        assert sl.shm.name == name
        with pytest.raises(FileExistsError):
            both.ShareableList([1], name=name)
        with pytest.raises(FileExistsError):
            both.ShareableList([], name=name)
    with pytest.raises(FileNotFoundError):
        both.ShareableList(name=name)


def test_iterator_is_refused_as_struct_would(both):
    before = segments()
    with pytest.raises(struct.error, match=r"expected 3 items .* \(got 0\)"):
        both.ShareableList(i for i in range(3))
    for left in segments() - before:
        (DEV_SHM / left).unlink()  # the stdlib's
    if both is stdlib:
        from multiprocessing import resource_tracker

        for left in segments() - before:
            resource_tracker.unregister(f"/{left}", "shared_memory")


def test_set(both):
    with made(both, ITEMS) as sl:
        sl[0], sl[1], sl[2], sl[3] = b"x", "é", -1, False
        sl[-2] = 1.5
        sl[True] = "y"
        assert list(sl) == [b"x", "y", -1, False, True, 1.5, "0123456789"]
        sl[-1] = 3
        assert sl.format == "8s8sqxxxxxxx?xxxxxxx?dq"
        sl[-1] = "0123456789abcdef"
        assert sl[-1] == "0123456789abcdef" and sl.format[-3:] == "16s"
        too_long = "bytes/str item exceeds available storage"
        for item in ("0123456789abcdefg", b"0123456789abcdefg", "é" * 9):
            with pytest.raises(ValueError, match=f"^{too_long}$"):
                sl[-1] = item
        assert sl[-1] == "0123456789abcdef"


def test_positions(both):
    with made(both, ITEMS) as sl:
        for position in (7, 100, 2**70):
            with pytest.raises(IndexError, match=r"^index out of range$"):
                sl[position]
            with pytest.raises(IndexError, match=r"^assignment index out of"):
                sl[position] = 1
        for position, kind in ((slice(1), "slice"), ("a", "str")):
            text = f"^'>=' not supported between .* '{kind}' and 'int'$"
            with pytest.raises(TypeError, match=text):
                sl[position]
            with pytest.raises(TypeError, match=text):
                sl[position] = 1
        with pytest.raises(TypeError, match="must be integers or slices, not"):
            sl[1.0]
        with pytest.raises((TypeError, AttributeError)):
            del sl[0]
        assert sl[np.int64(2)] == 7


def test_count_and_index(both):
    with made(both, [1, 1.0, True, "1", None, 1, float("nan")]) as sl:
        assert sl.count(1) == 4 and sl.count("1") == 1 and sl.count(2) == 0
        assert sl.index(1.0) == 0 and sl.index(None) == 4
        assert sl.count(float("nan")) == 0 and sl.count(2**70) == 0
        text = "'2' not in this container"
        if sys.version_info >= (3, 14):
            text = "ShareableList.index(x): x not in list"
        with pytest.raises(ValueError) as caught:
            sl.index("2")
        assert str(caught.value) == text
        for method in (sl.count, sl.index):
            with pytest.raises(TypeError):
                method()
            with pytest.raises(TypeError):
                method(1, 2)


class Strange:
    def __eq__(self, other):
        raise ZeroDivisionError


def test_what_comparison_raises_is_passed_on(both):
    with made(both, [1]) as sl:
        with pytest.raises(ZeroDivisionError):
            sl.index(Strange())
        with pytest.raises(ZeroDivisionError):
            sl.count(Strange())


def test_pickle_and_copy_attach(both):
    with made(both, ITEMS) as sl:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            other = pickle.loads(pickle.dumps(sl, protocol))
            assert list(other) == ITEMS and other.shm.name == sl.shm.name
            other[2] = protocol
            assert sl[2] == protocol
            sl[2] = 7
            other.shm.close()
        for of in (copy.copy, copy.deepcopy):
            other = of(sl)
            assert list(other) == ITEMS
            other.shm.close()
    data = pickle.dumps(sl)
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


def test_pickle_does_not_grow_with_the_list(both):
    with made(both, range(10)) as few, made(both, range(400)) as many:
        assert len(pickle.dumps(few)) == len(pickle.dumps(many))


def test_closed(both):
    with made(both, ITEMS) as sl:
        sl.shm.close()
        uses = [
            lambda: sl[0],
            lambda: sl.__setitem__(0, 1),
            lambda: len(sl),
            lambda: list(sl),
            lambda: repr(sl),
            lambda: sl.format,
            lambda: sl.count(1),
            lambda: sl.index(1),
        ]
        for use in uses:
            with pytest.raises(
                TypeError, match=r"^a bytes-like object is req"
            ):
                use()


def test_class(both):
    alias = both.ShareableList[int]
    assert isinstance(alias, types.GenericAlias)
    assert alias.__origin__ is both.ShareableList and alias.__args__ == (int,)
    for missing in ("__iter__", "__contains__", "__delitem__"):
        if both is stdlib:
            assert not hasattr(both.ShareableList, missing)
    with made(both, [1]) as sl:
        assert type(iter(sl)).__name__ == "iterator"
        assert sl != copy.copy(sl) and hash(sl) != 0
        sl.note = 1
        assert vars(sl)["note"] == 1


def test_subclass(both):
    class Named(both.ShareableList):
        def first(self):
            return self[0]

    sl = Named(ITEMS)
    try:
        assert sl.first() == "abc" and repr(sl).startswith("Named([")
        function, arguments = sl.__reduce__()
        assert function.func is Named and arguments == ()
        assert function.keywords == {"name": sl.shm.name}
    finally:
        sl.shm.close()
        sl.shm.unlink()


def test_private_names(both):
    with made(both, ITEMS) as sl:
        assert sl._list_len == 7
        assert sl._allocated_offsets == [0, 8, 16, 24, 32, 40, 48, 64]
        assert sl._alignment == 8
        assert sl._types_mapping[str] == "%ds"
        assert sl._get_packing_format(-1) == "16s"
        with pytest.raises(IndexError, match=r"^Requested position out of ra"):
            sl._get_packing_format(7)
        assert sl._get_back_transform(0)(b"a\0") == "a"
        assert sl._get_back_transform(5)(b"a") is None
        codes = [sl._extract_recreation_code(item) for item in ITEMS]
        assert codes == [1, 2, 0, 0, 0, 3, 1]
        assert sl._format_size_metainfo in ("8q", "q" * 8)
        assert struct.calcsize(sl._format_packing_metainfo) == 56
        assert struct.calcsize(sl._format_back_transform_codes) == 7
        assert sl._offset_data_start == 72
        assert sl._offset_packing_formats == 136
        assert sl._offset_back_transform_codes == 192
        sl._set_packing_format_and_transform(0, "q", 1)
        assert sl._get_packing_format(0) == "q"
        assert sl[0] == int.from_bytes(b"abc" + bytes(5), sys.byteorder)


def test_int_beyond_64_bits(both):
    with made(both, [2**63 - 1, -(2**63)]) as sl:
        assert list(sl) == [2**63 - 1, -(2**63)]
        with pytest.raises(struct.error) as caught:
            sl[0] = 2**63
        with pytest.raises(struct.error) as expected:
            struct.pack("q", 2**63)
        assert str(caught.value) == str(expected.value)


# A sequence that changes while a list is made of it.

CHANGED = """
import sys
{0}
items = [*range(10), 0.5]
changing = True


def hook(event, args):
    global changing
    if changing and event in ("shmemext.create", "os.truncate"):
        changing = False
        {1}


sys.addaudithook(hook)
try:
    sl = shared_memory.ShareableList(items)
except Exception as error:
    print(type(error).__name__)
else:
    other = shared_memory.ShareableList(name=sl.shm.name)
    print(list(sl) == list(other) == [*range(10), 0.5])
    other.shm.close()
    sl.shm.close()
    sl.shm.unlink()
"""


@pytest.mark.parametrize(
    "change, stdlibs",
    [
        ("items.pop()", "error"),
        ("items.clear()", "error"),
        ("items.append(1)", "error"),
        ("items[0] = 1000", "False"),
        ("items[:] = ['a text of some words'] * 11", "error"),
        ("items.insert(0, None)", "error"),
    ],
)
def test_sequence_that_changes_during_the_create(both, change, stdlibs):
    """The list is of what was there when it began; the stdlib packs what is
    there later, or fails with struct.error and leaves a segment."""
    way = "import shmemext as shared_memory"
    if both is stdlib:
        way = (
            "from multiprocessing import resource_tracker, shared_memory\n"
            "resource_tracker.register = lambda *arguments: None\n"
            "resource_tracker.unregister = lambda *arguments: None"
        )
    before = segments()
    done = python(CHANGED.format(way, change))
    assert done.stdout == f"{stdlibs if both is stdlib else True}\n"
    left = segments() - before
    assert both is stdlib or not left
    for name in left:
        (DEV_SHM / name).unlink()


def test_sequence_that_changes_when_it_is_converted():
    class Clearing:
        def __index__(self):
            items.clear()
            return 1

    items = [Clearing(), "text" * 9, 2, Clearing(), [1][0]]
    with made(shmemext, items) as sl:
        assert items == [] and list(sl) == [1, "text" * 9, 2, 1, 1]


def test_item_that_changes_its_type_when_it_is_converted():
    class Plain:
        pass

    class Turning:
        def __init__(self):
            self.__class__ = type("Short", (Turning,), {})

        def __index__(self):
            self.__class__ = Plain
            gc.collect()
            raise TypeError

        def __float__(self):
            raise AssertionError("it has none any more")

    with pytest.raises(TypeError, match="not 'Plain'"):
        ShareableList([Turning()])


def test_nobody_else_has_the_items(both):
    """What conversions and other threads could change is not to be found."""
    lists = []

    def look():
        lists.extend(
            found
            for found in gc.get_objects()
            if type(found) in (list, tuple)
            and any(item is looking for item in found)
        )

    class Index:
        def __index__(self):
            look()
            return 1

    looking = float("987654321.5")
    items = [looking] if both is stdlib else [looking, Index()]
    with made(both, items):
        look()
    assert all(found is items for found in lists)


def test_iterator_that_finds_what_is_made_of_it():
    class Index:
        def __index__(self):
            for found in lists:
                found.clear()
            return 1

    lists = []

    def items():
        yield looking
        yield Index()
        lists.extend(
            found
            for found in gc.get_objects()
            if type(found) is list and any(item is looking for item in found)
        )
        yield "text" * 9

    class Sequence:
        def __iter__(self):
            return items()

    looking = float("987654321.5")
    with made(shmemext, Sequence()) as sl:
        assert lists == [[]] and list(sl) == [looking, 1, "text" * 9]


def test_items_that_do_not_fit_what_was_measured(sl):
    with made(shmemext, ["room"] * 100) as other:
        for more in (8, 16, -8, -16, -(10**6), 10**6):
            with pytest.raises(ValueError):
                fill(other, ITEMS, more)
        for nothing in ([1], (1,), None, sl):
            with pytest.raises(ValueError):
                other._fill(nothing, 8)


# Two kinds of peers on one list.


@pytest.mark.parametrize(
    "maker, peer", [(shmemext, stdlib), (stdlib, shmemext)]
)
def test_each_opens_the_others_list(maker, peer):
    with made(maker, ITEMS) as mine, attached(peer, mine.shm.name) as other:
        assert list(other) == ITEMS and other.format == mine.format
        assert len(other) == len(ITEMS)
        for item in ("x", b"y", -3, 0.5, False, None, "é"):
            for i in range(len(ITEMS)):
                mine[i] = item
                assert other[i] == item and type(other[i]) is type(item)
                other[i] = i
                assert mine[i] == i
                other[i] = item
                assert mine[i] == item and type(mine[i]) is type(item)
        assert list(mine) == list(other) and mine.format == other.format


PEER = """
import sys
{0}
sl = shared_memory.ShareableList(name=sys.argv[1])
assert list(sl) == ["abc", b"de", 7, 2.5, True, None, "0123456789"]
sl[0], sl[1], sl[2], sl[6] = None, "é", -7, "abcdefghijklmno"
sl.shm.close()
"""


@pytest.mark.parametrize(
    "maker, peer",
    [
        (shmemext, "multiprocessing"),
        (stdlib, "shmemext"),
        (shmemext, "shmemext"),
    ],
)
def test_across_processes(maker, peer):
    way = "import shmemext as shared_memory"
    if peer == "multiprocessing":
        way = (
            "from multiprocessing import resource_tracker, shared_memory\n"
            "resource_tracker.register = lambda *arguments: None"
        )
    with made(maker, ITEMS) as sl:
        python(PEER.format(way), sl.shm.name)
        assert list(sl) == [
            None,
            "é",
            -7,
            2.5,
            True,
            None,
            "abcdefghijklmno",
        ]


# Right where the stdlib is wrong.


def test_text_beyond_ascii_is_whole():
    texts = ["é" * 20, "日本語" * 9, "🦜" * 8, "aé" * 7, "\x00é\x00"]
    with made(shmemext, texts) as sl:
        assert list(sl) == texts
        with attached(stdlib, sl.shm.name) as other:
            assert list(other) == [text.rstrip("\0") for text in texts]


NULS = ["a\0", b"b\0\0", "\0", b"\0" * 8, "a\0b\0\0", "é\0", b"1234567\0"]


def test_nuls_come_back_exactly():
    with made(shmemext, NULS) as sl:
        with attached(shmemext, sl.shm.name) as other:
            assert list(sl) == list(other) == NULS
            other[0] = "\0\0\0"
            assert sl[0] == "\0\0\0"
            other[0] = "a"
            assert sl[0] == "a"
            for i, item in enumerate(NULS):
                other[i] = item
            assert list(sl) == NULS
        assert sl.count("\0") == 1 and sl.index(b"\0" * 8) == 3


def test_nuls_in_another_process():
    with made(shmemext, NULS) as sl:
        python(
            "import shmemext, sys\n"
            "sl = shmemext.ShareableList(name=sys.argv[1])\n"
            f"assert list(sl) == {NULS!r}\n"
            "sl[0] = 'c\\0\\0'\n",
            sl.shm.name,
        )
        assert sl[0] == "c\0\0"


def test_stdlib_reads_nuls_as_it_always_did():
    with (
        made(shmemext, NULS) as sl,
        attached(stdlib, sl.shm.name) as other,
    ):
        for ours, theirs in zip(NULS, other, strict=True):
            nul = "\0" if isinstance(ours, str) else b"\0"
            assert theirs == ours.rstrip(nul)
            assert type(theirs) is type(ours)


@pytest.mark.parametrize("new", ["b", b"a", b"", "", 5, 0, 0.0, None, True])
def test_stdlib_rewrites_a_marked_item(new):
    with (
        made(shmemext, ["a\0\0", "x"]) as sl,
        attached(stdlib, sl.shm.name) as other,
    ):
        other[0] = new
        assert sl[0] == new and type(sl[0]) is type(new)
        other[0] = "ab"
        assert list(sl) == ["ab", "x"]


def test_number_takes_the_mark_away():
    with (
        made(shmemext, ["a\0\0"]) as sl,
        attached(stdlib, sl.shm.name) as other,
    ):
        sl[0] = 5
        other[0] = "a"
        assert sl[0] == "a"


def test_list_of_the_stdlib_has_no_marks(name):
    """Not even where its segment is longer than the list."""
    with made(stdlib, ["ab", b"cd"]) as sl:
        with attached(shmemext, sl.shm.name) as other:
            other[0] = "a\0"
            assert other[0] == "a" == sl[0]
            other[0] = "ab"
        data = bytes(sl.shm.buf)
    (DEV_SHM / name).write_bytes(data + bytes(4096))
    with attached(shmemext, name) as other:
        assert list(other) == ["ab", b"cd"]


def test_index_below_the_first(sl):
    for position in (-8, -14, -(2**40), -(2**70)):
        with pytest.raises(IndexError, match=r"^index out of range$"):
            sl[position]
        with pytest.raises(IndexError, match=r"^assignment index out of ran"):
            sl[position] = 1
    assert list(sl) == ITEMS


@pytest.mark.parametrize(
    "bad, error",
    [
        (2**63, struct.error),
        (-(2**63) - 1, struct.error),
        ("0123456789", ValueError),
        (b"0123456789", ValueError),
        ("\udc80", UnicodeEncodeError),
        ([], TypeError),
        (1j, TypeError),
        ("x" * 10_000_000, (ValueError, AssertionError)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failed_set_changes_nothing(sl, bad, error):
    before = bytes(sl.shm.buf)
    for position in range(6):
        with pytest.raises(error):
            sl[position] = bad
        assert bytes(sl.shm.buf) == before


@pytest.mark.parametrize(
    "sequence, error",
    [
        ([1, 2**63], struct.error),
        (["a", "\ud800"], UnicodeEncodeError),
        ([1, object()], TypeError),
        ([1, bytearray(b"a")], TypeError),
        (["x" * 10_000_000], AssertionError),
        (map(str, range(9)), struct.error),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failed_constructor_leaves_no_segment(sequence, error, name):
    before = segments()
    with pytest.raises(error):
        ShareableList(sequence, name=name)
    assert segments() == before


def test_longest_text():
    longest = "x" * 9_999_991
    with made(shmemext, [longest, ""]) as sl:
        assert sl[0] == longest and sl.format == "9999992s8s"
        with attached(stdlib, sl.shm.name) as other:
            assert other[0] == longest


class Colour(IntEnum):
    RED = 3


class Word(StrEnum):
    HI = "hi\0"


class Integer(int):
    def __index__(self):
        raise AssertionError("an int is what it is")


class Text(str):
    __slots__ = ()

    def encode(self, *_):
        raise AssertionError("a str is what it is")


class Octets(bytes):
    pass


class Real(float):
    pass


class Index:
    def __index__(self):
        return 9


class Half:
    def __float__(self):
        return 0.5

    def __eq__(self, other):
        return other == 0.5


class Rough(Half):
    def __eq__(self, other):
        return False


@pytest.mark.parametrize(
    "item, plain",
    [
        (Colour.RED, 3),
        (Word.HI, "hi\0"),
        (Integer(5), 5),
        (Text("t"), "t"),
        (Octets(b"o"), b"o"),
        (Real(1.5), 1.5),
        (Index(), 9),
        (Half(), 0.5),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
    ],
    ids=lambda value: type(value).__name__,
)
def test_taken_for_what_it_is(item, plain):
    with made(shmemext, [item, "01234567"]) as sl:
        assert sl[0] == plain and type(sl[0]) is type(plain)
        sl[1] = item
        assert sl[1] == plain and type(sl[1]) is type(plain)


@pytest.mark.parametrize(
    "kind, value, plain",
    [
        ("bool_", True, True),
        ("int8", -3, -3),
        ("uint64", 2**63 - 1, 2**63 - 1),
        ("float16", 0.5, 0.5),
        ("float32", 0.1, struct.unpack("f", struct.pack("f", 0.1))[0]),
        ("float64", 0.1, 0.1),
        ("longdouble", 0.5, 0.5),
        ("str_", "n", "n"),
        ("bytes_", b"n", b"n"),
        ("array", 4, 4),
    ],
)
def test_numpys_are_taken_for_what_they_are(kind, value, plain):
    test_taken_for_what_it_is(getattr(np, kind)(value), plain)


def test_nan_of_other_types():
    with made(shmemext, [Decimal("NaN"), Decimal("-NaN")]) as sl:
        assert all(item != item for item in sl)


def test_nan_of_numpy():
    with made(shmemext, [np.float32("nan"), np.float64("nan")]) as sl:
        assert all(item != item for item in sl)


@pytest.mark.parametrize(
    "item",
    [
        Decimal("0.1"),
        Fraction(1, 3),
        Rough(),
        1j,
        (1,),
        [1],
        {},
        bytearray(b"a"),
        memoryview(b"a"),
        object(),
        int,
    ],
    ids=lambda value: type(value).__name__,
)
def test_another_type_is_named(sl, item):
    before = bytes(sl.shm.buf)
    for use in (
        lambda: ShareableList([item]),
        lambda: sl.__setitem__(2, item),
    ):
        with pytest.raises(TypeError) as caught:
            use()
        assert type(item).__name__ in str(caught.value)
    assert bytes(sl.shm.buf) == before


@pytest.mark.parametrize(
    "item",
    [
        lambda: np.longdouble(1) / 3,
        lambda: np.array([1, 2]),
        lambda: np.datetime64("2020-01-01"),
    ],
    ids=["longdouble", "array", "datetime64"],
)
def test_another_type_of_numpy_is_named(sl, item):
    item = item()
    if isinstance(item, np.longdouble) and np.finfo(item).bits == 64:
        pytest.skip("a long double is a double here")
    test_another_type_is_named(sl, item)


def test_uint64_beyond_64_bits():
    with pytest.raises(struct.error):
        ShareableList([np.uint64(2**63)])


def test_whatever_the_object_does_meanwhile(sl):
    class Closing:
        def __index__(self):
            sl.shm.close()
            return 1

    sl[0] = Closing()  # into memory that lives as long as the call
    with pytest.raises(TypeError):
        sl[0]


# Memory that is no list, or is not any more. CLEAR is what may be raised.

CLEAR = (ValueError, IndexError)  # UnicodeDecodeError is a ValueError


def use_all(sl):
    """Everything that reads: a value or a clear error, and little memory."""
    for use in (
        list,
        repr,
        len,
        lambda sl: sl.format,
        lambda sl: sl.count(1),
        lambda sl: sl.count("a"),
        lambda sl: sl.index(None),
        lambda sl: sl._allocated_offsets,
        lambda sl: sl[0],
        lambda sl: sl[-1],
        lambda sl: sl._get_packing_format(0),
    ):
        with suppress(CLEAR):
            use(sl)
    for item in (1, 1.5, True, None, "a\0", b"b"):
        for i in range(min(sl._list_len, 8)):
            try:
                sl[i] = item
                assert sl[i] == item or isinstance(item, str)
            except CLEAR:
                pass


def test_random_bytes(name):
    random.seed(1)
    path = DEV_SHM / name
    for size in (1, 8, 15, 16, 17, 64, 333, 4096):
        for _ in range(20):
            path.write_bytes(random.randbytes(size))
            with pytest.raises(ValueError):
                ShareableList(name=name)


def test_mutated_lists(name):
    """One word of a good list is rubbish, or its end is gone."""
    random.seed(2)
    with made(shmemext, [*ITEMS, *NULS]) as sl:
        good = bytes(sl.shm.buf)
    path = DEV_SHM / name
    words = (0, 1, 7, 8, 1 << 20, 1 << 62, (1 << 64) - 1, 0x73383939393939)
    for at in range(0, len(good) - 8, 8):
        for word in (*words, random.getrandbits(64)):
            bad = good[:at] + word.to_bytes(8, sys.byteorder) + good[at + 8 :]
            path.write_bytes(bad)
            try:
                sl = ShareableList(name=name)
            except ValueError:
                continue
            use_all(sl)
            sl.shm.close()
    for size in range(1, len(good), 3):
        path.write_bytes(good[:size])
        try:
            sl = ShareableList(name=name)
        except ValueError:
            continue
        use_all(sl)
        sl.shm.close()


@pytest.mark.parametrize("count", [-1, -(2**63), 2**63 - 1, 2**40, 40])
def test_hostile_length(sl, count):
    struct.pack_into("q", sl.shm.buf, 0, count)
    with pytest.raises(ValueError) as caught:
        len(sl)
    if count < 0:
        assert str(caught.value) == "__len__() should return >= 0"
    with pytest.raises(ValueError):
        list(sl)
    with pytest.raises(ValueError):
        ShareableList(name=sl.shm.name)
    assert sl[2] == 7 and sl.format and sl.index(7) == 2


MEMORY = """
import resource, struct, sys
import shmemext
with open("/dev/shm/" + sys.argv[1], "r+b") as file:
    head = struct.pack("q", int(sys.argv[2]))
    file.write(head)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20),) * 2)
try:
    sl = shmemext.ShareableList(name=sys.argv[1])
    list(sl), sl.format, sl._allocated_offsets
except (ValueError, IndexError) as error:
    print(type(error).__name__)
else:
    print("none")
"""


@pytest.mark.parametrize("count", [2**33, 2**28, (1 << 20) // 17 - 1])
def test_hostile_length_allocates_no_more_than_the_segment(name, count):
    (DEV_SHM / name).write_bytes(bytes(1 << 20))
    done = python(MEMORY, name, count)
    assert done.stdout == "ValueError\n"


def test_cut_short_before_it_is_opened(sl):
    """Down to any size: what is left is looked at, nothing beyond it."""
    path = DEV_SHM / sl.shm.name
    for size in range(sl.shm.size - 1, 0, -5):
        os.truncate(path, size)
        try:
            other = ShareableList(name=sl.shm.name)
        except ValueError:
            continue
        use_all(other)
        other.shm.close()


CUT = """
import os, sys, warnings
sys.path.insert(0, sys.argv[1])
from test_shareable_list import made, use_all
import shmemext
with made(shmemext, [*range(5000), "text"]) as sl:
    os.truncate("/dev/shm/" + sl.shm.name, int(sys.argv[2]))
    warnings.simplefilter("ignore", RuntimeWarning)
    use_all(sl)
"""


@pytest.mark.parametrize("size", [0, 8, 50_000])
def test_cut_short_while_it_is_open(size):
    """In a process of its own: pytest's faulthandler takes SIGBUS back."""
    python(CUT, os.path.dirname(__file__), size)  # noqa: PTH120


def test_peer_rewrites_the_header_in_a_loop():
    with made(shmemext, [*ITEMS, *NULS]) as sl:
        good = bytes(sl.shm.buf)
        with attached(shmemext, sl.shm.name) as other:
            use_all_while_it_changes(sl, good, other)


def use_all_while_it_changes(sl, good, other):
    stop = threading.Event()
    buf = other.shm.buf

    def scribble():
        source = random.Random(3)
        while not stop.is_set():
            at = source.randrange(0, len(good) // 8) * 8
            word = source.choice((0, 1, 2**62, source.getrandbits(64)))
            buf[at : at + 8] = word.to_bytes(8, "little")
            if source.random() < 0.05:
                buf[:] = good

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(300):
            try:
                again = ShareableList(name=sl.shm.name)
            except ValueError:
                pass
            else:
                again.shm.close()
            use_reads(sl)
    finally:
        stop.set()
        thread.join()


def use_reads(sl):
    for use in (list, repr, len, lambda sl: (sl.format, sl.count(1))):
        with suppress(CLEAR):
            use(sl)
    for i in range(len(ITEMS)):
        with suppress(CLEAR):
            sl[i] = b"x\0"


def test_other_memory_under_the_same_object():
    """The list's segment is changed for a shorter one."""
    with made(shmemext, range(60_000)) as owner, made(shmemext, [1]) as short:
        sl = ShareableList(name=owner.shm.name)
        assert sl[59_999] == 59_999
        sl.shm.close()
        sl.shm.__init__(short.shm.name)
        with pytest.raises(IndexError):
            sl[59_999]
        assert list(sl) == [1]
        sl.shm = SharedMemory(owner.shm.name)
        assert sl[59_999] == 59_999
        sl.shm.close()


def test_other_list_of_that_size_at_that_address():
    """What was unmapped is mapped again where it was, most of the time."""
    few, many = [*range(7), "x" * 264], list(range(16))
    with made(shmemext, few) as first, made(shmemext, many) as second:
        assert first.shm.size == second.shm.size
        sl = ShareableList(name=first.shm.name)
        for _ in range(10):
            for owner, items in ((second, many), (first, few)):
                sl.shm.close()
                sl.shm.__init__(owner.shm.name)
                assert list(sl) == items
                assert sl._list_len == len(sl) == len(items)
                assert sl._allocated_offsets == owner._allocated_offsets
                assert sl.format == owner.format
        sl.shm.close()
        assert sl._list_len == len(few)


@pytest.mark.parametrize(
    "first", ["_list_len", "_allocated_offsets", "_offset_data_start"]
)
def test_sections_are_those_of_the_memory_that_is_there(first):
    with made(shmemext, range(60)) as owner, made(shmemext, [1, 2]) as short:
        sl = ShareableList(name=owner.shm.name)
        sl.shm.close()
        sl.shm.__init__(short.shm.name)
        assert getattr(sl, first) == getattr(short, first)
        sl.shm.close()


def test_length_is_kept_after_close(both):
    with made(both, ITEMS) as sl:
        sl.shm.close()
        assert sl._list_len == len(ITEMS)


def test_without_constructor():
    sl = ShareableList.__new__(ShareableList)
    for use in (lambda: sl[0], lambda: len(sl), lambda: sl.shm):
        with pytest.raises(AttributeError, match="no attribute 'shm'"):
            use()
    with pytest.raises(
        TypeError, match=r"shm must be a shmemext.SharedMemory"
    ):
        sl.shm = bytearray(64)
