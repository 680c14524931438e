# SPDX-License-Identifier: MIT
"""What is seen of channels and broadcasts that go while they are looked at, or
that cannot be looked at."""

import errno
import os

import pytest

from shmemext import Broadcast, Channel, _traffic

SIZE = 4096


def opened(name):
    return os.open(f"/dev/shm/{name}", os.O_RDONLY)


def descriptors():
    return os.listdir("/proc/self/fd")  # noqa: PTH208


@pytest.fixture
def cast():
    with Broadcast(create=True, size=100) as made:
        made.put(b"x")
        yield made


@pytest.fixture
def channel():
    with Channel(create=True, size=SIZE) as made:
        made.put(b"x")
        yield made
        made.unlink()


def seen(name, open_control=opened):
    before = descriptors()
    file = opened(name)
    try:
        return _traffic.look(file, open_control)
    finally:
        os.close(file)
        assert descriptors() == before


def test_broadcast_that_goes_meanwhile_is_none(cast):
    """Its name goes first, and what controls it then."""

    def go_first(name):
        cast.unlink()
        return opened(name)

    assert seen(cast.name).state == "written"
    assert seen(cast.name, go_first) is None


def test_broadcast_without_what_controls_it_is_damaged(cast):
    def lose(name):
        os.unlink(f"/dev/shm/{name}")  # noqa: PTH108
        return opened(name)

    assert seen(cast.name, lose).state == "damaged"
    cast.unlink()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_want_of_descriptors_is_no_damage(cast, code):
    def fail(name):
        raise OSError(code, os.strerror(code), name)

    with pytest.raises(OSError) as caught:
        seen(cast.name, fail)
    assert caught.value.errno == code
    cast.unlink()


@pytest.mark.parametrize("call", ["pread", "fstat"])
@pytest.mark.parametrize("noun", ["channel", "cast"])
def test_each_call_that_fails_is_an_error_or_no_more_than_damage(
    call, noun, request, monkeypatch
):
    made = request.getfixturevalue(noun)
    real = getattr(os, call)
    calls, k = 1, 0
    while k < calls:
        calls = 0

        def fail(*args, at=k):
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                found = seen(made.name)
            except OSError as error:
                assert error.errno == errno.EIO
            else:
                states = "open", "written", "idle", "damaged"
                assert found is None or found.state in states
        k += 1
    assert k > 0
    if noun == "cast":
        made.unlink()
