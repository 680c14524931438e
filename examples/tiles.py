"""A queue of 1,000 tiles: one of three workers is killed, and the others do
what it had in hand, too."""

from multiprocessing import Process

import numpy as np

from shmemext import Queue


def work(tiles, results):
    while True:
        number, tile = tiles.get()
        results.put((number, int(tile.sum())))
        tiles.task_done()


if __name__ == "__main__":
    tiles, results = Queue(), Queue()
    workers = [
        Process(target=work, args=(tiles, results), daemon=True)
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for number in range(1000):
        tiles.put((number, np.full((128, 128), number)))
    workers[0].kill()
    tiles.join()
    sums = dict(results.get() for _ in range(results.qsize()))
    print(len(sums), "tiles, the sum is", sum(sums.values()))
