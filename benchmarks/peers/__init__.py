# SPDX-License-Identifier: MIT
"""The peers: one small adapter each, and what each of them can do.

A peer has a name, which stands in the tables, and methods for what it can do.
A method that it lacks is a row that it has not:

    segments    create, attach, memory, close, unlink    lifecycle, filling,
                                                         hand-off, matrix
    values      put, get                                 matrix, where there
                                                         is no memory to see
    hand-off    modes, sender, receiver                  hand-off
    element     element                                  element access
    locks       lock, named, event and the others        matrix of locks: see
                that locks.py names                      crash_locks.py
    messages    queue, broadcast                         channels: see
                                                         messages.py
    objects     objects, enable, like, dumps             objects
    queues      tasks, frames; what has sender() too:    matrix of queues: see
                sends_arrays. owned: its name is asked   crash_queues.py

Adapters import their peer when they are made, not before.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar

PAGE = 4096
MODES = ("fresh", "reused", "in place")

# name in the tables: module here, class, distribution, module that it needs
_KNOWN = {
    "shmemext": ("shm", "Shmemext", "shmemext", "shmemext"),
    "shmemext reserve=False": ("shm", "Unreserved", "shmemext", "shmemext"),
    "shmemext write()": ("shm", "Written", "shmemext", "shmemext"),
    "shmemext populate()": ("shm", "Populated", "shmemext", "shmemext"),
    "shmemext Anonymous": ("shm", "Anonymous", "shmemext", "shmemext"),
    "shmemext Channel": ("shm", "OurChannel", "shmemext", "shmemext"),
    "shmemext Queue": ("shm", "OurQueue", "shmemext", "shmemext"),
    "shmemext Broadcast": ("shm", "OurBroadcast", "shmemext", "shmemext"),
    "shmemext hand-off": ("references", "Handoff", "shmemext", "shmemext"),
    "shmemext arrays": ("references", "Arrays", "shmemext", "shmemext"),
    "stdlib": ("shm", "Stdlib", None, "multiprocessing.shared_memory"),
    "stdlib untracked": (
        "shm",
        "Untracked",
        None,
        "multiprocessing.shared_memory",
    ),
    "posix_ipc": ("posix", "PosixIpc", "posix-ipc", "posix_ipc"),
    "sysv_ipc": ("sysv", "SysvIpc", "sysv-ipc", "sysv_ipc"),
    "SharedArray": ("arrays", "SharedArray", "SharedArray", "SharedArray"),
    "pyshmem": ("arrays", "Pyshmem", "pyshmem", "pyshmem"),
    "joblib memmap": ("arrays", "Joblib", "joblib", "joblib"),
    "torch": ("references", "Torch", "torch", "torch"),
    "Ray": ("references", "Ray", "ray", "ray"),
    "pickle": ("references", "Pickles", None, "multiprocessing"),
    "mp.Pipe": ("mp", "Pipe", None, "multiprocessing"),
    "mp.Queue": ("mp", "Queue", None, "multiprocessing"),
    "mp.SimpleQueue": ("mp", "SimpleQueue", None, "multiprocessing"),
    "mp.RawArray": ("mp", "RawArray", None, "multiprocessing"),
    "mp.Array": ("mp", "Array", None, "multiprocessing"),
    "Manager().list()": ("mp", "ManagerList", None, "multiprocessing"),
    "Manager().dict()": ("mp", "ManagerDict", None, "multiprocessing"),
    "faster-fifo": ("fifo", "FasterFifo", "faster-fifo", "faster_fifo"),
    "multiprocessing": ("locks", "Multiprocessing", None, "multiprocessing"),
    "Manager().Lock()": ("locks", "Manager", None, "multiprocessing"),
    "Manager().Queue()": ("mp", "ManagerQueue", None, "multiprocessing"),
    "filelock": ("locks", "FileLock", "filelock", "filelock"),
    "fasteners": ("locks", "Fasteners", "fasteners", "fasteners"),
    "portalocker": ("locks", "Portalocker", "portalocker", "portalocker"),
    "iceoryx2": ("iceoryx", "Iceoryx", "iceoryx2", "iceoryx2"),
    "LMDB": ("stores", "Lmdb", "lmdb", "lmdb"),
    "UltraDict": ("stores", "UltraDict", "UltraDict", "UltraDict"),
    "shared-memory-dict": (
        "stores",
        "SharedMemoryDict",
        "shared-memory-dict",
        "shared_memory_dict",
    ),
    "shmemext ShareableList": ("shm", "OurList", "shmemext", "shmemext"),
    "stdlib ShareableList": (
        "shm",
        "StdlibList",
        None,
        "multiprocessing.shared_memory",
    ),
}
NAMES = tuple(_KNOWN)
_NEED_NUMPY = (
    *("SharedArray", "joblib memmap", "pyshmem", "torch", "Ray"),
    *("shmemext hand-off", "shmemext arrays", "pickle"),
)
# a method that not every release has
_NEED_METHOD = {
    "shmemext write()": "write",
    "shmemext populate()": "populate",
}
_NEED_TYPE = {"shmemext Anonymous": "AnonymousMemory"}


class Peer:
    """What all adapters have. `name` is set by load()."""

    name = ""
    # create(None, size) makes a name up, and unlink() needs none
    generates = False
    # what the crash matrix must not ask of it, and why
    not_asked: ClassVar[dict[str, str]] = {}
    # its queue() has put_many() and get_many(); and any number of users
    sends_many = False
    is_for_all = True


def missing(name: str) -> str:
    """Why a peer cannot be used here, or nothing. Imports no peer."""
    needed = [_KNOWN[name][3].partition(".")[0]]
    if name in _NEED_NUMPY:
        needed.append("numpy")
    for module in needed:
        if find_spec(module) is None:
            return f"{module} is not installed"
    method = _NEED_METHOD.get(name)
    if method is not None:
        from shmemext import SharedMemory

        if not hasattr(SharedMemory, method):
            return f"SharedMemory has no {method}() yet"
    if name in _NEED_TYPE:
        import shmemext

        if not hasattr(shmemext, _NEED_TYPE[name]):
            return f"shmemext has no {_NEED_TYPE[name]} yet"
    return ""


def load(name: str) -> Any:
    """The adapter of a name, with its peer imported."""
    module, kind, _, needed = _KNOWN[name]
    import_module(needed)
    peer = getattr(import_module(f"peers.{module}"), kind)()
    peer.name = name
    return peer


def kind(name: str) -> type[Any]:
    """The class alone: says what it can do, imports nothing."""
    module, of, _, _ = _KNOWN[name]
    found: type[Any] = getattr(import_module(f"peers.{module}"), of)
    return found


def distribution(name: str) -> str | None:
    return _KNOWN[name][2]


def version_of(name: str) -> str:
    """The version, or "" for the standard library and what is not there."""
    package = distribution(name)
    try:
        return "" if package is None else version(package)
    except PackageNotFoundError:
        return ""


def able(method: str, names: tuple[str, ...] = NAMES) -> list[str]:
    """The names of those that have a method, in their order."""
    return [name for name in names if hasattr(kind(name), method)]


def key(name: str) -> int:
    """Of a name, for those who have numbers."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF or 1


def payload(size: int) -> Any:
    """An array of bytes: numpy's, where that is installed."""
    try:
        import numpy as np
    except ImportError:
        return bytearray(b"\1") * size
    return np.full(size, 1, np.uint8)


def sum_of_pages(buffer: Any) -> int:
    """Reads a byte of every page, and the last one."""
    view = memoryview(buffer).cast("B")
    try:
        import numpy as np
    except ImportError:
        return sum(view[::PAGE]) + view[-1]
    array = np.frombuffer(view, np.uint8)
    return int(array[::PAGE].sum(dtype=np.int64)) + int(array[-1])


def put_in_pages(buffer: Any, value: int) -> int:
    """Writes a byte of every page, and the last one; returns their sum as
    sum_of_pages() will see it."""
    view = memoryview(buffer).cast("B")
    count = len(range(0, len(view), PAGE))
    view[::PAGE] = bytes([value]) * count
    view[-1] = value
    return value * (count + 1)
