# SPDX-License-Identifier: MIT
"""The first bytes of a synchronizer's cell: csrc/core/sync/cell.h."""

import sys
from typing import NamedTuple

SIZE = 8
ALIGNMENT = 64
VERSION = 1
KINDS = {
    1: "Lock",
    2: "RLock",
    3: "Semaphore",
    4: "BoundedSemaphore",
    5: "Event",
    6: "Condition",
    7: "Barrier",
    8: "RWLock",
}
CHANNELS = {9: "Channel", 10: "Broadcast", 12: "Queue"}
POOL = 11
MAGIC = int.from_bytes(b"SX", "little")


class Head(NamedTuple):
    kind: int
    version: int
    parameter: int

    @property
    def type(self) -> str:
        """What it is called; a kind that is not known, by its number."""
        return (KINDS | CHANNELS).get(
            self.kind, f"synchronizer of kind {self.kind}"
        )


def read(head: int) -> Head | None:
    """None: there is no cell."""
    if head & 0xFFFF != MAGIC or head >> 16 & 0xFF == 0:
        return None
    return Head(head >> 16 & 0xFF, head >> 24 & 0xFF, head >> 32)


def number(content: bytes) -> int:
    """The head, as it stands in the memory."""
    return int.from_bytes(content, sys.byteorder)
