# SPDX-License-Identifier: MIT
"""Shared memory for Python processes.

    import shmemext as shared_memory

stands where ``from multiprocessing import shared_memory`` stood.
"""

from typing import Any

from . import _family
from ._shmemext import SharedMemory

__all__ = ["ShareableList", "SharedMemory"]
__version__ = "0.1.0"

_family.join()


def __getattr__(name: str) -> Any:
    if name == "ShareableList":
        from . import shared_memory

        return shared_memory.ShareableList
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
