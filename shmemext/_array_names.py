# SPDX-License-Identifier: MIT
"""Arrays by name: each in an ordinary segment, which says of itself what it
has.

The array keeps its SharedMemory as its base, and that says by an attribute
that it is one of these: so it is found again when the array is pickled, and
nobody has to close it."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from . import _array_header, _channels, _shmemext
from ._array_types import plan
from ._shmemext import SharedMemory

if TYPE_CHECKING:
    import numpy.typing as npt

_MARK = "_is_array"


def create(
    name: str,
    shape: Any,
    dtype: Any,
    order: Any,
    exist_ok: bool,
    **arguments: Any,
) -> "npt.NDArray[Any]":
    """A new array, or with exist_ok the same one that is there."""
    _check(name)
    header, wanted = _array_header.write(*plan(shape, dtype, order))
    try:
        memory = _shmemext._publish(
            header,
            False,
            name=name,
            create=True,
            size=wanted.size,
            exist_ok=exist_ok,
            **arguments,
        )
    except ValueError:
        if exist_ok:
            _explain(name, wanted)
        raise
    try:
        if not memory.created:
            _compare(name, _read(name, memory), wanted)
        return _over(name, memory, wanted)
    except BaseException:
        _channels.undo((memory,))
        raise


def attach(name: str, **arguments: Any) -> "npt.NDArray[Any]":
    """The array that is there by that name."""
    _check(name)
    memory = SharedMemory(name, **arguments)
    try:
        return _over(name, memory, _read(name, memory))
    except BaseException:
        memory.close()
        raise


def unlink(name: str, missing_ok: bool) -> None:
    _check(name)
    try:
        memory = SharedMemory(name, readonly=True)
    except FileNotFoundError:
        if missing_ok:
            return
        raise
    with memory:
        memory.unlink(missing_ok=missing_ok)


def root_of(array: Any) -> Any:
    """Whose memory an array has, of whatever views it is one. None: numpy's
    own."""
    import numpy as np

    root = array
    while isinstance(root, np.ndarray):
        root = root.base
    return root


def mark(memory: SharedMemory) -> SharedMemory:
    """As one whose arrays are by name."""
    vars(memory)[_MARK] = True
    return memory


def is_marked(root: Any) -> bool:
    return type(root) is SharedMemory and _MARK in vars(root)


def _check(name: Any) -> None:
    """SharedMemory makes up a name where there is none, and nobody would know
    it here."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__!r}")


def _over(
    name: str, memory: SharedMemory, layout: _array_header.Layout
) -> "npt.NDArray[Any]":
    import numpy as np

    shape, dtype, order, offset = layout
    fortran: Literal["C", "F"] = "F" if order == "F" else "C"
    over: Any = mark(memory)
    try:
        return np.ndarray(shape, dtype, over, offset, order=fortran)
    except ValueError as error:  # more dimensions than numpy has
        raise ValueError(f"array {name!r}: {error}") from None


def _read(name: str, memory: SharedMemory) -> _array_header.Layout:
    try:
        return _array_header.read(memory.buf)
    except ValueError as error:
        raise ValueError(f"array {name!r}: {error}") from None


def _compare(
    name: str, found: _array_header.Layout, wanted: _array_header.Layout
) -> None:
    if found[:3] != wanted[:3]:
        raise ValueError(
            f"array {name!r} exists with {found.describe()}, and "
            f"{wanted.describe()} was asked for: open() or unlink() it"
        )


def _explain(name: str, wanted: _array_header.Layout) -> None:
    """Says more than that what is there is shorter."""
    with suppress(OSError), SharedMemory(name, readonly=True) as memory:
        _compare(name, _read(name, memory), wanted)
