# SPDX-License-Identifier: MIT
"""Shared memory for Python processes.

    import shmemext as shared_memory

stands where ``from multiprocessing import shared_memory`` stood.
"""

from typing import TYPE_CHECKING, Any

from . import _family
from ._shmemext import AnonymousMemory, MappedFile, Memory
from .shared_memory import ShareableList, SharedMemory

if TYPE_CHECKING:
    from ._install import install as install
    from ._install import uninstall as uninstall
    from .lifetime import Collected as Collected
    from .lifetime import Family as Family
    from .lifetime import Process as Process
    from .lifetime import Segment as Segment
    from .lifetime import collect as collect
    from .lifetime import segments as segments

__all__ = [
    "AnonymousMemory",
    "MappedFile",
    "Memory",
    "ShareableList",
    "SharedMemory",
]
__version__ = "0.1.0"

_family.join()
_family.join_in_children()

_LATER = {
    "Collected": "lifetime",
    "Family": "lifetime",
    "Process": "lifetime",
    "Segment": "lifetime",
    "collect": "lifetime",
    "install": "_install",
    "uninstall": "_install",
    "segments": "lifetime",
}


if not TYPE_CHECKING:  # whoever misspells a name is told

    def __getattr__(name: str) -> Any:
        """What takes time to import is imported when it is asked for."""
        if name in _LATER:
            from importlib import import_module

            module = import_module(f"{__name__}.{_LATER[name]}")
            return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
