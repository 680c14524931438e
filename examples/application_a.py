"""Creates a segment by name and writes into it."""

from shmemext import SharedMemory

shm = SharedMemory("MyMemory", create=True, size=1024)
message = b"Hello from child process"
shm.buf[: len(message)] = message
print("A wrote to", shm)

input()  # B reads meanwhile
shm.close()
shm.unlink()
