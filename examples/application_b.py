"""Knows only the name, and reads what application A wrote."""

from shmemext import SharedMemory

shm = SharedMemory("MyMemory")
print("B reads:", bytes(shm.buf).rstrip(b"\0").decode())
shm.close()
