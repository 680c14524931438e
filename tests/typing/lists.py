# SPDX-License-Identifier: MIT
"""ShareableList is generic: at run time too, as the standard library's."""

from typing import TYPE_CHECKING, Any, assert_type

from shmemext import ShareableList, SharedMemory

Numbers = ShareableList[int]


class Readings(ShareableList[float]):
    def mean(self) -> float:
        return sum(self) / len(self)


class Table:
    rows: ShareableList[str]
    untyped: ShareableList

    def __init__(self) -> None:
        self.rows = ShareableList(["a", "b"])
        self.untyped = ShareableList([1, b"b"])


def total(numbers: ShareableList[int]) -> int:
    return sum(numbers)


def end(*lists: ShareableList[Any]) -> None:
    for sl in lists:
        assert_type(sl.shm, SharedMemory)
        sl.shm.close()
        sl.shm.unlink()


if __name__ == "__main__":
    numbers: ShareableList[int] = ShareableList([1, 2])
    assert_type(ShareableList[int]([1])[0], int)
    assert_type(numbers[0], int)
    numbers[1] = 5
    assert_type(list(numbers), list[int])
    assert_type(numbers.count(5), int)
    assert_type(numbers.index(5), int)
    assert_type(numbers.format, str)
    print(total(numbers), total(Numbers(range(3))), 5 in numbers)
    for number in reversed(numbers):
        assert_type(number, int)

    mixed = ShareableList([1, "a", None])
    assert_type(mixed[0], int | str | None)
    declared: ShareableList[int | str] = ShareableList([1, "text"])
    declared[0] = "b"
    readings = Readings([1.5, 2.5])
    print(readings.mean(), list(mixed), list(declared))
    table = Table()
    print(list(table.rows), list(table.untyped))
    empty: ShareableList[int] = ShareableList([])

    again = ShareableList(name=numbers.shm.name)
    assert_type(again[0], Any)
    typed: ShareableList[int] = ShareableList(name=numbers.shm.name)
    named = ShareableList(["x"], name="typed-list")
    assert_type(named[0], str)
    print(list(again), list(typed), list(named))
    again.shm.close()
    typed.shm.close()
    end(numbers, mixed, declared, readings, table.rows, table.untyped)
    end(empty, named)

if TYPE_CHECKING:
    ShareableList([[1]])  # E: type-var
    ShareableList(5)  # E: call-overload
    numbers[0] = "text"  # E: assignment
    numbers["a"]  # E: index
    del numbers[0]  # E: attr-defined
    total(declared)  # E: arg-type
    wrong: ShareableList[list[int]]  # E: type-var
    ShareableList([1], "name")  # E: call-overload
