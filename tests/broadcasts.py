# SPDX-License-Identifier: MIT
"""What the tests of broadcasts ask of one."""

from pathlib import Path

from shmemext._broadcasts import control_name

DEV_SHM = Path("/dev/shm")
PATIENCE = 60
SIZE = 10_000  # of the longest frame


def held(cast):
    """How many frames are in somebody's hand."""
    return cast._look()[1]


def received(cast, timeout=0):
    with cast.receive(timeout) as frame:
        return frame.seq, bytes(frame)


def controls():
    return {path.name for path in DEV_SHM.glob("shmemext-cast.*")}


def control_of(name):
    return control_name((DEV_SHM / name).read_bytes()[:64])
