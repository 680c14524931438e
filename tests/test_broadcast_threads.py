# SPDX-License-Identifier: MIT
"""Threads and tasks that share a broadcast."""

import asyncio
import errno
import queue
import threading
from contextlib import ExitStack

import pytest
from broadcasts import PATIENCE, held, received

from shmemext.channels import Broadcast


def test_threads_of_one_reader_have_each_frame_once(cast, reader):
    seen, errors = [], []
    end = threading.Event()

    def read():
        while True:
            is_last = end.is_set()
            try:
                with reader.receive(0.05) as frame:
                    data = bytes(frame)
                    number = int.from_bytes(data[:8], "little")
                    if data != data[:8] * (len(data) // 8):
                        errors.append(data)
                    seen.append(number)
            except queue.Empty:
                if is_last:
                    return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(1, 1500):
        cast.put(i.to_bytes(8, "little") * (i % 1000 + 1))
    end.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == [] and held(cast) == 0
    assert len(seen) == len(set(seen)) > 0
    assert max(seen) == 1499
    assert reader.missed + len(seen) == 1499 - min(seen) + 1


def test_threads_of_one_writer_write_one_after_the_other(cast):
    done = []

    def write():
        for _ in range(300):
            try:
                cast.put(b"x")
                done.append(1)
            except OSError as error:
                assert error.errno == errno.EBUSY

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert cast.seq == len(done) > 0


def test_frames_are_whole(cast):
    """One quick reader, and one that keeps arrays for long."""
    stop, errors = threading.Event(), []

    def read(kept):
        with Broadcast(cast.name) as reader, ExitStack() as stack:
            last = []
            while not stop.is_set():
                try:
                    frame = stack.enter_context(reader.receive(0.05))
                except queue.Empty:
                    continue
                last.append(memoryview(frame))
                errors.extend(1 for view in last if len(set(view)) > 1)
                if len(last) > kept:
                    last.pop(0).release()
                    stack.close()

    threads = [threading.Thread(target=read, args=(n,)) for n in (0, 2)]
    for thread in threads:
        thread.start()
    for i in range(2000):
        cast.put(bytes([i % 256]) * 5000)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []


def test_tasks(cast, reader):
    async def main():
        waiting = asyncio.create_task(reader.receive_async())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        cast.put(b"x")
        with await waiting as frame:
            assert (frame.seq, bytes(frame)) == (1, b"x")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.receive_async(), 0.01)
        reader.close()
        with pytest.raises(ValueError, match="closed"):
            await reader.receive_async()

    asyncio.run(main())


def test_task_that_is_cancelled_has_received_nothing(cast, reader):
    async def main():
        waiting = [
            asyncio.create_task(reader.receive_async()) for _ in range(20)
        ]
        await asyncio.sleep(0.02)
        for task in waiting:
            task.cancel()
        cast.put(b"x")
        await asyncio.wait(waiting)
        return [task.result() for task in waiting if not task.cancelled()]

    assert asyncio.run(main()) == []
    assert held(cast) == 0
    assert received(reader) == (1, b"x")


def test_tasks_of_one_reader_have_each_frame_once(cast, reader):
    async def main():
        seen = []

        async def read():
            with await reader.receive_async() as frame:
                seen.append(frame.seq)

        tasks = [asyncio.create_task(read()) for _ in range(10)]
        while len(seen) < 10:
            cast.put(b"x")
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        return seen

    seen = asyncio.run(main())
    assert seen == sorted(set(seen))
