# SPDX-License-Identifier: MIT
"""What the C type ShareableList has from Python: its constructor, and the
stdlib's private names."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import GenericAlias
from typing import Any, ClassVar, Literal

from ._shmemext import ShareableList as ShareableList
from ._shmemext import SharedMemory, _ride


class _Surface:  # its precise types are in _shmemext.pyi
    """A list of fixed length in a shared memory block.

    Holds int (64 bits), float, bool, str, bytes and None. An item may be
    replaced by one of another type; a text has as many bytes as the first in
    its place had, rounded up to the next multiple of 8.

    One value is written whole as far as this object's threads see it. Through
    another object, or in another process, a number is whole and a text that
    is being written may be seen half done.

    sequence: the items, to create; None, with a name, attaches
    Other arguments are SharedMemory's.

    TypeError: an item of another type. struct.error: an int beyond 64 bits.
    ValueError: the block holds no list. Errors are SharedMemory's, too.
    """

    _types_mapping = {  # noqa: RUF012
        int: "q",
        float: "d",
        bool: "xxxxxxx?",
        str: "%ds",
        bytes: "%ds",
        None.__class__: "xxxxxx?x",
    }
    _alignment = 8
    _back_transforms_mapping: ClassVar[dict[int, Callable[[Any], Any]]] = {
        0: lambda value: value,
        1: lambda value: value.rstrip(b"\x00").decode("utf8"),
        2: lambda value: value.rstrip(b"\x00"),
        3: lambda _value: None,
    }

    __class_getitem__: Any = classmethod(GenericAlias)

    def __init__(
        self: Any,
        sequence: Iterable[Any] | None = None,
        *,
        name: str | None = None,
        lifetime: Literal["family", "users"] = "family",
    ) -> None:
        if name is not None and sequence is None:
            self.shm = SharedMemory(name, lifetime=lifetime)
            try:
                self._open()
            except BaseException:
                self.shm.close()
                raise
            return
        items, length, data, size = self._measure(sequence or ())
        if length > 0 and isinstance(sequence, Iterator):
            from struct import error

            raise error(
                f"pack_into expected {length} items for packing (got 0)"
            )
        self.shm = SharedMemory(
            name, create=True, size=size, lifetime=lifetime
        )
        try:
            self._fill(items, data)
        except BaseException:
            self.shm.close()
            self.shm.unlink(missing_ok=True)
            raise

    def __reduce__(self: Any) -> tuple[Any, ...]:
        made = partial(self.__class__, name=self.shm.name), ()
        return _ride(self.shm, made)

    def __repr__(self: Any) -> str:
        items = list(self)
        return f"{self.__class__.__name__}({items}, name={self.shm.name!r})"

    @staticmethod
    def _extract_recreation_code(value: object) -> int:
        if not isinstance(value, str | bytes | None.__class__):
            return 0
        return 1 if isinstance(value, str) else 2 if value is not None else 3

    @property
    def _allocated_offsets(self: Any) -> list[int]:
        return list(map(self._offset_at, range(self._list_len + 1)))

    def _get_packing_format(self: Any, position: int) -> Any:
        if position < 0:
            position += self._list_len
        return self._format_at(position)

    def _get_back_transform(self: Any, position: int) -> Any:
        return self._back_transforms_mapping[self._code_at(position)]

    def _set_packing_format_and_transform(
        self: Any, position: int, fmt_as_str: str, value: object
    ) -> None:
        code = self._extract_recreation_code(value)
        self._describe(position, fmt_as_str, code)

    @property
    def _format_size_metainfo(self: Any) -> Any:
        return "q" * (self._list_len + 1)

    @property
    def _format_packing_metainfo(self: Any) -> Any:
        return "8s" * self._list_len

    @property
    def _format_back_transform_codes(self: Any) -> Any:
        return "b" * self._list_len

    @property
    def _offset_data_start(self: Any) -> Any:
        return (self._list_len + 2) * 8

    @property
    def _offset_packing_formats(self: Any) -> Any:
        return self._offset_data_start + self._offset_at(self._list_len)

    @property
    def _offset_back_transform_codes(self: Any) -> Any:
        return self._offset_packing_formats + self._list_len * 8


for _name, _value in vars(_Surface).items():
    if _name not in ("__dict__", "__module__", "__weakref__"):
        if hasattr(_value, "__qualname__"):
            _value.__qualname__ = f"ShareableList.{_name}"
        setattr(ShareableList, _name, _value)
