# SPDX-License-Identifier: MIT
"""Memory.ndarray(): csrc/py/memory/memory_array.c calls it."""

import math
import operator
from typing import TYPE_CHECKING, Any

from ._array_types import dtype_of, shape_of
from ._shmemext import AnonymousMemory, MappedFile, Memory

if TYPE_CHECKING:
    import numpy.typing as npt


def over(
    memory: Memory, mapping: Any, shape: Any, dtype: Any, offset: Any
) -> "npt.NDArray[Any]":
    """An array of this mapping, the memory's, which keeps it."""
    import numpy as np

    kind, lengths = dtype_of(dtype), shape_of(shape)
    start, there = operator.index(offset), len(mapping)
    size = kind.itemsize * math.prod(lengths)
    if min(lengths, default=0) < 0:
        raise _error(memory, f"no array can be of shape {lengths}")
    if kind.itemsize == 0:
        raise _error(memory, f"items of {kind} have no size")
    if not 0 <= start <= there - size:
        raise _error(
            memory,
            f"an array of shape {lengths} and {kind} takes {size} bytes, "
            f"from offset {start} on, and there are {there}",
        )
    try:
        return np.ndarray(lengths, kind, mapping, start)
    except ValueError as error:  # too many dimensions for numpy
        raise _error(memory, str(error)) from None


def _error(memory: Memory, reason: str) -> ValueError:
    which: Any = memory
    label = type(memory).__name__
    if isinstance(memory, MappedFile):
        label += f"({which.path!r})"
    elif not isinstance(memory, AnonymousMemory):
        label += f"({which.name!r})"
    return ValueError(f"{label}: {reason}")
