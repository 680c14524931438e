"""A shared configuration: one process changes it, and all others have the
newest one, whole, also who comes later. While nothing changes it costs them a
look."""

import json
from contextlib import suppress
from multiprocessing import Process, parent_process
from queue import Empty

from shmemext import Broadcast, Channel


def work(config, said):
    settings, parent = {"running": True}, parent_process()
    while settings["running"] and parent and parent.is_alive():
        with suppress(Empty), config.receive(timeout=0.01) as changed:
            settings = json.loads(bytes(changed))
            said.put(str(settings).encode())


if __name__ == "__main__":
    config, said = Broadcast(create=True, size=4096), Channel(create=True)
    workers = [Process(target=work, args=(config, said)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for settings in ({"running": True, "rate": 10}, {"running": False}):
        config.put(json.dumps(settings).encode())
        print([said.get(timeout=30).decode() for _ in workers])
