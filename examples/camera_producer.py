"""A camera: publishes frames, whether or not anybody looks.

python camera_producer.py [frames [frames a second, 0: as fast as it can]]
"""

import sys
import time

from camera import NAME, SIZE, draw, pixels_of

from shmemext import Broadcast

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 60
rate = int(sys.argv[2]) if len(sys.argv) > 2 else 50

camera = Broadcast(NAME, create=True, size=SIZE)
print("publishing", frames, "frames", flush=True)
time.sleep(0.5)  # those who wait for the name find it

for number in range(1, frames + 1):
    with camera.reserve() as view:
        draw(pixels_of(view), number)
    if rate:
        time.sleep(1 / rate)
