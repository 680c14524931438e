"""Three workers square a hundred numbers. One of them is killed in the middle
of its work, and another one does that again."""

import os
import signal
from multiprocessing import Process, parent_process
from queue import Empty

from shmemext.channels import Channel, ShutDown


def work(jobs, results):
    writer = parent_process()
    while True:
        try:
            with jobs.receive(timeout=1) as job:
                number = int(bytes(job))
                if number == 50 and job.deliveries == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                results.put(f"{number**2}".encode())
        except ShutDown:
            break  # all is done
        except Empty:
            if writer and not writer.is_alive():
                break  # it is gone: there will be no more


if __name__ == "__main__":
    jobs, results = Channel(create=True), Channel(create=True)
    workers = [Process(target=work, args=(jobs, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for number in range(100):
        jobs.put(f"{number}".encode())
    jobs.shutdown()  # no more: workers do the rest, and end
    print("sum of squares:", sum(int(results.get()) for _ in range(100)))
    for worker in workers:
        worker.join()
    print("killed:", sum(worker.exitcode == -9 for worker in workers))
