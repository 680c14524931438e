"""Looks at the newest frame where it is, until the camera is gone."""

from queue import Empty

from camera import NAME, find_square, is_whole, pixels_of

from shmemext import Broadcast

print("waiting for the camera", flush=True)
camera = Broadcast(NAME, timeout=30)
seen = newest = 0
while True:
    try:
        with camera.receive(timeout=1) as frame:
            newest, column = frame.seq, find_square(pixels_of(frame))
            assert is_whole(pixels_of(frame), newest)
            seen += 1
    except Empty:
        # it had begun, and is gone, killed or done: was that its last one?
        if camera.writer is None and 0 < newest == camera.seq:
            break

print(f"{seen} frames seen, {camera.missed} missed")
print(f"frame {newest}: the square is at column {column}")
