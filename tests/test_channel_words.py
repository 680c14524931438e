# SPDX-License-Identifier: MIT
"""What errors recommend is something that a Channel, or a Broadcast, takes."""

import inspect
import re

from conftest import python
from test_full import on_tmpfs  # noqa: F401

from shmemext import Broadcast, Channel

ARGUMENTS = {
    name
    for type in (Channel, Broadcast)
    for name in inspect.signature(type).parameters
}

AS_WHO_MAY_ONLY_READ = """
import os
from shmemext import Broadcast, Channel
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for options in {}, {"create": True, "exist_ok": True, "size": 100}:
    try:
        %s(%r, **options)
    except PermissionError as error:
        print(error, *error.__notes__)
"""


def recommended(text):
    """Which arguments it names."""
    return set(re.findall(r"\b([a-z_]+)=", text))


def test_full_place_names_no_argument_that_there_is_not(
    on_tmpfs,  # noqa: F811
):
    on_tmpfs(
        "8m",
        """
        import re
        from shmemext import Channel
        before = names(), room()
        for size in 16 * MiB, 1 << 29:
            try:
                Channel("large", create=True, size=size)
            except OSError as caught:
                error = caught
            text = str(error)
            assert error.errno == errno.ENOSPC, text
            assert "--shm-size" in text, text
            named = set(re.findall("([A-Za-z_]+)=", text))
            assert named <= {"size"}, text
        assert (names(), room()) == before
        """,
    )


def test_channel_is_reserved_whatever_the_environment_says():
    """Messages come round to each page of it."""
    code = """
import os
from shmemext import Channel
channel = Channel(create=True, size=1 << 20)
held = os.stat("/dev/shm/" + channel.name).st_blocks * 512
channel.unlink()
assert held >= 1 << 20, held
"""
    python(code, env={"SHMEMEXT_RESERVE": "0"})


def test_who_may_only_read_is_told_what_to_do():
    with Channel(create=True, size=4096, mode=0o444) as made:
        done = python(AS_WHO_MAY_ONLY_READ % ("Channel", made.name))
        made.unlink()
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "mode=" in line
        assert recommended(line) <= ARGUMENTS, line
