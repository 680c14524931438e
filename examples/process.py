"""Hands a segment to a Process, which writes into it."""

from multiprocessing import Process

from shmemext import SharedMemory


def child(shm):
    message = b"Hello from child process"
    shm.buf[: len(message)] = message
    shm.close()


if __name__ == "__main__":
    shm = SharedMemory(create=True, size=1024)
    process = Process(target=child, args=(shm,))
    process.start()
    process.join()
    print("parent reads:", bytes(shm.buf).rstrip(b"\0").decode())
    shm.close()
    shm.unlink()
