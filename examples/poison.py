"""A job that kills every worker that gets it: at its third delivery it is put
aside, and the others are done."""

import os
import signal
from multiprocessing import Process
from multiprocessing.connection import wait

from shmemext import Channel


def work(jobs, results, failed):
    for job in jobs.messages():
        if job.deliveries == 3:
            failed.put(job)
        elif bytes(job) == b"13":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            results.put(job)


def start(channels):
    worker = Process(target=work, args=channels)
    worker.start()
    return worker


if __name__ == "__main__":
    channels = jobs, results, failed = [Channel(create=True) for _ in range(3)]
    jobs.put_many(b"%d" % number for number in range(20))
    jobs.shutdown()
    workers, killed = [start(channels) for _ in range(2)], 0
    while workers:
        wait([worker.sentinel for worker in workers])
        for ended in [one for one in workers if not one.is_alive()]:
            workers.remove(ended)
            if ended.exitcode:
                killed += 1
                workers.append(start(channels))
    print(results.qsize(), "done,", killed, "workers killed")
    print("put aside:", failed.get())
