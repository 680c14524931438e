"""A camera: publishes frames, whether or not anybody looks.

python camera_producer.py [frames [frames a second, 0: as fast as it can]]
"""

import sys
import time

from camera import LAYOUT, NAME, SLOTS, draw, view

from shmemext import SharedMemory

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 60
rate = int(sys.argv[2]) if len(sys.argv) > 2 else 50

shm = SharedMemory(NAME, create=True, size=LAYOUT.itemsize)
camera = view(shm)
print("publishing", frames, "frames in", shm, flush=True)
time.sleep(0.5)  # those who wait for the name find it

for number in range(frames):
    slot = number % SLOTS
    camera["sequence"][slot] = 2 * number + 1  # odd: do not trust it now
    draw(camera["pixels"][slot], number)
    camera["sequence"][slot] = 2 * number + 2  # even: frame `number`, whole
    camera["published"] = number + 1
    if rate:
        time.sleep(1 / rate)

camera["ended"] = 1
shm.unlink()  # the name goes; whoever looks at the last frame keeps it
