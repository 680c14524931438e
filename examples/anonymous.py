"""Memory without a name: a child fills it, readers get it read-only, and then
nobody can change it any more."""

from multiprocessing import Pipe, Process

from shmemext import AnonymousMemory


def fill(memory):
    with memory:
        memory.write(b"Hello from child process")


def read(connection):
    with connection.recv() as memory:
        text = bytes(memory.buf).rstrip(b"\0").decode()
        how = "sealed" if memory.sealed else "readonly"
        connection.send(f"{how}: {text}")


if __name__ == "__main__":
    memory = AnonymousMemory(1024)
    writer = Process(target=fill, args=(memory,))
    writer.start()
    writer.join()

    ours, theirs = Pipe()
    with memory.readonly_handle() as handle:
        reader = Process(target=read, args=(theirs,))
        reader.start()
        memory.write(b"HELLO")  # readers see it, and cannot do it
        ours.send(handle)
        print(ours.recv())
        reader.join()

    memory.seal()
    reader = Process(target=read, args=(theirs,))
    reader.start()
    ours.send(memory)
    print(ours.recv())
    reader.join()
