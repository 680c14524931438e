"""A DataFrame goes to workers: what is large in it by reference, and nothing
else changes. Each has one that it may write to."""

from multiprocessing import Pool

import numpy as np
import pandas as pd

from shmemext import handoff


def mean_of(frame, city):
    return city, float(frame.loc[frame["city"] == city, "price"].mean())


if __name__ == "__main__":
    handoff.enable()
    numbers = np.arange(1_000_000)
    frame = pd.DataFrame({"city": numbers % 4, "price": numbers / 10})
    with Pool(2) as pool:
        print(pool.starmap(mean_of, [(frame, city) for city in range(4)]))
