# SPDX-License-Identifier: MIT
"""New arrays in shared memory, by numpy's names and arguments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _pools
from ._array_types import plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex, TypeAlias

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    Array: TypeAlias = NDArray[Any]
    Shape: TypeAlias = SupportsIndex | Sequence[SupportsIndex]

Device = Literal["cpu"] | None
_S = TypeVar("_S", bound="np.generic")


def block(size: int) -> Any:
    """A buffer of so many bytes, of any content, which whoever has a view of
    it keeps. None: there is no room, or none is needed."""
    return _pools.make(size) if size else None


def like_this(template: Array) -> Array:
    """A new array whose items lie as the template's do, which has memory that
    nobody has touched. The template itself, if there is no room."""
    import numpy as np

    memory = block(template.nbytes)
    if memory is None:
        return template
    shape, dtype = template.shape, template.dtype
    return np.ndarray(shape, dtype, memory, 0, template.strides)


def fill(array: Array, value: Any) -> None:
    """As numpy's makers do, which take what there is."""
    import numpy as np

    np.copyto(array, value, casting="unsafe")


def check(device: Device, like: Any) -> None:
    """That these ask for nothing else than numpy's own arrays."""
    import numpy as np

    if device not in (None, "cpu"):
        raise ValueError(
            'Device not understood. Only "cpu" is allowed, but received: '
            f"{device}"
        )
    if like is not None and type(like) is not np.ndarray:
        raise TypeError(
            f"like= asks for a {type(like).__name__}, and what is made here "
            "is a numpy.ndarray"
        )


def _new(shape: Any, dtype: Any, order: Any, *, zeros: bool = False) -> Array:
    """Where there is no room numpy's own memory does."""
    import numpy as np

    lengths, kind, so = plan(shape, dtype, order)
    fortran: Literal["C", "F"] = "F" if so == "F" else "C"
    memory = block(kind.itemsize * math.prod(lengths))
    if memory is None:
        make: Any = np.zeros if zeros else np.empty
        ordinary: Array = make(lengths, kind, fortran)
        return ordinary
    if zeros:
        np.frombuffer(memory, "u1").fill(0)
    return np.ndarray(lengths, kind, memory, order=fortran)


@overload
def empty(
    shape: Shape,
    dtype: None = None,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> NDArray[np.float64]: ...
@overload
def empty(
    shape: Shape,
    dtype: type[_S] | np.dtype[_S],
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def empty(
    shape: Shape,
    dtype: DTypeLike,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array: ...
def empty(
    shape: Any,
    dtype: Any = None,
    order: Any = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array:
    """numpy.empty() in shared memory: an array of any content.

    shape: an int or several
    dtype: what numpy takes for one, without Python objects; None: float64
    order: "C" or "F", as numpy has them
    device: None or "cpu"
    like: None or a plain numpy.ndarray

    ValueError: a negative length. TypeError: dtype is none, or of Python
    objects."""
    check(device, like)
    return _new(shape, dtype, order)


@overload
def zeros(
    shape: Shape,
    dtype: None = None,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> NDArray[np.float64]: ...
@overload
def zeros(
    shape: Shape,
    dtype: type[_S] | np.dtype[_S],
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def zeros(
    shape: Shape,
    dtype: DTypeLike,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array: ...
def zeros(
    shape: Any,
    dtype: Any = None,
    order: Any = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array:
    """numpy.zeros() in shared memory.

    Arguments and errors are empty()'s."""
    check(device, like)
    return _new(shape, dtype, order, zeros=True)


@overload
def ones(
    shape: Shape,
    dtype: None = None,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> NDArray[np.float64]: ...
@overload
def ones(
    shape: Shape,
    dtype: type[_S] | np.dtype[_S],
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def ones(
    shape: Shape,
    dtype: DTypeLike,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array: ...
def ones(
    shape: Any,
    dtype: Any = None,
    order: Any = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array:
    """numpy.ones() in shared memory.

    Arguments and errors are empty()'s."""
    check(device, like)
    array = _new(shape, dtype, order)
    fill(array, 1)
    return array


@overload
def full(
    shape: Shape,
    fill_value: Any,
    dtype: None = None,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array: ...
@overload
def full(
    shape: Shape,
    fill_value: Any,
    dtype: type[_S] | np.dtype[_S],
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def full(
    shape: Shape,
    fill_value: Any,
    dtype: DTypeLike,
    order: Literal["C", "F"] = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array: ...
def full(
    shape: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "C",
    *,
    device: Device = None,
    like: Any = None,
) -> Array:
    """numpy.full() in shared memory.

    fill_value: one for each item, or several that are repeated
    dtype: what numpy takes for one; None: that of fill_value
    Other arguments are empty()'s.

    ValueError: a negative length, or values that do not fit the shape.
    TypeError: of Python objects."""
    import numpy as np

    check(device, like)
    if dtype is None:
        dtype = np.asarray(fill_value).dtype
    array = _new(shape, dtype, order)
    fill(array, fill_value)
    return array
