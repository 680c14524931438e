# SPDX-License-Identifier: MIT
"""What an array in shared memory may be of, and how large it is.

numpy is imported when a function is called."""

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def dtype_of(dtype: Any) -> "np.dtype[Any]":
    """What numpy takes for a dtype, if processes can share arrays of it.

    TypeError: it is none, or its items are pointers."""
    import numpy as np

    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(
            f"arrays of {kind!r} hold addresses of objects in this process, "
            "which mean nothing in another one"
        )
    return kind


def shape_of(shape: Any) -> tuple[int, ...]:
    """An int or several, as numpy takes them. TypeError: they are none."""
    if hasattr(type(shape), "__index__"):
        try:
            return (operator.index(shape),)
        except TypeError:  # an array of several
            pass
    return tuple([operator.index(length) for length in shape])


def plan(
    shape: Any, dtype: Any, order: Any
) -> "tuple[tuple[int, ...], np.dtype[Any], str]":
    """Shape, dtype and order of what numpy.empty() makes of these: an item of
    "S" has a byte there, and one of several numbers is a dimension more.

    TypeError: of Python objects, or none of these. ValueError: a negative
    length, or another order than C or F."""
    import numpy as np

    kind = dtype_of(dtype)
    lengths = shape_of(shape)
    if min(lengths, default=0) < 0:
        raise ValueError("negative dimensions are not allowed")
    none = np.empty(0, kind, "C" if order is None else order)
    lengths += none.shape[1:]
    fortran = order in ("F", "f") and len(lengths) > 1
    return lengths, none.dtype, "F" if fortran else "C"
