# SPDX-License-Identifier: MIT
"""Broadcasts, and channels, that go while they are opened, and what they are
opened with."""

import importlib
from pathlib import Path

import pytest
from conftest import DEV_SHM

from shmemext import Broadcast, Channel, SharedMemory

KINDS = {
    Broadcast: ("shmemext._broadcasts", {"create": True, "size": 100}),
    Channel: ("shmemext._channels", {"create": True, "size": 4096}),
}
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def goes(monkeypatch):
    """Somebody removes the name as soon as it was found, so many times."""

    def arm(kind, times):
        module = importlib.import_module(KINDS[kind][0])
        found, opened = [], module.open

        def open(*args, **kwargs):
            memories = opened(*args, **kwargs)
            if len(found) < times:
                for memory in memories:
                    Path(DEV_SHM / memory.name).unlink()
            found.append(memories)
            return memories

        monkeypatch.setattr(module, "open", open)
        return found

    return arm


def names():
    return {path.name for path in DEV_SHM.iterdir()}


@kinds
def test_name_that_goes_while_it_is_opened_is_made_anew(kind, name, goes):
    options = KINDS[kind][1]
    kind(name, **options).close()
    found = goes(kind, 1)
    with kind(name, exist_ok=True, **options) as opened:
        assert [memories[0].created for memories in found] == [False, True]
        assert opened.name == name and (DEV_SHM / name).exists()
        opened.put(b"x")
        opened.unlink()


@kinds
def test_name_that_somebody_else_removes_at_once_is_made_anew(
    kind, name, goes
):
    found = goes(kind, 2)
    with kind(name, exist_ok=True, **KINDS[kind][1]) as opened:
        assert len(found) == 3 and (DEV_SHM / name).exists()
        opened.unlink()


@kinds
def test_name_that_goes_while_it_is_opened_was_not_there(kind, name, goes):
    """So it is waited for, and that is in vain."""
    before = names()
    for options in {}, {"timeout": 0.01}:
        kind(name, **KINDS[kind][1]).close()
        found = goes(kind, 1)
        with pytest.raises(FileNotFoundError, match=name):
            kind(name, **options)
        assert len(found) == 1
    assert names() == before


@kinds
def test_name_that_goes_for_ever(kind, name, goes):
    """It ends at some time, and nothing is left."""
    before = names()
    goes(kind, 1000)
    with pytest.raises(FileNotFoundError, match=name):
        kind(name, exist_ok=True, **KINDS[kind][1])
    assert names() == before


@kinds
def test_one_that_was_made_and_removed_at_once_is_told(kind, name, goes):
    """Somebody else may have it: it is not made a second time."""
    found = goes(kind, 1)
    with pytest.raises(FileNotFoundError, match=name):
        kind(name, **KINDS[kind][1])
    assert len(found) == 1 and not (DEV_SHM / name).exists()


@kinds
def test_memory_that_may_only_be_read_is_refused(kind, name):
    """Whoever uses it writes there who holds what."""
    with kind(name, **KINDS[kind][1]) as opened:
        _, memories = opened.__reduce__()
        *first, last = (memory.name for memory in memories)
        with pytest.raises(PermissionError, match=name):
            kind._rebuild(
                *map(SharedMemory, first), SharedMemory(last, readonly=True)
            )
        opened.unlink()
