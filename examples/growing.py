"""A log that grows while somebody follows it."""

import struct
from multiprocessing import Event, Process

from shmemext import SharedMemory

NAME = "MyLog"
USED = struct.Struct("Q")  # how many bytes of it are written


def write(said, seen):
    log = SharedMemory(NAME, create=True, size=64, exist_ok=True)
    used = USED.size
    for line in range(1, 4):
        text = f"line {line}: {'x' * 30 * line}\n".encode()
        if used + len(text) > log.size:
            log.grow(2 * (used + len(text)))
        log.write(text, used)
        used += len(text)
        USED.pack_into(log.buf, 0, used)
        said.set()
        seen.wait()
        seen.clear()
    log.close()


if __name__ == "__main__":
    said, seen = Event(), Event()
    writer = Process(target=write, args=(said, seen))
    writer.start()
    log = SharedMemory(NAME, timeout=60)  # it may not be there yet
    position = USED.size
    for _ in range(3):
        said.wait()
        said.clear()
        grown = log.refresh()
        (used,) = USED.unpack_from(log.buf)
        text = bytes(log.buf[position:used]).decode()
        print(f"{log.size} bytes, {grown=}: {text}", end="")
        position = used
        seen.set()
    writer.join()
    log.close()
    log.unlink()
