# SPDX-License-Identifier: MIT
"""The pools that arrays travel through, in one process: what is sent arrives
once, what is held is not written, and what is shared is."""

import gc
import os
import random
import sys
import threading

import pytest
from conftest import DEV_SHM, python, segments

from shmemext import _pools, _shmemext

MiB = 1 << 20


def pattern(seed, size):
    return random.Random(seed).randbytes(size)


def names():
    return {one for one in segments() if one.startswith(_pools.PREFIX)}


def sent(data, **how):
    reference = _pools.refer(data, **how)
    assert reference is not None
    return reference


def held():
    found = _pools.stats()
    return found["held"], found["in_flight"]


def use_again(size):
    """What nobody has."""
    _pools.withdraw([sent(bytes(size)) for _ in range(40)])


@pytest.mark.parametrize(
    "size", [1, 4095, 4096, 4097, 65535, 65536, 70001, (2 << 20) + 5]
)
def test_bytes_arrive_and_are_the_receivers_alone(size):
    for seed in range(6):  # pages are written in one way and another
        data = bytearray(pattern(seed, size))
        reference = sent(data)
        was = bytes(data)
        data[:] = bytes(size)
        lease = _pools.receive(reference)
        assert len(lease) == size
        assert bytes(lease) == was
        view = memoryview(lease)
        assert not view.readonly
        view[0] ^= 1
        assert data == bytes(size)


def test_second_load_is_an_error():
    reference = sent(b"x" * 100)
    first = _pools.receive(reference)
    with pytest.raises(LookupError, match="received before"):
        _pools.receive(reference)
    assert bytes(first) == b"x" * 100
    del first
    for _ in range(3):
        with pytest.raises(LookupError, match="received before"):
            _pools.receive(reference)


def test_block_that_is_used_again_is_another_one():
    old = sent(b"old" * 30000)
    _pools.receive(old)
    new = sent(b"new" * 30000)
    assert new[:2] == old[:2]  # it is the same one
    with pytest.raises(LookupError, match="received before"):
        _pools.receive(old)
    assert bytes(_pools.receive(new)) == b"new" * 30000


def test_withdrawn_is_not_received():
    references = [sent(bytes(5000)) for _ in range(3)]
    assert held() == (0, 3)
    _pools.withdraw(references)
    assert held() == (0, 0)
    for reference in references:
        with pytest.raises(LookupError):
            _pools.receive(reference)
    _pools.withdraw(references)  # nothing happens
    assert held() == (0, 0)


def test_readonly_stays_readonly():
    for data in bytes(7000), memoryview(bytearray(7000)).toreadonly():
        assert memoryview(_pools.receive(sent(data))).readonly
    assert not memoryview(_pools.receive(sent(bytearray(7000)))).readonly


def test_shared_travels_by_reference():
    made = _pools.make(MiB)
    view = memoryview(made)
    view[:] = bytes(MiB)
    there = _pools.receive(sent(view[1000:5000]))
    assert len(there) == 4000
    assert _pools.is_shared(there)
    view[1000] = 7
    assert memoryview(there)[0] == 7
    memoryview(there)[1] = 8
    assert view[1001] == 8
    del made, view
    again = _pools.receive(sent(there))
    memoryview(again)[2] = 9
    assert memoryview(there)[2] == 9
    readonly = _pools.receive(sent(memoryview(there).toreadonly()))
    assert memoryview(readonly).readonly
    assert _pools.is_shared(readonly)


def test_moved_is_copied_when_it_is_sent_on():
    first = _pools.receive(sent(bytearray(9000)))
    assert not _pools.is_shared(first)
    second = _pools.receive(sent(first))
    memoryview(second)[0] = 1
    assert memoryview(first)[0] == 0


def test_kept_is_received_by_all_who_want_it():
    data = bytearray(pattern(1, 80000))
    kept = sent(data, kept=True)
    assert held() == (1, 0)
    loads = [_pools.receive(kept) for _ in range(3)]
    for load in loads:
        assert bytes(load) == data
        memoryview(load)[:] = bytes(80000)
    assert bytes(_pools.receive(kept)) == data
    assert _pools.stats()["kept"] == 1
    _pools.withdraw([kept])
    del loads, load
    assert held() == (0, 0)
    use_again(80000)
    with pytest.raises(LookupError):
        _pools.receive(kept)


def test_kept_shared_is_shared():
    made = _pools.make(70000)
    kept = sent(made, kept=True)
    assert sent(made, kept=True) == kept
    memoryview(made)[:3] = b"abc"
    del made
    _pools.withdraw([kept])
    load = _pools.receive(kept)
    assert bytes(memoryview(load)[:3]) == b"abc"
    memoryview(load)[0] = 0
    assert memoryview(_pools.receive(kept))[0] == 0
    _pools.withdraw([kept])


def test_keeping_leaves_it_in_flight():
    """As a queue has it, whose getter may be killed."""
    data = pattern(2, 70000)
    reference = sent(bytearray(data))
    for _ in range(3):
        load = _pools.receive(_pools.keeping(reference))
        assert bytes(load) == data
        memoryview(load)[:] = bytes(70000)
    assert held() == (1, 1)
    _pools.withdraw([reference])
    assert held() == (1, 0)
    del load
    use_again(70000)
    with pytest.raises(LookupError):
        _pools.receive(_pools.keeping(reference))


def test_private_is_seen_by_nobody_else():
    data = pattern(3, 100001)
    kept = sent(bytearray(data), kept=True)
    private = memoryview(_pools.receive(kept, private=True))
    private[5] ^= 0xFF
    child = os.fork()
    if child == 0:
        private[6] ^= 0xFF
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert private[6] == data[6]
    assert bytes(_pools.receive(kept)) == data
    _pools.withdraw([kept])
    assert private[5] == data[5] ^ 0xFF
    assert private[6:] == data[6:]


def test_what_is_held_is_held_by_its_views():
    def check(make):
        view = make(_pools.receive(sent(bytearray(b"kept" * 20000))))
        gc.collect()
        for _ in range(20):
            _pools.receive(sent(b"else" * 20000))
        assert bytes(view[:4]) == b"kept"
        assert held() == (1, 0)
        del view
        assert held() == (0, 0)

    check(memoryview)
    check(lambda lease: memoryview(lease)[40:].cast("B")[0:100])


def test_what_is_held_is_held_by_arrays():
    from arrays import np

    def check(make):
        array = make(_pools.receive(sent(bytearray(b"kept" * 20000))))
        gc.collect()
        for _ in range(20):
            _pools.receive(sent(b"else" * 20000))
        assert bytes(array[:4]) == b"kept"
        assert held() == (1, 0)
        del array
        assert held() == (0, 0)

    check(lambda lease: np.frombuffer(lease, "u1"))
    check(lambda lease: np.ndarray(80000, "u1", lease))
    check(lambda lease: np.ndarray(80000, "u1", memoryview(lease)))
    check(lambda lease: np.asarray(memoryview(lease))[4:])


def test_any_part_of_what_is_shared_is_shared():
    from arrays import np

    array = np.frombuffer(_pools.make(8 * 1000), "f8")
    for part in array, array[3:], array[::-2], array.reshape(10, 100).T:
        assert _pools.is_shared(part)
    for other in array.copy(), b"x", bytearray(10), array[:0].copy():
        assert not _pools.is_shared(other)


def test_what_is_not_contiguous_is_refused():
    view = memoryview(bytearray(100))[::2]
    with pytest.raises(BufferError):
        _pools.refer(view)
    for nothing in 5, "text", None:
        with pytest.raises(TypeError):
            _pools.refer(nothing)
        with pytest.raises(TypeError):
            _pools.is_shared(nothing)


def test_nothing_is_not_sent():
    assert _pools.refer(b"") is None
    assert _pools.make(0) is None
    assert _pools.make(-1) is None
    with pytest.raises(TypeError):
        _pools.make("1")


def test_memory_is_used_again():
    for size in 70000, 300000, 5 * MiB:
        before = _pools.stats()["blocks"]
        for i in range(300):
            data = bytearray([i % 256]) * size
            assert bytes(_pools.receive(sent(data))) == data
        assert _pools.stats()["blocks"] <= before + 2


def test_full_pool_sends_nothing_until_there_is_room():
    _pools.configure(MiB)
    before = _pools.stats()["refused"]
    assert _pools.refer(bytes(MiB + 1)) is None
    references = []
    while (reference := _pools.refer(bytes(100000))) is not None:
        references.append(reference)
    assert len(references) == 10
    assert _pools.make(100000) is None
    assert _pools.stats()["refused"] == before + 3
    assert _pools.stats()["size"] == MiB
    loads = [_pools.receive(reference) for reference in references]
    assert _pools.refer(bytes(100000)) is None
    del loads[3:6]
    _pools.withdraw([sent(bytes(250000))])
    del loads
    _pools.withdraw([sent(bytes(900000))])


def test_limit_of_nothing_is_no_pool():
    before = names()
    _pools.configure(0)
    assert _pools.refer(bytes(100)) is None
    assert _pools.make(100) is None
    assert _pools.stats()["pools"] == 0
    assert names() == before


def test_names_are_there_while_the_pool_is():
    before = names()
    _pools.withdraw([sent(b"x")])
    new = names() - before
    assert len(new) == 2
    control, data = sorted(new)
    assert data == f"{control}.data"
    assert (DEV_SHM / control).stat().st_mode & 0o777 == 0o600
    _pools.leave()
    assert names() == before
    assert _pools.stats()["pools"] == 0


def test_pool_with_something_in_flight_stays():
    before = names()
    reference = sent(bytes(5000))
    _pools.leave()
    assert len(names() - before) == 2
    assert bytes(_pools.receive(reference)) == bytes(5000)
    _pools.leave()
    assert names() == before


def test_next_pool_is_another_one():
    first = sent(bytes(5000))
    _pools.withdraw([first])
    _pools.leave()
    second = sent(bytes(5000))
    assert first[0] != second[0]
    _pools.withdraw([second])
    with pytest.raises(LookupError, match="is gone"):
        _pools.receive(first)


EVENTS = """
import sys
seen = []
sys.addaudithook(lambda name, args: seen.append((name, args)))
from shmemext import _pools
_pools.withdraw([_pools.refer(bytes(100))])
_pools.leave()
made = [(name, args[0]) for name, args in seen if name.startswith("shmemext")]
kinds = [name for name, _ in made]
assert sorted(kinds) == ["shmemext.create"] * 2 + ["shmemext.unlink"] * 2, made
assert all(name.startswith(_pools.PREFIX) for _, name in made), made
"""


def test_audit_events_are_those_of_names():
    python(EVENTS)


REFUSED = """
import sys
def refuse(name, args):
    if name == "shmemext.create":
        raise ZeroDivisionError
sys.addaudithook(refuse)
from shmemext import _pools
assert _pools.refer(bytes(100)) is None
assert _pools.make(100) is None
assert _pools.stats()["refused"] == 2
"""


def test_hook_that_refuses_a_pool_is_no_error():
    python(REFUSED)


def test_foreign_references_are_refused():
    """Of whatever numbers: an exception, or what was in flight."""
    chance = random.Random(5)
    real = sent(bytes(50000))
    numbers = [0, 1, 2, 3, 7, 4096, 50000, 65536, 1 << 32, (1 << 64) - 1]
    for _ in range(3000):
        fake = list(real)
        for position in range(1, 6):
            if chance.random() < 0.4:
                fake[position] = chance.choice(numbers)
        fake[1] &= (1 << 32) - 1
        fake[5] &= 7
        if tuple(fake[1:3]) == real[1:3]:
            continue
        with pytest.raises((LookupError, OSError)):
            _pools.receive(tuple(fake))
    for bad in (), real[:5], (*real, 1), "abcdef", None, ("x",) * 6:
        with pytest.raises((TypeError, IndexError, ValueError)):
            _pools.receive(bad)
    out = (*real[:3], real[3] + 1, 1 << 60, 0)
    with pytest.raises(OSError, match="damaged"):
        _pools.receive(out)
    assert bytes(_pools.receive(real)) == bytes(50000)


def test_types_are_not_made_by_hand():
    with pytest.raises(TypeError):
        _shmemext.Lease()
    with pytest.raises(TypeError):
        _shmemext._Pool()
    with pytest.raises(TypeError):
        _shmemext._Pool(1, 2, 3, 4)
    with pytest.raises(TypeError):
        _shmemext._pool_share([], b"")
    with pytest.raises(TypeError):
        _shmemext._pool_share((1,), b"")
    with pytest.raises(ValueError, match="shape"):
        _shmemext._Pool.size_of(-1, 1)
    with pytest.raises(ValueError, match="shape"):
        _shmemext._Pool.size_of(MiB, 1 << 20)


def test_threads_share_a_pool():
    wrong = []

    def work(seed):
        chance = random.Random(seed)
        kept = []
        for _ in range(150):
            data = bytes([chance.randrange(256)]) * chance.randrange(1, 200000)
            reference = _pools.refer(bytearray(data))
            if reference is None:
                wrong.append("none")
                return
            lease = _pools.receive(reference)
            kept.append((lease, data))
            if len(kept) > 3:
                kept.pop(chance.randrange(4))
            for one, was in kept:
                if bytes(one) != was:
                    wrong.append("other bytes")

    threads = [
        threading.Thread(target=work, args=(seed,)) for seed in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert held() == (0, 0)


def test_reference_count_of_types_is_kept():
    before = sys.getrefcount(_shmemext.Lease)
    for _ in range(50):
        _pools.receive(sent(bytes(10)))
    assert sys.getrefcount(_shmemext.Lease) <= before + 2
