# SPDX-License-Identifier: MIT
"""Messages between processes that know a name, which go on when some of these
are killed.

    from shmemext import Channel

    with Channel("tiles", create=True) as tiles:
        tiles.put(b"...")

Methods and exceptions are those of queue.Queue and multiprocessing.Queue; what
is sent is bytes."""

from ._awaited import wait
from ._channels import ShutDown
from ._shmemext import Channel, Message, Reservation

__all__ = [
    "Channel",
    "Message",
    "Reservation",
    "ShutDown",
    "wait",
]
