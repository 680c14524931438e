# SPDX-License-Identifier: MIT
"""Messages between processes that know a name, which go on when some of these
are killed.

    from shmemext import Channel

    with Channel("tiles", create=True) as tiles:
        tiles.put(b"...")

Methods and exceptions are those of queue.Queue and multiprocessing.Queue; what
is sent is bytes.

A Channel gives each message to one of its readers, a Broadcast the newest
frame to all of them; a Queue is of objects, and has the methods of
multiprocessing.JoinableQueue."""

from ._awaited import wait
from ._channels import ShutDown
from ._queues import Queue
from ._shmemext import Broadcast, Channel, Frame, Message, Reservation

__all__ = [
    "Broadcast",
    "Channel",
    "Frame",
    "Message",
    "Queue",
    "Reservation",
    "ShutDown",
    "wait",
]
