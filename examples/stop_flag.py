"""A stop flag: workers look at it in every turn, which costs them next to
nothing, and go on until it is set."""

import time
from multiprocessing import Process

from shmemext import Atomic, Event


def work(stop, turns):
    for _ in range(1_000_000_000):
        turns.add(1)
        if stop.is_set():
            break


if __name__ == "__main__":
    stop, turns = Event(), Atomic()
    workers = [Process(target=work, args=(stop, turns)) for _ in range(2)]
    for worker in workers:
        worker.start()
    while turns.load() < 10_000:
        time.sleep(0.01)
    stop.set()
    for worker in workers:
        worker.join()
    print("stopped:", [worker.exitcode for worker in workers])
