"""A camera that is killed and started again: who looks goes on with the same
Broadcast, and sees nothing but the pause."""

import os
import signal
from multiprocessing import Process

from shmemext import Broadcast


def open_camera():
    """Whoever is first makes it, and it goes with the last one."""
    return Broadcast(
        "camera-restart",
        create=True,
        size=100,
        exist_ok=True,
        lifetime="users",
    )


def publish(frames):
    camera = open_camera()
    for _ in range(frames):
        camera.put(b"a picture")
    with camera.reserve() as view:
        view[:6] = b"half a"
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    screen = open_camera()
    for frames in (3, 2):
        camera = Process(target=publish, args=(frames,))
        camera.start()
        camera.join()
        with screen.receive(timeout=10) as frame:
            print("frame", frame.seq, bytes(frame), "writer:", screen.writer)
