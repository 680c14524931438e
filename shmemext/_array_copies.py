# SPDX-License-Identifier: MIT
"""What there is already, copied to shared memory, by numpy's names and
arguments. Whatever subok says, what is made is a plain numpy.ndarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _array_words
from ._array_makers import Device, check, like_this
from ._array_types import dtype_of

if TYPE_CHECKING:
    from typing import SupportsIndex

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from ._array_makers import Array

_NUMBERS = {*"biufc"}
_Order = Literal["K", "A", "C", "F"]
_S = TypeVar("_S", bound="np.generic")


def shared(
    source: Any, dtype: Any, order: Any, ndmin: int, copy: bool | None
) -> Array:
    """What numpy.array(source, dtype, ...) gives, in shared memory.

    copy=None: source itself, if it is there and as it is wanted. An array of
    numbers is converted on its way there, not before."""
    import numpy as np

    wanted = None if dtype is None else dtype_of(dtype)
    begun = source
    if not isinstance(source, np.ndarray):
        begun = np.asarray(source, wanted)
    if not copy and _array_words.is_shared(begun):
        same = _padded(np.asarray(begun, wanted, order), ndmin)
        if _array_words.is_shared(same):
            return same
    if copy is False:
        raise ValueError(
            "Unable to avoid copy while creating an array as requested: it is "
            "not in shared memory, or another one there"
        )
    kind = dtype_of(begun.dtype) if wanted is None else wanted
    if kind != begun.dtype and {kind.kind, begun.dtype.kind} - _NUMBERS:
        begun = np.asarray(begun, kind)  # which may make it of another width
        kind = begun.dtype
    begun = _padded(begun, ndmin)
    made = like_this(np.empty_like(begun, kind, order, subok=False))
    np.copyto(made, begun, casting="unsafe")
    return made


def _padded(array: Array, ndmin: int) -> Array:
    """Of so many dimensions at least, the new ones in front."""
    more = max(ndmin - array.ndim, 0)
    return array[(None,) * more] if more else array


@overload
def array(
    object: NDArray[_S],
    dtype: None = None,
    *,
    copy: bool | None = True,
    order: _Order = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def array(
    object: ArrayLike,
    dtype: type[_S] | np.dtype[_S],
    *,
    copy: bool | None = True,
    order: _Order = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def array(
    object: ArrayLike,
    dtype: DTypeLike | None = None,
    *,
    copy: bool | None = True,
    order: _Order = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> Array: ...
def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: _Order = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 0,
    like: Any = None,
) -> Array:
    """numpy.array() in shared memory: a copy of what numpy makes an array of.

    object: an array, or what numpy makes one of
    dtype: what numpy takes for one; None: the object's
    copy: None, False: object itself, if it is in shared memory and as wanted
    order: "C", "F", "A", or "K", the object's
    subok: nothing, what is made is a plain numpy.ndarray
    ndmin: of how many dimensions at least
    ndmax: of how many at most, from numpy 2.4 on; 0: any number
    like: None or a plain numpy.ndarray

    ValueError: copy is False, and it cannot be without. TypeError: dtype is
    none, or of Python objects."""
    import numpy as np

    check(None, like)
    if ndmax:
        limits: Any = {"ndmax": ndmax}
        object = np.array(object, dtype, **limits)
    return shared(object, dtype, order, ndmin, copy)


@overload
def asarray(
    a: NDArray[_S],
    dtype: None = None,
    order: _Order | None = None,
    *,
    device: Device = None,
    copy: bool | None = None,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def asarray(
    a: ArrayLike,
    dtype: type[_S] | np.dtype[_S],
    order: _Order | None = None,
    *,
    device: Device = None,
    copy: bool | None = None,
    like: Any = None,
) -> NDArray[_S]: ...
@overload
def asarray(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: _Order | None = None,
    *,
    device: Device = None,
    copy: bool | None = None,
    like: Any = None,
) -> Array: ...
def asarray(
    a: Any,
    dtype: Any = None,
    order: _Order | None = None,
    *,
    device: Device = None,
    copy: bool | None = None,
    like: Any = None,
) -> Array:
    """numpy.asarray() in shared memory: a itself, if it is there and as it is
    wanted, or a copy.

    a: an array, or what numpy makes one of
    device: None or "cpu"
    Other arguments and the errors are array()'s."""
    check(device, like)
    return shared(a, dtype, order or "K", 0, copy)


@overload
def copy(
    a: NDArray[_S], order: _Order = "K", subok: bool = False
) -> NDArray[_S]: ...
@overload
def copy(a: ArrayLike, order: _Order = "K", subok: bool = False) -> Array: ...
def copy(a: Any, order: _Order = "K", subok: bool = False) -> Array:
    """numpy.copy() in shared memory.

    a: an array, or what numpy makes one of
    Other arguments are array()'s.

    TypeError: of Python objects."""
    return shared(a, None, order, 0, True)


def arange(
    start_or_stop: Any,
    /,
    stop: Any = None,
    step: Any = 1,
    *,
    dtype: DTypeLike | None = None,
    device: Device = None,
    like: Any = None,
) -> Array:
    """numpy.arange() in shared memory.

    start_or_stop, stop, step, dtype: as numpy's
    Other arguments are empty()'s.

    ValueError, TypeError: numpy's."""
    import numpy as np

    check(device, like)
    of_any: Any = np.arange
    # An int is no step between dates: said only by who means it.
    steps = () if type(step) is int and step == 1 else (step,)
    made = of_any(start_or_stop, stop, *steps, dtype=dtype)
    return shared(made, None, "K", 0, True)


@overload
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: SupportsIndex = 50,
    endpoint: bool = True,
    retstep: Literal[False] = False,
    dtype: DTypeLike | None = None,
    axis: SupportsIndex = 0,
    *,
    device: Device = None,
) -> Array: ...
@overload
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: SupportsIndex = 50,
    endpoint: bool = True,
    *,
    retstep: Literal[True],
    dtype: DTypeLike | None = None,
    axis: SupportsIndex = 0,
    device: Device = None,
) -> tuple[Array, Any]: ...
def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: Any = 0,
    *,
    device: Device = None,
) -> Array | tuple[Array, Any]:
    """numpy.linspace() in shared memory.

    start, stop, num, endpoint, axis, dtype: as numpy's
    retstep: return the step, too
    Other arguments are empty()'s.

    ValueError, TypeError: numpy's."""
    import numpy as np

    check(device, None)
    spaced: Any = np.linspace
    made, step = spaced(start, stop, num, endpoint, True, dtype, axis)
    array = shared(made, None, "K", 0, True)
    return (array, step) if retstep else array
