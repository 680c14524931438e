# SPDX-License-Identifier: MIT
"""How the segment of an array by name begins: as a .npy file does, so that
numpy.load() and programs in other languages read it.

    \\x93NUMPY | version, 2 bytes | length of the text | text, spaces, "\\n"
    data, from a multiple of 64 on

The text is that of a Python dict: descr, fortran_order, shape. What others
have written there is read once, and believed only where it fits."""

import ast
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ._array_types import dtype_of

if TYPE_CHECKING:
    import numpy as np

_MAGIC = b"\x93NUMPY"
_ALIGNMENT = 64
#: Version: bytes of the length, and the text's encoding.
_VERSIONS = {(1, 0): (2, "latin1"), (2, 0): (4, "latin1"), (3, 0): (4, "utf8")}
#: Of the text, in bytes: numpy too takes no longer ones for safe to read.
_LONGEST = 10_000
_KEYS = {"descr", "fortran_order", "shape"}


class Layout(NamedTuple):
    """What lies in a segment."""

    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"
    order: str
    offset: int
    """Bytes before the data."""

    @property
    def size(self) -> int:
        """Bytes, the header included."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)

    def describe(self) -> str:
        """As one would ask for it."""
        order = "" if self.order == "C" else f", order={self.order!r}"
        return f"shape={self.shape}, dtype={str(self.dtype)!r}{order}"


def write(
    shape: tuple[int, ...], dtype: "np.dtype[Any]", order: str
) -> tuple[bytes, Layout]:
    """The header of such an array, and where everything is then.

    TypeError: there are no words for this dtype."""
    from numpy.lib import format

    descr: Any = None
    with suppress(TypeError, ValueError):
        descr = format.dtype_to_descr(dtype)
        if format.descr_to_dtype(descr) != dtype:
            descr = None
    if descr is None:
        raise TypeError(f"{dtype!r} cannot be told to others by a header")
    text = repr({"descr": descr, "fortran_order": order == "F"})
    text = f"{text[:-1]}, 'shape': {shape}, }}"
    version = (1, 0)
    try:
        encoded = text.encode("latin1")
    except UnicodeEncodeError:
        version = (3, 0)
        encoded = text.encode("utf8")
    if len(encoded) > _LONGEST - _ALIGNMENT:
        raise TypeError(f"a header has no room for dtype {dtype!r}")
    bytes_of_length = _VERSIONS[version][0]
    before = len(_MAGIC) + len(version) + bytes_of_length
    encoded += b" " * (-(before + len(encoded) + 1) % _ALIGNMENT) + b"\n"
    length = len(encoded).to_bytes(bytes_of_length, "little")
    header = _MAGIC + bytes(version) + length + encoded
    return header, Layout(shape, dtype, order, len(header))


def read(memory: memoryview) -> Layout:
    """What lies there. ValueError: no array, and why not."""
    start = bytes(memory[: len(_MAGIC) + 6])
    if start[: len(_MAGIC)] != _MAGIC:
        raise ValueError("there is a segment of that name, and no array in it")
    version = tuple(start[len(_MAGIC) : len(_MAGIC) + 2])
    if version not in _VERSIONS:
        raise ValueError(f"its header is of an unknown version, {version}")
    bytes_of_length, encoding = _VERSIONS[version]
    before = len(_MAGIC) + len(version) + bytes_of_length
    length = int.from_bytes(start[before - bytes_of_length : before], "little")
    text = bytes(memory[before : before + min(length, _LONGEST)])
    if not 0 < length == len(text):
        raise ValueError(f"its header would have {length} bytes")
    try:
        layout = _parse(text.decode(encoding), before + length)
    except (Exception, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    if layout.size > len(memory):
        raise ValueError(
            f"its header says {layout.describe()}, which takes {layout.size} "
            f"bytes, and there are {len(memory)}"
        )
    return layout


def _parse(text: str, offset: int) -> Layout:
    from numpy.lib.format import descr_to_dtype

    words = ast.literal_eval(text)
    if type(words) is not dict or words.keys() != _KEYS:
        raise ValueError("other words than these three")
    shape, fortran = words["shape"], words["fortran_order"]
    if type(shape) is not tuple or type(fortran) is not bool:
        raise ValueError("no shape or order")
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError(f"no array has this shape: {shape}")
    dtype = dtype_of(descr_to_dtype(words["descr"]))
    return Layout(shape, dtype, "F" if fortran else "C", offset)
