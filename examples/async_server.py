"""A server with asyncio in front and worker processes behind: requests go to
them by a channel, and answers come back by another. A worker that is killed
costs nobody an answer."""

import asyncio
import os
import signal
from itertools import count
from multiprocessing import Process, parent_process
from queue import Empty

from shmemext.channels import Channel, ShutDown, wait


def work(requests, answers):
    server = parent_process()
    assert server  # this is its child
    while wait([requests, server.sentinel]) != [server.sentinel]:
        try:
            with requests.receive(block=False) as request:
                number, _, text = bytes(request).partition(b" ")
                if text == b"13" and request.deliveries == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
                answers.put(b"%s %d" % (number, int(text) ** 2))
        except Empty:
            pass  # another one was faster
        except ShutDown:
            break


class Server:
    def __init__(self, requests, answers):
        self.requests, self.answers = requests, answers
        self.numbers, self.waiting = count(), {}

    async def ask(self, text):
        number = next(self.numbers)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self.requests.put_async(b"%d %s" % (number, text))
            return await asyncio.wait_for(self.waiting[number], 30)
        finally:
            del self.waiting[number]

    async def collect(self):
        async for answer in self.answers:
            number, _, text = answer.partition(b" ")
            future = self.waiting.get(int(number))
            # a worker that was killed at the wrong moment has answered, too
            if future and not future.done():
                future.set_result(text)

    async def serve(self, reader, writer):
        async for line in reader:
            writer.write(await self.ask(line.strip()) + b"\n")
            await writer.drain()
        writer.close()


async def client(port, texts):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for text in texts:
        writer.write(b"%d\n" % text)
        answers.append(int(await reader.readline()))
    writer.close()
    return answers


async def main(requests, answers):
    server = Server(requests, answers)
    collecting = asyncio.create_task(server.collect())
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        clients = [client(port, range(n, n + 5)) for n in (0, 10, 20)]
        for squares in await asyncio.gather(*clients):
            print(squares)
    answers.shutdown()  # ends the loop of collect()
    await collecting


if __name__ == "__main__":
    requests, answers = Channel(create=True), Channel(create=True)
    workers = [Process(target=work, args=(requests, answers)) for _ in "123"]
    for worker in workers:
        worker.start()  # before asyncio, and its threads, begin
    asyncio.run(main(requests, answers))
    requests.shutdown()
    for worker in workers:
        worker.join()
    print("killed:", sum(worker.exitcode == -9 for worker in workers))
