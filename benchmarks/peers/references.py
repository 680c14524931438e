# SPDX-License-Identifier: MIT
"""Arrays by reference: what goes over multiprocessing's own pipes, and who
sends it otherwise than as a pickle."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from . import Peer
from .handing import Receiver, Sender
from .mp import PipeReceiver, PipeSender


class Pickles(Peer):
    """multiprocessing as it is: arrays are pickled, in band."""

    def enable(self) -> None:
        """Nothing is to be done."""

    def like(self, array: Any) -> Any:
        """An array to be sent, as its maker would make it."""
        return array.copy()

    def dumps(self) -> Any:
        """What Queue pickles by."""
        from multiprocessing import queues

        return queues._ForkingPickler.dumps  # type: ignore[attr-defined]


class Handoff(Pickles):
    """The same with shmemext.handoff."""

    modes = ("fresh",)
    sends_arrays = True

    def enable(self) -> None:
        from shmemext import handoff

        handoff.enable()

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        self.enable()
        return PipeSender(context.Pipe(duplex=False))

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return PipeReceiver(shared)


class Arrays(Pickles):
    """Arrays that shmemext.arrays made."""

    modes = ("in place",)
    sends_arrays = True

    def enable(self) -> None:
        """Before there is a Pool, which keeps what it sends by."""
        from shmemext import arrays  # noqa: F401

    def like(self, array: Any) -> Any:
        from shmemext import arrays

        return arrays.array(array)

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        return ArraySender(context.Pipe(duplex=False))

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return PipeReceiver(shared)


class ArraySender(PipeSender):
    made_here: Any = None

    def made(self, array: Any) -> None:
        from shmemext import arrays

        if self.made_here is None:
            self.made_here = arrays.empty(array.shape, array.dtype)
        self.made_here[:] = array

    def send(self, array: Any) -> None:
        self.writer.send(self.made_here)


class Torch(Peer):
    """torch.multiprocessing sends tensors through memory that each is copied
    into, by a descriptor."""

    modes = ("fresh", "in place")
    sends_arrays = True

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        import torch.multiprocessing  # its reductions come with it

        queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
        return TorchSender(queue, mode)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        return TorchReceiver(shared)


class TorchSender(Sender):
    first = True

    def __init__(self, queue: Any, mode: str) -> None:
        super().__init__(queue)
        self.mode = mode
        self.tensor: Any = None

    def made(self, array: Any) -> None:
        import torch

        if self.tensor is None:
            self.tensor = torch.empty(len(array), dtype=torch.uint8)
            self.tensor.share_memory_()
        self.tensor.numpy()[:] = array

    def send(self, array: Any) -> None:
        import torch

        if self.mode == "fresh":  # it is copied once, when it is put
            self.tensor = torch.from_numpy(array)
        self.shared.put(self.tensor)


class TorchReceiver(Receiver):
    def receive(self, message: None) -> Any:
        return self.shared.get().numpy()


class Ray(Peer):
    """An array that is put into its store, and got by its reference."""

    modes = ("fresh",)

    def sender(self, mode: str, size: int, context: Any) -> Sender:
        import ray

        store = max(size * 4, 100 << 20)
        ray.init(
            num_cpus=1,
            object_store_memory=store,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
        )
        return RaySender(ray)

    def receiver(self, mode: str, shared: Any) -> Receiver:
        import ray

        ray.init(address=shared, logging_level="ERROR", log_to_driver=False)
        return RayReceiver(ray)


class RaySender(Sender):
    def __init__(self, ray: Any) -> None:
        super().__init__(ray.get_runtime_context().gcs_address)
        self.ray = ray
        self.kept: Any = None

    def send(self, array: Any) -> bytes:
        from ray import cloudpickle

        self.kept = self.ray.put(array)
        message: bytes = cloudpickle.dumps(self.kept)
        return message

    def done(self) -> None:
        self.kept = None

    def close(self) -> None:
        with suppress(Exception):
            self.ray.shutdown()


class RayReceiver(Receiver):
    def __init__(self, ray: Any) -> None:
        super().__init__(None)
        self.ray = ray

    def receive(self, message: bytes) -> Any:
        from ray import cloudpickle

        return self.ray.get(cloudpickle.loads(message))

    def close(self) -> None:
        self.ray.shutdown()
