# SPDX-License-Identifier: MIT
"""What a lock's repair() returns."""

from ._shmemext import Lock, RLock, WriteLock


class Repair:
    """Has the lock, whoever died with it. Left without an exception the lock
    is sound; with one it stays as it was, and so does one that was sound."""

    def __init__(
        self, lock: Lock | RLock | WriteLock, timeout: float | None = None
    ) -> None:
        self._lock = lock
        self._timeout = timeout
        self._torn = False

    def __enter__(self) -> bool:
        torn = self._lock._begin_repair(self._timeout)
        if torn is None:
            raise TimeoutError(
                f"{self._lock!r}: not to be had in {self._timeout} seconds"
            )
        self._torn = torn
        return torn

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self._lock._end_repair(kind is None or not self._torn)
