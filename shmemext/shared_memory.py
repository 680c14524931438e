# SPDX-License-Identifier: MIT
"""The module that can stand where multiprocessing.shared_memory stood.

Its private names are the stdlib's, because programs and tests patch them;
what the stdlib's module imports is imported here when it is asked for.
"""

import os
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


def _signature(
    self: SharedMemory,
    name: str | None = None,
    create: bool = False,
    size: int = 0,
    *,
    track: bool | None = None,
    reserve: bool = True,
    readonly: bool = False,
    mode: int | None = None,
    exist_ok: bool = False,
    timeout: float | None = None,
) -> None:
    """Called by the C code with arguments that do not fit, to have the
    interpreter say why in its own words."""


_signature.__name__ = "__init__"
_signature.__qualname__ = "SharedMemory.__init__"

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
        elif name == "resource_tracker":
            value = import_module("multiprocessing.resource_tracker")
        else:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}"
            )
        globals()[name] = value
        return value
