"""A progress counter: all workers add to one number, without a lock."""

import time
from multiprocessing import Process

from shmemext import Atomic


def work(done):
    for _ in range(250):
        time.sleep(0.001)  # a part of it
        done.add(1)


if __name__ == "__main__":
    done = Atomic()
    workers = [Process(target=work, args=(done,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        print(f"{done.load() / 10:.0f} %", end="\r", flush=True)
        time.sleep(0.05)
    print(done.load(), "of 1000 done")
