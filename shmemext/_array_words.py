# SPDX-License-Identifier: MIT
"""What is pickled of an array that processes share: where it lies, and not
what is in it.

An array of a pool is pickled as the bytes that it spans, in one piece from its
first to its last, and how it lies in these. The bytes are a PickleBuffer: a
pickler that knows where they go sends a reference in their place, another one
the bytes. An array by name is pickled as its SharedMemory is."""

from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any

from . import _array_names, _pools, _shmemext
from ._shmemext import SharedMemory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def begin() -> None:
    """From now on this process has such arrays: they are to travel so."""
    from . import _hooks

    _hooks.begin("arrays")


def reduce_array(array: "npt.NDArray[Any]") -> tuple[Any, ...] | None:
    """What stands for it in a pickle, as of __reduce__(). None: nobody shares
    it, it is pickled as any array is."""
    root = _array_names.root_of(array)
    if root is None or array.size == 0 or array.dtype.hasobject:
        return None
    if _array_names.is_marked(root):
        return _reduce_named(array, root)
    offset, size, strides = _span(array)
    span: Any = _bytes_of(array, offset, size)
    if not _pools.is_shared(span):
        return None
    arguments = PickleBuffer(span), _word_of(array.dtype), array.shape
    if strides is None:
        return rebuild_array, arguments
    return rebuild_array, (*arguments, strides, offset)


def is_shared(array: "npt.NDArray[Any]") -> bool:
    """Is it one of ours, or a view of one?"""
    return reduce_array(array) is not None


def rebuild_array(
    buffer: Any,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
) -> "npt.NDArray[Any]":
    """The array that lies so in these bytes, which it keeps."""
    import numpy as np

    return np.ndarray(shape, dtype, buffer, offset, strides)


def rebuild_named(
    memory: SharedMemory,
    file: tuple[int, ...],
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
    offset: int,
    writeable: bool,
) -> "npt.NDArray[Any]":
    """The array that lies so in this memory, if that is the same.

    FileNotFoundError: the name has gone, and is another's by now."""
    import numpy as np

    if _shmemext._identity(memory) != file:
        name = memory.name
        memory.close()
        raise FileNotFoundError(
            f"array {name!r} has been unlinked, and there is another segment "
            "of that name by now"
        )
    begin()
    over: Any = _array_names.mark(memory)
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, over, offset, strides)
    if not writeable:
        array.flags.writeable = False
    return array


def _reduce_named(
    array: "npt.NDArray[Any]", memory: SharedMemory
) -> tuple[Any, ...] | None:
    import numpy as np

    if memory.buf is None:  # closed by who looked into its base
        return None
    over: Any = memory
    start = _address_of(np.ndarray(0, "u1", over))
    return rebuild_named, (
        memory,
        _shmemext._identity(memory),
        _word_of(array.dtype),
        array.shape,
        None if array.flags.c_contiguous else array.strides,
        _address_of(array) - start,
        array.flags.writeable,
    )


def _span(
    array: "npt.NDArray[Any]",
) -> tuple[int, int, tuple[int, ...] | None]:
    """How many bytes lie before its first item, how many there are from the
    first one that it has to the last, and its strides. None: one item follows
    the other."""
    if array.flags.c_contiguous:
        return 0, array.nbytes, None
    before, size = 0, array.itemsize
    for length, stride in zip(array.shape, array.strides, strict=True):
        reach = (length - 1) * stride
        size += abs(reach)
        before -= min(reach, 0)
    return before, size, array.strides


class _Bytes:
    """Bytes at an address, which numpy makes an array of: whatever that is,
    a buffer has no dates, and an array no buffer that begins before it."""

    def __init__(self, owner: Any, interface: dict[str, Any]) -> None:
        self.owner = owner
        self.__array_interface__ = interface


def _bytes_of(
    array: "npt.NDArray[Any]", offset: int, size: int
) -> "npt.NDArray[np.uint8]":
    import numpy as np

    interface = {
        "version": 3,
        "typestr": "|u1",
        "shape": (size,),
        "data": (_address_of(array) - offset, not array.flags.writeable),
    }
    return np.asarray(_Bytes(array, interface))


def _address_of(array: "npt.NDArray[Any]") -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _word_of(dtype: "np.dtype[Any]") -> Any:
    """The dtype, or what numpy makes it of, which is shorter."""
    import numpy as np

    word = dtype.str
    if dtype.metadata is None and dtype.names is None:
        try:
            if np.dtype(word) == dtype:
                return word
        except TypeError:  # a type of another package
            pass
    return dtype
