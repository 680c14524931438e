"""Keeps a counter and an array in a file, over restarts: run it twice."""

import sys

from shmemext import MappedFile

path = sys.argv[1] if len(sys.argv) > 1 else "counter.mapped"
try:
    file = MappedFile(path, create=True, size=800)
except FileExistsError:
    file = MappedFile(path, size=800)

with file, file.buf.cast("Q") as numbers:  # 100 of them, 0 at first
    starts = numbers[0] = numbers[0] % 99 + 1
    numbers[starts] = starts**2
    file.flush()  # from here on it survives a power failure
    print(f"start {starts} of {file.path}")
    print("squares:", numbers[1 : starts + 1].tolist())
