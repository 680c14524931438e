# SPDX-License-Identifier: MIT
"""SharedMemory in subinterpreters: with a GIL of their own from 3.12 on, with
the main one's before.

Each test runs in a process of its own, so that what CPython itself leaves or
breaks there is not in the way of the others.
"""

import pytest
from conftest import DEV_SHM, python

# run(code) in a new interpreter, whatever CPython calls it this year.
RUN = """
import sys, threading

def run(code):
    if sys.version_info >= (3, 14):
        from concurrent import interpreters
        interpreter = interpreters.create()
        interpreter.exec(code)
        interpreter.close()
        return
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
    else:
        import _xxsubinterpreters as interpreters
    interpreter = interpreters.create()
    failed = interpreters.run_string(interpreter, code)
    interpreters.destroy(interpreter)
    assert failed is None, failed.formatted
"""

USE = """
import sys
from shmemext import SharedMemory
name, index = {name!r}, {index}
shm = SharedMemory(name)
shm.buf[index] = index + 1
mine = SharedMemory(create=True, size=100, track=False)
views = [mine.buf[3:], memoryview(mine)]
views[0][0] = 7
assert mine.fileno() >= 0
assert bytes(views[1][:4]) == b"\\0\\0\\0\\7"
mine.unlink()
mine.close()
for arguments in [("",), (5,), (mine.name,), (mine.name, True, 0)]:
    try:
        SharedMemory(*arguments)
    except (OSError, ValueError, TypeError):
        pass
    else:
        raise AssertionError(arguments)
shm.me = shm
"""


def script(name, body):
    return f"{RUN}\nUSE = {USE!r}\nname = {name!r}\n{body}"


@pytest.fixture
def block(name):
    path = DEV_SHM / name
    path.write_bytes(bytes(100))
    return path


def test_subinterpreter_imports_and_uses(block):
    done = python(
        script(block.name, "run(USE.format(name=name, index=0)); print('ok')")
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")
    assert block.read_bytes()[:2] == b"\1\0"


def test_subinterpreters_one_after_the_other_and_then_main(block):
    done = python(
        script(
            block.name,
            """
for index in range(10):
    run(USE.format(name=name, index=index))
exec(USE.format(name=name, index=10))
run(USE.format(name=name, index=11))
assert shm.buf[11] == 12
print("ok")
""",
        )
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")
    assert block.read_bytes()[:13] == bytes([*range(1, 13), 0])


def test_subinterpreters_at_once_beside_main(block):
    done = python(
        script(
            block.name,
            """
from shmemext import SharedMemory
shm = SharedMemory(name)
barrier = threading.Barrier(5)
errors = []

def work(index):
    try:
        barrier.wait()
        for _ in range(4):
            run(USE.format(name=name, index=index))
    except BaseException as error:
        errors.append(error)

threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
barrier.wait()
for _ in range(300):
    SharedMemory(name).close()
for thread in threads:
    thread.join()
assert not errors, errors
assert bytes(shm.buf[:5]) == bytes([1, 2, 3, 4, 0])
print("ok")
""",
        )
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_types_belong_to_their_interpreter(block):
    """A change in one is not seen in another: nothing is shared."""
    done = python(
        script(
            block.name,
            """
from shmemext import SharedMemory, shared_memory
SharedMemory.note = "main"
shared_memory._make_filename = None
run('''
from shmemext import SharedMemory
assert not hasattr(SharedMemory, "note")
shm = SharedMemory(create=True, size=1, track=False)
shm.unlink()
SharedMemory._mode = 0
''')
assert SharedMemory._mode == 0o600
print("ok")
""",
        )
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


KINDS = """
import os, sys
from shmemext import AnonymousMemory, MappedFile, Memory, SharedMemory
path, index = {path!r}, {index}
file = MappedFile(path)
file.buf[index] = index + 1
anonymous = AnonymousMemory(100)
shm = SharedMemory(create=True, size=100, exist_ok=True, track=False)
assert shm.created and shm.fileno() >= 0
shm.unlink()
for memory in [anonymous, shm]:
    assert isinstance(memory, Memory)
    view = memory.buf[:10]
    memory.grow(5000)
    assert memory.write(b"hello", 4000) == 5
    into = bytearray(5)
    assert memory.readinto(into, 4000) == 5 and into == b"hello"
    memory.populate()
    memory.flush()
    assert memory.refresh() is False
    view[0] = 7
    assert memory.buf[0] == 7
del view, memory
with anonymous.readonly_handle() as reader:
    assert reader.readonly and reader.buf[0] == 7
anonymous = AnonymousMemory(100)
anonymous.seal()
assert anonymous.sealed
with AnonymousMemory.from_fd(os.dup(anonymous.fileno())) as again:
    assert again.sealed
for arguments in [(-1,), ("x",), (0,)]:
    try:
        AnonymousMemory(*arguments)
    except (OSError, ValueError, TypeError):
        pass
    else:
        raise AssertionError(arguments)
file.me = file
"""


def test_every_kind_in_subinterpreters(tmp_path):
    """One after the other, at once, and in the main one."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    done = python(
        RUN
        + f"KINDS, path = {KINDS!r}, {str(path)!r}\n"
        + """
for index in range(3):
    run(KINDS.format(path=path, index=index))
errors = []

def work(index):
    try:
        for _ in range(3):
            run(KINDS.format(path=path, index=index))
    except BaseException as error:
        errors.append(error)

threads = [threading.Thread(target=work, args=(i,)) for i in range(3, 6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
exec(KINDS.format(path=path, index=6))
run(KINDS.format(path=path, index=7))
print("ok")
"""
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")
    assert path.read_bytes()[:9] == bytes([1, 2, 3, 4, 5, 6, 7, 8, 0])
