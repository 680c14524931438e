# SPDX-License-Identifier: MIT
"""What is said to who may not, or where there is no room: nothing of arguments
that a Channel has not."""

import pytest
from test_full import on_tmpfs as on_tmpfs

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


TOO_MUCH = """
import errno, sys
import shmemext
try:
    getattr(shmemext, sys.argv[1])(create=True, size=1 << 24)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    print(error)
"""


@pytest.mark.parametrize("kind", ["Channel", "SharedMemory"])
@pytest.mark.parametrize("reserve", ["0", "1"])
def test_no_room_says_how_to_do_with_less(on_tmpfs, kind, reserve):
    """Memory may do without; a Channel comes round to all of it, and would
    find none in the middle of a put()."""
    on_tmpfs(
        "8m",
        f"""
        said = subprocess.run(
            [sys.executable, "-c", {TOO_MUCH!r}, {kind!r}],
            env={{**os.environ, "SHMEMEXT_RESERVE": {reserve!r}}},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        if {kind!r} == "Channel":
            assert "a smaller size= takes less" in said, said
            assert "reserve=" not in said and "RESERVE" not in said, said
        else:
            reserves = {reserve!r} == "1"
            assert ("reserve=False, or SHM" in said) == reserves, said
        """,
    )
