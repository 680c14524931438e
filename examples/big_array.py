"""Pool.map() over one big array: workers get rows of it where they lie, and
there is one array."""

from multiprocessing import Pool

import numpy as np

from shmemext import arrays


def halve(rows):
    rows //= 2  # in the one array that there is
    return int(rows.max())


if __name__ == "__main__":
    big = arrays.arange(8_000_000).reshape(1000, 8000)
    with Pool(2) as pool:
        largest = pool.map(halve, np.array_split(big, 50))
    print(max(largest), big.sum())
