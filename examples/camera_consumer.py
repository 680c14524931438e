"""Looks at the newest frame where it is, until the camera ends."""

import time

from camera import NAME, SLOTS, find_square, is_whole, view

from shmemext import SharedMemory

print("waiting for the camera", flush=True)
shm = SharedMemory(NAME, readonly=True, timeout=30)
camera = view(shm)
newest = -1
seen = missed = torn = 0

while True:
    ended = camera["ended"]  # asked before "published": none is overlooked
    number = int(camera["published"]) - 1
    if number == newest:
        if ended:
            break
        time.sleep(0.001)
        continue
    slot = number % SLOTS
    pixels = camera["pixels"][slot]
    column, whole = find_square(pixels), is_whole(pixels, number)
    if camera["sequence"][slot] != 2 * number + 2:
        torn += 1  # overwritten while we looked: forget what we saw
        continue
    assert whole, f"frame {number} is torn, and nobody noticed"
    missed += number - newest - 1
    newest = number
    seen += 1

print(f"{seen} frames seen, {missed} missed, {torn} torn and looked at again")
print(f"frame {newest}: the square is at column {column}")
