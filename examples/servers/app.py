"""The application. Each worker imports it after it was forked, and attaches
to what the master has made."""

import os
import signal

from shmemext import Atomic, Lock, OwnerDied, SharedMemory, arrays

weights = arrays.open("app-model", readonly=True)
shared = SharedMemory("app-shared")
requests = Atomic(shared, 0)
lock = Lock(shared, 64)


def answer(path):
    number = requests.add(1) + 1
    try:
        with lock:
            if path == "/crash":
                os.kill(os.getpid(), signal.SIGKILL)
    except OwnerDied:
        with lock.repair():
            return f"request {number}: a worker died with the lock; repaired"
    return f"request {number}: {weights.sum()}"


def application(environ, start_response):
    body = answer(environ["PATH_INFO"]).encode()
    headers = [("Content-Type", "text/plain"), ("Worker", str(os.getpid()))]
    start_response("200 OK", headers)
    return [body]
