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
