"""gunicorn's settings. Its master reads them, and makes what all workers
have, before it forks the first one."""

from shmemext import SharedMemory, arrays

bind = "unix:/tmp/shmemext-app.socket"
pidfile = "/tmp/shmemext-app.pid"
workers = 2
max_requests = 2  # then a worker ends, and another one is forked


def on_starting(server):
    weights = arrays.create("app-model", 1_000_000, "f4")
    weights[:] = 0.5  # read them from a file here
    SharedMemory("app-shared", create=True, size=4096)
