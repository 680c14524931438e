# SPDX-License-Identifier: MIT
"""The module that can stand where multiprocessing.shared_memory stood.

Its private names are the stdlib's, because programs and tests patch them;
what the stdlib's module imports is imported here when it is asked for.
"""

import os
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._shmemext import SharedMemory
from ._shmemext import _make_filename as _make_filename
from .shareable_list import ShareableList

__all__ = ["SharedMemory", "ShareableList"]  # noqa: RUF022 (stdlib's order)

_USE_POSIX = True
_O_CREX = os.O_CREAT | os.O_EXCL
_SHM_SAFE_NAME_LENGTH = 14
_SHM_NAME_PREFIX = "/psm_"
_encoding = "utf8"

_init: Any = SharedMemory.__init__
_init_unreserved: Any = wraps(_init)(
    lambda self, *args, **kwargs: _init(
        self, *args, **{"reserve": False, **kwargs}
    )
)


def _reserve_by_default(reserve: bool | None) -> None:
    """What reserve= is where nobody says it. None: as the environment has
    it. The C code has True; it is left alone where that is meant."""
    if reserve is None:
        reserve = os.environ.get("SHMEMEXT_RESERVE") != "0"
    kind: Any = SharedMemory
    if not reserve:
        kind.__init__ = _init_unreserved
    elif kind.__init__ is _init_unreserved:
        kind.__init__ = _init


_reserve_by_default(None)

_STDLIB_IMPORTS = {
    "_posixshmem",
    "errno",
    "mmap",
    "secrets",
    "struct",
    "types",
}


if not TYPE_CHECKING:  # whoever misspells a name is told

    def __getattr__(name: str) -> Any:
        value: Any
        if name in _STDLIB_IMPORTS:
            value = import_module(name)
        elif name == "partial":
            value = import_module("functools").partial
        elif name == "_complain":
            value = _function_like(SharedMemory)
        elif name == "resource_tracker":
            value = import_module("multiprocessing.resource_tracker")
        else:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}"
            )
        globals()[name] = value
        return value


def _function_like(type_: Any) -> Any:
    """A Python function with the type's signature. The C code calls it with
    arguments that do not fit: the interpreter says why in its own words."""
    made: dict[str, Any] = {}
    signature = type_.__text_signature__
    exec(f"def __init__(self, {signature[1:]}: pass", made)
    made["__init__"].__qualname__ = f"{type_.__name__}.__init__"
    return made["__init__"]
