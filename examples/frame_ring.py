"""A ring of frames: one process fills them and another looks at each, where
it lies. None is copied, none is left out, and who is ahead waits."""

from multiprocessing import Process

import numpy as np

from shmemext import Channel

ROWS, COLUMNS = 480, 640


def grab(ring):
    for number in range(200):
        with ring.reserve(ROWS * COLUMNS) as view:
            np.frombuffer(view, np.uint8)[:] = number
    ring.shutdown()


if __name__ == "__main__":
    ring = Channel(create=True, size=4 << 20)
    Process(target=grab, args=(ring,)).start()
    brightest = []
    for frame in ring.messages():
        pixels = np.asarray(frame).reshape(ROWS, COLUMNS)
        brightest.append(int(pixels.max()))
    print(len(brightest), "frames, in order:", brightest == [*range(200)])
