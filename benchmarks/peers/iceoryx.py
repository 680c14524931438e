# SPDX-License-Identifier: MIT
"""iceoryx2: a publisher lends memory of a pool, a subscriber gets to see it.
The pool is there already, so a hand-off is never a fresh one."""

from __future__ import annotations

import ctypes
import os
from time import monotonic, sleep
from typing import Any

from . import Peer, tasks
from .handing import Receiver, Sender

PATIENCE = 60.0


def service_of(name: str) -> Any:
    import iceoryx2

    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    return (
        node.service_builder(iceoryx2.ServiceName.new(name))
        .publish_subscribe(iceoryx2.Slice[ctypes.c_uint8])
        .open_or_create()
    )


class IceoryxSender(Sender):
    def __init__(self, mode: str, size: int) -> None:
        name = f"shmemext-bench/{os.getpid()}"
        super().__init__(name)
        self.mode, self.size = mode, size
        self.service = service_of(name)
        builder = self.service.publisher_builder()
        self.publisher = builder.initial_max_slice_len(size).create()
        self.loan: Any = None

    def made(self, array: Any) -> None:
        """Into memory that is lent for it, once somebody listens."""
        deadline = monotonic() + PATIENCE
        while self.service.dynamic_config.number_of_subscribers < 1:
            if monotonic() > deadline:
                raise TimeoutError("nobody has subscribed")
            sleep(0.001)
        self.loan = self.publisher.loan_slice_uninit(self.size)
        view = self.loan.payload().as_memory_view().cast("B")
        view[:] = memoryview(array)

    def send(self, array: Any) -> None:
        if self.mode == "reused":
            self.made(array)
        self.loan.assume_init().send()
        self.loan = None


class IceoryxReceiver(Receiver):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.service = service_of(name)
        self.subscriber = self.service.subscriber_builder().create()
        self.sample: Any = None

    def receive(self, message: None) -> Any:
        """Its message has come before ours."""
        self.sample = self.subscriber.receive()
        return self.sample.payload().as_memory_view().cast("B")

    def done(self) -> None:
        self.sample.delete()


class Iceoryx(Peer):
    modes = ("reused", "in place")

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return IceoryxSender(mode, size)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return IceoryxReceiver(shared)

    owned = True
    folder = "/tmp/iceoryx2"  # of all its services, and of who uses them

    def frames(self, name: str) -> tasks.Lent:
        return tasks.Lent(name)
