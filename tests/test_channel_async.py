# SPDX-License-Identifier: MIT
"""Tasks that wait for messages, or for room."""

import asyncio
import random
import threading

import pytest
from arrays import np

from shmemext.channels import Channel, ShutDown

PATIENCE = 60


@pytest.fixture
def channel():
    with Channel(create=True, size=4096) as made:
        yield made
        made.unlink()


def test_get_and_put(channel):
    async def main():
        waiting = asyncio.create_task(channel.get_async())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert await channel.put_async(b"x") is None
        assert await waiting == b"x"
        await channel.put_async(bytearray(b"y"))
        assert await channel.get_async() == b"y"

    asyncio.run(main())


def test_put_waits_for_room(channel):
    async def main():
        await channel.put_async(bytes(2000))
        await channel.put_async(bytes(2000))
        waiting = asyncio.create_task(channel.put_async(b"z" * 2000))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        assert await channel.get_async() == bytes(2000)
        await waiting
        await channel.get_async()
        assert await channel.get_async() == b"z" * 2000

    asyncio.run(main())


def test_async_for(channel):
    async def main():
        async def write():
            for i in range(300):
                await channel.put_async(b"%d" % i)
            channel.shutdown()

        writer = asyncio.create_task(write())
        got = [data async for data in channel]
        await writer
        return got

    assert asyncio.run(main()) == [b"%d" % i for i in range(300)]


def test_errors_are_those_of_put_and_get(channel):
    async def main():
        with pytest.raises(TypeError):
            await channel.put_async("text")
        with pytest.raises(ValueError, match="size=8192"):
            await channel.put_async(bytes(3000))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(channel.get_async(), 0.01)
        waiting = asyncio.create_task(channel.get_async())
        await asyncio.sleep(0.01)
        channel.shutdown()
        with pytest.raises(ShutDown):
            await waiting
        with pytest.raises(ShutDown):
            await channel.put_async(b"x")
        channel.close()
        for call in channel.get_async(), channel.put_async(b"x"):
            with pytest.raises(ValueError, match="closed"):
                await call

    asyncio.run(main())


def test_put_takes_what_put_takes(channel):
    """memoryview() has no format for these."""
    times = np.array(["2026-11-26"], "M8[D]")
    channel.put(times)
    asyncio.run(channel.put_async(times))
    assert channel.get_many() == [times.tobytes()] * 2


def test_put_waits_for_room_for_what_the_data_are_by_then(channel):
    async def main():
        data = bytearray(10)
        channel.put_many([bytes(1000)] * 3)
        channel.put(bytes(900))
        waiting = asyncio.create_task(channel.put_async(bytearray(500)))
        other = asyncio.create_task(channel.put_async(data))
        await asyncio.sleep(0.02)
        data.extend(bytes(1000))
        for _ in range(4):
            channel.get()
        await asyncio.wait_for(asyncio.gather(waiting, other), PATIENCE)
        assert [len(each) for each in channel.get_many()] == [500, 1010]

    asyncio.run(main())


def test_closed_while_a_task_waits(channel):
    async def main():
        waiting = asyncio.create_task(channel.get_async())
        await asyncio.sleep(0.01)
        channel.close()
        with pytest.raises(ValueError, match="closed"):
            await waiting

    asyncio.run(main())


def test_cancelled_tasks_lose_nothing(channel):
    """300 tasks, of which two in five are cancelled at any time."""
    count = 150
    chance = random.Random(1)

    async def main():
        got, sent = [], []

        async def get():
            got.append(await channel.get_async())

        async def put(i):
            await channel.put_async(b"%d" % i)
            sent.append(i)

        tasks = [
            asyncio.create_task(each)
            for i in range(count)
            for each in (get(), put(i))
        ]
        victims = chance.sample(tasks, len(tasks) * 2 // 5)
        for victim in victims:
            await asyncio.sleep(chance.random() / 500)
            victim.cancel()
        done = asyncio.gather(*tasks, return_exceptions=True)
        while len(asyncio.all_tasks()) > 1 and not done.done():
            before = len(got), len(sent)
            await asyncio.wait([done], timeout=0.3)
            if (len(got), len(sent)) == before:
                break
        # Whoever is left waits for what is not there.
        rest = [task for task in tasks if not task.done()]
        for _ in range(len(rest)):
            await channel.put_async(b"-1")
        await asyncio.wait_for(done, PATIENCE)
        return got, sent

    got, sent = asyncio.run(main())
    channel.shutdown()
    got += list(channel)
    numbers = sorted(int(data) for data in got if data != b"-1")
    assert numbers == sorted(sent)


def test_task_that_is_cancelled_has_taken_nothing(channel):
    async def main():
        waiting = [asyncio.create_task(channel.get_async()) for _ in range(20)]
        await asyncio.sleep(0.02)
        for task in waiting:
            task.cancel()
        channel.put(b"x")
        await asyncio.wait(waiting)
        got = [task.result() for task in waiting if not task.cancelled()]
        assert got + ([] if channel.empty() else [channel.get()]) == [b"x"]

    asyncio.run(main())


def test_loops_in_two_threads(channel):
    got = []

    async def read():
        async for data in channel:
            got.append(data)

    threads = [
        threading.Thread(target=asyncio.run, args=(read(),)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for i in range(500):
        channel.put(b"%d" % i)
    channel.shutdown()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(map(int, got)) == list(range(500))
