# SPDX-License-Identifier: MIT
"""numpy's arrays in memory that processes share.

    from shmemext import arrays

    table = arrays.zeros((1000, 1000))

What is made is a plain numpy.ndarray, by numpy's names and arguments. It and
its views travel by reference through what multiprocessing sends to other
processes of this machine, from this import on: these get the same memory, and
not a copy. It goes when nobody has it any more. Where there is no room for it,
it is an ordinary array, and travels as one.

create(), open() and unlink() have arrays by a name, for programs that know
nothing of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from . import _array_names, _array_words
from ._array_copies import arange, array, asarray, copy, linspace
from ._array_likes import empty_like, full_like, ones_like, zeros_like
from ._array_makers import empty, full, ones, zeros

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from ._array_makers import Array, Shape

__all__ = [
    "arange",
    "array",
    "asarray",
    "copy",
    "create",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "open",
    "unlink",
    "zeros",
    "zeros_like",
]

_S = TypeVar("_S", bound="np.generic")
_Lifetime = Literal["family", "users"]


@overload
def create(
    name: str,
    shape: Shape,
    dtype: None = None,
    order: Literal["C", "F"] = "C",
    *,
    exist_ok: bool = False,
    mode: int | None = None,
    track: bool | None = None,
    reserve: bool = True,
    lifetime: _Lifetime = "family",
) -> NDArray[np.float64]: ...
@overload
def create(
    name: str,
    shape: Shape,
    dtype: type[_S] | np.dtype[_S],
    order: Literal["C", "F"] = "C",
    *,
    exist_ok: bool = False,
    mode: int | None = None,
    track: bool | None = None,
    reserve: bool = True,
    lifetime: _Lifetime = "family",
) -> NDArray[_S]: ...
@overload
def create(
    name: str,
    shape: Shape,
    dtype: DTypeLike,
    order: Literal["C", "F"] = "C",
    *,
    exist_ok: bool = False,
    mode: int | None = None,
    track: bool | None = None,
    reserve: bool = True,
    lifetime: _Lifetime = "family",
) -> Array: ...
def create(
    name: str,
    shape: Any,
    dtype: Any = None,
    order: Any = "C",
    *,
    exist_ok: bool = False,
    mode: int | None = None,
    track: bool | None = None,
    reserve: bool = True,
    lifetime: _Lifetime = "family",
) -> Array:
    """Return a new array of zeros by that name, for open() to find.

    It lies in a segment of its own, which begins with what it is, and lives as
    any SharedMemory does that is made with these arguments: until unlink(), or
    as long as its family, or its users. The array keeps its memory.

    name: of the segment, a str
    shape: an int or several
    dtype: what numpy takes for one, without Python objects; None: float64
    order: "C" or "F", as numpy has them
    exist_ok: return the one that is there, if it is of the same shape, dtype
        and order; of several that call this, one creates
    Other arguments are SharedMemory's.

    FileExistsError: the name is taken. ValueError: with exist_ok, by something
    else, which is named; or a negative length. TypeError: dtype is none, is of
    Python objects, or cannot be told to others. OSError ENOSPC: there is no
    room."""
    return _array_names.create(
        name,
        shape,
        dtype,
        order,
        exist_ok,
        mode=mode,
        track=track,
        reserve=reserve,
        lifetime=lifetime,
    )


def open(
    name: str,
    *,
    timeout: float | None = None,
    readonly: bool = False,
    track: bool | None = None,
) -> Array:
    """Return the array that is there by that name, with its shape and dtype.

    The segment may be a file that numpy.save() has written to /dev/shm.

    name: of the segment, a str
    timeout: seconds to wait for the name to appear
    readonly: the array may only be read, and its mode may forbid the rest
    track: as of a SharedMemory

    FileNotFoundError: there is none. ValueError: what is there is no array, or
    is damaged: it says what is wrong."""
    return _array_names.attach(
        name, timeout=timeout, readonly=readonly, track=track
    )


def unlink(name: str, missing_ok: bool = False) -> None:
    """Remove the name: nobody finds the array any more. Arrays that are open
    keep their memory.

    name: of the segment, a str
    missing_ok: True: not to find the name is no error

    FileNotFoundError: there is none."""
    _array_names.unlink(name, missing_ok)


# Not with the first array: connection.send(arrays.zeros(3)) has looked up what
# it calls before there is one.
_array_words.begin()

for _name in __all__:  # where programs import it from
    globals()[_name].__module__ = __name__
del _name
