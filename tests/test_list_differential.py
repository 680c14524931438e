# SPDX-License-Identifier: MIT
"""ShareableList against the stdlib's and against a plain list, by hypothesis.

Where the two libraries may differ is said once, in `stdlib_is_right` and in
`stdlib_sees`; all else must be the same, to the byte.
"""

import struct
from contextlib import contextmanager, suppress
from multiprocessing import shared_memory as stdlib

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import shmemext

# No shrinking by time limits: other work runs on the machine.
fast = settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)

numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
)
texts = st.text(
    st.characters(codec="utf-8", categories=None) | st.sampled_from("\0aé🦜"),
    max_size=30,
)
octets = st.binary(max_size=30) | st.lists(
    st.sampled_from([b"\0", b"a"]), max_size=20
).map(b"".join)
items = st.one_of(numbers, texts, octets)
plain = st.one_of(
    numbers,
    st.text(st.characters(max_codepoint=127), max_size=30),
    octets,
)
wrong = st.one_of(
    st.integers(2**63, 2**64),
    st.just("\ud800"),
    st.just((1,)),
    st.text("é", min_size=9, max_size=40),
    st.binary(min_size=40, max_size=50),
)


def stdlib_sees(item):
    """The same, without NULs at the end of a text."""
    if isinstance(item, str):
        return item.rstrip("\0")
    if isinstance(item, bytes):
        return item.rstrip(b"\0")
    return item


def stdlib_is_right(item):
    """It has room for the text: its slots are sized by characters."""
    if not isinstance(item, str):
        return True
    return len(item.encode()) <= 8 * (len(item) // 8 + 1)


def alike(a, b):
    """Equal, and of one type: 1, 1.0 and True are three values."""
    return type(a) is type(b) and a == b


def all_alike(a, b):
    a, b = list(a), list(b)
    return len(a) == len(b) and all(map(alike, a, b))


@contextmanager
def made(module, sequence):
    sl = module.ShareableList(sequence)
    try:
        yield sl
    finally:
        sl.shm.close()
        sl.shm.unlink()


@contextmanager
def attached(module, name):
    sl = module.ShareableList(name=name)
    try:
        yield sl
    finally:
        sl.shm.close()


def total(sl):
    """Where the stdlib's part of the segment ends."""
    return 17 * len(sl) + 16 + sl._allocated_offsets[-1]


def layout(sl):
    """Ours may be longer: marks follow."""
    return bytes(sl.shm.buf[: total(sl)])


@fast
@given(st.lists(items, max_size=12))
def test_list_of_anything_comes_back(sequence):
    with made(shmemext, sequence) as sl:
        assert all_alike(sl, sequence)
        with attached(shmemext, sl.shm.name) as other:
            assert all_alike(other, sequence)
        with attached(stdlib, sl.shm.name) as other:
            assert all_alike(other, map(stdlib_sees, sequence))
            assert other.format == sl.format
            assert other._allocated_offsets == sl._allocated_offsets
        for item in sequence:
            assert sl.count(item) == sequence.count(item)
            assert sl.index(item) == sequence.index(item)


@fast
@given(st.lists(items.filter(stdlib_is_right), max_size=12))
def test_layout_is_the_stdlibs_to_the_byte(sequence):
    with made(shmemext, sequence) as ours, made(stdlib, sequence) as theirs:
        assert layout(ours) == layout(theirs)
        assert len(layout(ours)) == total(theirs)
        assert ours._allocated_offsets == theirs._allocated_offsets
        assert ours.format == theirs.format


def bytes_of(sl, position):
    """All that the stdlib knows of an item: slot, format and code."""
    begin, end = sl._allocated_offsets[position : position + 2]
    start = sl._offset_data_start
    code = sl._offset_back_transform_codes + position
    return (
        bytes(sl.shm.buf[start + begin : start + end]),
        sl._get_packing_format(position),
        sl.shm.buf[code],
    )


def do(sl, position, item):
    """What became of it: the item, or the exception's type and text."""
    try:
        sl[position] = item
        return None
    except (TypeError, KeyError):
        return "type"  # the stdlib's KeyError names the class, ours says more
    except (ValueError, IndexError, struct.error) as error:
        return type(error), str(error)


writes = st.lists(
    st.tuples(st.integers(0, 7), plain | wrong, st.booleans()), max_size=20
)


@fast
@given(st.lists(plain, min_size=1, max_size=8), writes)
def test_the_same_operations_on_both(sequence, operations):
    """Slots have the same sizes here, so what fits one fits the other."""
    with made(shmemext, sequence) as ours, made(stdlib, sequence) as theirs:
        for position, item, from_the_back in operations:
            if position < len(sequence) and from_the_back:
                position -= len(sequence)
            before = bytes(theirs.shm.buf)
            done = do(theirs, position, item)
            assert do(ours, position, item) == done
            if done is not None:
                theirs.shm.buf[:] = before  # the stdlib's may be half done
            assert layout(ours) == layout(theirs)
            assert ours.format == theirs.format
            assert all_alike(map(stdlib_sees, ours), theirs)
            assert ours.count(item) == list(ours).count(item)


@fast
@given(
    st.lists(items, min_size=1, max_size=6),
    st.lists(
        st.tuples(st.integers(0, 5), items, st.sampled_from("aab")),
        max_size=20,
    ),
)
def test_shmemext_peers_keep_a_plain_list(sequence, operations):
    model = list(sequence)
    with (
        made(shmemext, sequence) as a,
        attached(shmemext, a.shm.name) as b,
    ):
        offsets = a._allocated_offsets
        for position, item, who in operations:
            sl = a if who == "a" else b
            text = item.encode() if isinstance(item, str) else item
            if position >= len(model):
                with pytest.raises(IndexError):
                    sl[position] = item
            elif (
                isinstance(text, bytes)
                and len(text) > offsets[position + 1] - offsets[position]
            ):
                with pytest.raises(ValueError, match="exceeds available"):
                    sl[position] = item
            else:
                sl[position] = item
                model[position] = item
            assert all_alike(a, model) and all_alike(b, model)


@fast
@given(
    st.lists(items, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), items, st.booleans()), max_size=20),
)
def test_a_stdlib_peer_writes_too(sequence, operations):
    """After a write of the stdlib's, the item is what the stdlib sees, unless
    its bytes are again those of shmemext's last write, to which they then
    belong: nothing in memory tells the two apart."""
    model = list(sequence)
    with (
        made(shmemext, sequence) as ours,
        attached(stdlib, ours.shm.name) as theirs,
    ):
        written = [
            (item, bytes_of(ours, i)) for i, item in enumerate(sequence)
        ]
        for position, item, by_stdlib in operations:
            position %= len(model)
            before = layout(ours)
            sl = theirs if by_stdlib else ours
            if do(sl, position, item) is not None:
                ours.shm.buf[: len(before)] = before
                continue
            if not by_stdlib:
                model[position] = item
                written[position] = item, bytes_of(ours, position)
            elif bytes_of(ours, position) == written[position][1]:
                model[position] = written[position][0]
            else:
                model[position] = stdlib_sees(item)
            assert all_alike(theirs, map(stdlib_sees, model))
            assert all_alike(map(stdlib_sees, ours), map(stdlib_sees, model))
            assert alike(ours[position], model[position])


@fast
@given(st.data())
def test_hostile_words_in_a_good_list(data):
    sequence = data.draw(st.lists(items, min_size=1, max_size=4))
    with made(shmemext, sequence) as sl:
        words = sl.shm.size // 8
        for _ in range(data.draw(st.integers(1, 3))):
            at = 8 * data.draw(st.integers(0, words - 1))
            small = st.integers(0, 200)
            word = data.draw(small | st.integers(0, 2**64 - 1))
            struct.pack_into("Q", sl.shm.buf, at, word)
        for of in (sl, None):
            try:
                of = of or shmemext.ShareableList(name=sl.shm.name)
            except ValueError:
                continue
            for use in (list, repr, len, lambda sl: sl.format):
                with suppress(ValueError):
                    use(of)
            if of is not sl:
                of.shm.close()
