# SPDX-License-Identifier: MIT
"""Every operation of pools, for operations.py.

What cannot be sent by reference is None, and no error; and what was sent is
received, or can be received yet, or its exception says so. No pool is left."""

from contextlib import suppress

from shmemext import _pools

insists = False  # on what there must be memory for, and is once none fails
DATA = bytes(range(256)) * 300


references = [None] * 20  # takes no memory later


def over():
    """Ends the pool, when nothing fails any more."""
    _pools.withdraw([one for one in references if one is not None])
    references[:] = [None] * 20
    _pools.leave()


def pooled(operation):
    """With a small pool, which over() ends."""

    def run(shm):
        _pools.configure(1 << 20)
        operation()

    return run


def refer(data=DATA, **how):
    reference = _pools.refer(data, **how)
    references[references.index(None)] = reference
    if reference is None and insists:
        raise MemoryError
    return reference


def receive(reference, **how):
    if reference is not None:
        assert bytes(_pools.receive(reference, **how)) == DATA


def there():
    receive(refer())


def often():
    for _ in range(6):
        receive(refer())


def private():
    receive(refer(bytearray(DATA)), private=True)


def kept():
    reference = refer(bytearray(DATA), kept=True)
    receive(reference)
    receive(reference)


def made():
    lease = _pools.make(len(DATA))
    if lease is not None:
        memoryview(lease)[:] = DATA
        assert _pools.is_shared(lease)
        receive(refer(lease))
        receive(refer(lease, kept=True))


def received_before():
    reference = refer()
    receive(reference)
    if reference is not None:
        with suppress(LookupError):
            _pools.receive(reference)
            raise AssertionError("twice")


def gone():
    with suppress(LookupError):
        _pools.receive((1, 2, 3, 4, 5, 0))


def full():
    with suppress(MemoryError):
        while refer() is not None:
            pass


def look():
    refer()
    assert _pools.stats()["blocks"] <= 1


def attach():
    """As another's: the one that it has is taken from it."""
    reference = refer()
    known, _pools._known = _pools._known, ()
    pools, _pools._pools = _pools._pools, {}
    try:
        receive(reference)
    finally:
        _pools._known, _pools._pools = known, pools


OPERATIONS = {
    "pool": pooled(there),
    "pool, often": pooled(often),
    "pool, private": pooled(private),
    "pool, kept": pooled(kept),
    "pool, made": pooled(made),
    "pool, received before": pooled(received_before),
    "pool, gone": pooled(gone),
    "pool, full": pooled(full),
    "pool, look": pooled(look),
    "pool, attach": pooled(attach),
}
