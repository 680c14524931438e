# SPDX-License-Identifier: MIT
"""Arrays in shared memory like others, by numpy's names and arguments.
Whatever subok says, what is made is a plain numpy.ndarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ._array_makers import Device, check, fill, like_this
from ._array_types import dtype_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from ._array_makers import Array, Shape

_Order = Literal["K", "A", "C", "F"]
_S = TypeVar("_S", bound="np.generic")


def _like(a: Any, dtype: Any, order: Any, shape: Any) -> Array:
    """What numpy.empty_like() gives, which nobody has touched."""
    import numpy as np

    if dtype is not None or not isinstance(a, np.ndarray):
        dtype = dtype_of(np.asarray(a).dtype if dtype is None else dtype)
    else:
        dtype_of(a.dtype)
    return like_this(np.empty_like(a, dtype, order, False, shape))


@overload
def empty_like(
    prototype: NDArray[_S],
    /,
    dtype: None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def empty_like(
    prototype: ArrayLike,
    /,
    dtype: type[_S] | np.dtype[_S],
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def empty_like(
    prototype: ArrayLike,
    /,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array: ...
def empty_like(
    prototype: Any,
    /,
    dtype: Any = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array:
    """numpy.empty_like() in shared memory: an array of any content.

    prototype: an array, or what numpy makes one of
    dtype: what numpy takes for one; None: the prototype's
    order: "C", "F", "A", or "K", the prototype's
    subok: nothing, what is made is a plain numpy.ndarray
    shape: an int or several; None: the prototype's
    device: None or "cpu"

    ValueError: a negative length. TypeError: dtype is none, or of Python
    objects."""
    check(device, None)
    return _like(prototype, dtype, order, shape)


@overload
def zeros_like(
    a: NDArray[_S],
    dtype: None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def zeros_like(
    a: ArrayLike,
    dtype: type[_S] | np.dtype[_S],
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def zeros_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array: ...
def zeros_like(
    a: Any,
    dtype: Any = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array:
    """numpy.zeros_like() in shared memory.

    a: an array, or what numpy makes one of
    Other arguments and the errors are empty_like()'s."""
    import numpy as np

    check(device, None)
    array = _like(a, dtype, order, shape)
    fill(array, np.zeros(1, array.dtype))
    return array


@overload
def ones_like(
    a: NDArray[_S],
    dtype: None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def ones_like(
    a: ArrayLike,
    dtype: type[_S] | np.dtype[_S],
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def ones_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array: ...
def ones_like(
    a: Any,
    dtype: Any = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array:
    """numpy.ones_like() in shared memory.

    Arguments and errors are zeros_like()'s."""
    check(device, None)
    array = _like(a, dtype, order, shape)
    fill(array, 1)
    return array


@overload
def full_like(
    a: NDArray[_S],
    fill_value: Any,
    dtype: None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def full_like(
    a: ArrayLike,
    fill_value: Any,
    dtype: type[_S] | np.dtype[_S],
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> NDArray[_S]: ...
@overload
def full_like(
    a: ArrayLike,
    fill_value: Any,
    dtype: DTypeLike | None = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array: ...
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: _Order = "K",
    subok: bool = True,
    shape: Shape | None = None,
    *,
    device: Device = None,
) -> Array:
    """numpy.full_like() in shared memory.

    fill_value: one for each item, or several that are repeated
    Other arguments and the errors are zeros_like()'s."""
    check(device, None)
    array = _like(a, dtype, order, shape)
    fill(array, fill_value)
    return array
