# SPDX-License-Identifier: MIT
"""What is said to who may not, or where there is no room: nothing of arguments
that a Channel has not."""

import pytest

NAME = "shmemext-test-rights"

MADE = f"""
import shmemext, sys
made = getattr(shmemext, sys.argv[1])(
    "{NAME}", create=True, size=4096, mode=0o644
)
print("made")
"""

TAKEN = f"""
import sys
import shmemext
kind, timeout = sys.argv[1:]
try:
    getattr(shmemext, kind)("{NAME}", timeout=eval(timeout))
except PermissionError as error:
    print(error.filename, error.__notes__)
"""


@pytest.mark.parametrize("timeout", ["None", "0.1"])
@pytest.mark.parametrize(
    ("kind", "said", "unsaid"),
    [
        (
            "Channel",
            "for reading too: have it created with mode=0o666",
            "only",
        ),
        ("SharedMemory", "readonly=True", "0o666"),
    ],
)
def test_who_may_only_read_is_told_what_to_do(
    two_users, kind, said, unsaid, timeout
):
    with two_users.running(MADE, kind):
        done = two_users.run("-c", TAKEN, kind, timeout, user=65534)
    assert NAME in done.stdout
    assert said in done.stdout
    assert unsaid not in done.stdout


@pytest.mark.parametrize("kind", ["Channel", "SharedMemory"])
@pytest.mark.parametrize("reserve", ["0", "1"])
def test_no_room_says_how_to_do_with_less(private, kind, reserve):
    """Memory may do without; a Channel comes round to all of it, and would
    find none in the middle of a put()."""
    code = f"""
import errno, os
from shmemext import {kind}
room = os.statvfs("/dev/shm")
size = 1 << (room.f_bavail * room.f_frsize).bit_length()
try:
    {kind}(create=True, size=size)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    print(error)
"""
    done = private.run("-c", code, env={"SHMEMEXT_RESERVE": reserve})
    if kind == "Channel":
        assert "a smaller size= takes less" in done.stdout
        assert "reserve=" not in done.stdout
        assert "RESERVE" not in done.stdout
    else:
        assert ("reserve=False, or SHM" in done.stdout) == (reserve == "1")
