# SPDX-License-Identifier: MIT
"""Messages between processes that know a name, which go on when some of these
are killed.

    from shmemext import Channel

    with Channel("tiles", create=True) as tiles:
        tiles.put(b"...")

Methods and exceptions are those of queue.Queue and multiprocessing.Queue; what
is sent is bytes.

A Channel gives each message to one of its readers, a Broadcast the newest
frame to all of them."""

from ._awaited import wait
from ._channels import ShutDown
from ._shmemext import Broadcast, Channel, Frame, Message, Reservation

__all__ = [
    "Broadcast",
    "Channel",
    "Frame",
    "Message",
    "Reservation",
    "ShutDown",
    "wait",
]
