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
