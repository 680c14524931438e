# SPDX-License-Identifier: MIT
"""Shared memory for Python processes.

    import shmemext as shared_memory

stands where ``from multiprocessing import shared_memory`` stood.
"""

try:
    from ._shmemext import AnonymousMemory, MappedFile, Memory
except ModuleNotFoundError as _error:
    from ._unbuilt import explain

    raise explain(_error) from None

from . import _family
from .shared_memory import ShareableList, SharedMemory

# What `from shmemext import *` gives: without the types of what segments()
# returns, or multiprocessing's Process would be gone where both are used so,
# and without dumps() and loads(), for pickle's.
__all__ = [
    "AnonymousMemory",
    "MappedFile",
    "Memory",
    "ShareableList",
    "SharedMemory",
    "collect",
    "install",
    "segments",
    "uninstall",
]
__version__ = "0.2.0"

_family.begin()

_LATER = {
    "Collected": "lifetime",
    "Family": "lifetime",
    "Process": "lifetime",
    "Segment": "lifetime",
    "collect": "lifetime",
    "install": "_install",
    "uninstall": "_install",
    "segments": "lifetime",
    "Atomic": "synchronize",
    "Barrier": "synchronize",
    "BoundedSemaphore": "synchronize",
    "Condition": "synchronize",
    "Event": "synchronize",
    "Lock": "synchronize",
    "OwnerDied": "synchronize",
    "RLock": "synchronize",
    "RWLock": "synchronize",
    "Semaphore": "synchronize",
    "Broadcast": "channels",
    "Channel": "channels",
    "Queue": "channels",
    "wait": "channels",
    "dumps": "_stock",
    "loads": "_stock",
}
_MODULES = {"handoff"}

TYPE_CHECKING = False  # as typing has it, which takes time to import
if TYPE_CHECKING:
    from . import handoff as handoff
    from ._install import install as install
    from ._install import uninstall as uninstall
    from ._stock import dumps as dumps
    from ._stock import loads as loads
    from .channels import Broadcast as Broadcast
    from .channels import Channel as Channel
    from .channels import Queue as Queue
    from .channels import wait as wait
    from .lifetime import Collected as Collected
    from .lifetime import Family as Family
    from .lifetime import Process as Process
    from .lifetime import Segment as Segment
    from .lifetime import collect as collect
    from .lifetime import segments as segments
    from .synchronize import Atomic as Atomic
    from .synchronize import Barrier as Barrier
    from .synchronize import BoundedSemaphore as BoundedSemaphore
    from .synchronize import Condition as Condition
    from .synchronize import Event as Event
    from .synchronize import Lock as Lock
    from .synchronize import OwnerDied as OwnerDied
    from .synchronize import RLock as RLock
    from .synchronize import RWLock as RWLock
    from .synchronize import Semaphore as Semaphore
else:

    def __getattr__(name):
        """What takes time to import is imported when it is asked for."""
        if name in _LATER:
            from importlib import import_module

            module = import_module(f"{__name__}.{_LATER[name]}")
            return globals().setdefault(name, getattr(module, name))
        if name in _MODULES:
            from importlib import import_module

            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is imported later too, and nothing that is only used here."""
    own = {name for name in globals() if name[:1] != "_" or name[:2] == "__"}
    return sorted((own | {*__all__, *_LATER, *_MODULES}) - {"TYPE_CHECKING"})
