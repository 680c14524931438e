# SPDX-License-Identifier: MIT
"""What the tests of barriers run in other processes: importable by name."""

import json
import os
import queue
import select
import signal
import struct
import sys
import threading
import time

PATIENCE = 60


class Replies:
    """A queue that a killed process leaves in order: one write, of less than
    PIPE_BUF bytes, is whole or is not. For forked children."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def put(self, value):
        body = json.dumps(value).encode()
        os.write(self.writer, struct.pack("H", len(body)) + body)

    def get(self, timeout):
        if not select.select([self.reader], [], [], timeout)[0]:
            raise queue.Empty
        (length,) = struct.unpack("H", os.read(self.reader, 2))
        return json.loads(os.read(self.reader, length))

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


def come(barrier, replies, times=1):
    """Waits so often, says which one it was each time, and ends normally."""
    for _ in range(times):
        replies.put(told(barrier))


def told(barrier):
    try:
        return barrier.wait(PATIENCE)
    except threading.BrokenBarrierError as error:
        return str(error) or "broken"


def come_again_and_again(barrier):
    """Until it is broken."""
    while told(barrier) in range(barrier.parties):
        pass


def come_and_work(barrier, replies):
    """Waits once, and is busy then until it is killed."""
    replies.put(told(barrier))
    time.sleep(PATIENCE)


def come_and_end_at_once(barrier, replies):
    replies.put(told(barrier))
    os._exit(0)


def come_drop_and_end_at_once(barriers, replies):
    replies.put(told(barriers.pop()))
    os._exit(0)


def be_interrupted(barrier, replies):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        barrier.wait(PATIENCE)
    except KeyboardInterrupt:
        replies.put("interrupted")
    replies.put(told(barrier))


def leave_a_thread_waiting(barrier, replies):
    threading.Thread(target=told, args=(barrier,), daemon=True).start()
    while barrier.n_waiting == 0:
        time.sleep(0.001)
    replies.put("waiting")


def never_end():
    time.sleep(PATIENCE)


def nothing():
    pass


def say_pid(barrier, replies):
    replies.put((barrier.parties, barrier.wait(PATIENCE)))


def main(name):
    """A program that knows a name."""
    from shmemext import Barrier

    print(Barrier(2, where=name).wait(PATIENCE), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
