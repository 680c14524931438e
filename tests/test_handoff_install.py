# SPDX-License-Identifier: MIT
"""install(handoff=True): for programs that cannot be edited."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import shmemext

METHODS = ["fork", "spawn", "forkserver"]
MAIN = """
import sys
from pathlib import Path
sys.path.append({here!r})
import shmemext_hook

def buffer():
    import pickle
    return pickle.PickleBuffer(bytes(range(256)) * 512)

def is_by_reference(received):
    from handoff_children import lies_in_pool
    assert received == bytes(range(256)) * 512
    return lies_in_pool(received)
"""


def run(tmp_path, code, *args):
    """As a file, since spawn imports the main module."""
    file = tmp_path / "program.py"
    file.write_text(MAIN.format(here=str(Path(__file__).parent)) + code)
    quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}
    done = subprocess.run(
        [sys.executable, str(file), *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **quiet},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("module", ["shmemext", "shmemext_hook"])
def test_children_have_it_too_and_theirs(tmp_path, method, module):
    code = """
def send(queue, depth=1):
    queue.put(buffer())
    if depth:
        from multiprocessing import get_context
        context = get_context(sys.argv[1])
        process = context.Process(target=send, args=(queue, 0))
        process.start()
        process.join()

if __name__ == "__main__":
    import shmemext
    from multiprocessing import get_context
    if sys.argv[2] == "shmemext":
        shmemext.install(handoff=True)
    else:
        shmemext_hook.install(handoff=True)
    context = get_context(sys.argv[1])
    queue = context.SimpleQueue()
    process = context.Process(target=send, args=(queue,))
    process.start()
    assert is_by_reference(queue.get())
    assert is_by_reference(queue.get())
    process.join()
"""
    run(tmp_path, code, method, module)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_arguments_go_so_before_anything_else_is_imported(tmp_path, method):
    code = """
def look(sent):
    print(is_by_reference(sent))

if __name__ == "__main__":
    shmemext_hook.install(handoff=True)
    assert "shmemext" not in sys.modules
    from multiprocessing import get_context
    process = get_context(sys.argv[1]).Process(target=look, args=(buffer(),))
    process.start()
    process.join()
    assert process.exitcode == 0
"""
    assert run(tmp_path, code, method).split() == ["True"]


@pytest.mark.parametrize(
    "first",
    [
        "multiprocessing.connection",
        "multiprocessing.queues",
        "multiprocessing.pool",
        "multiprocessing.managers",
        "concurrent.futures.process",
        "multiprocessing.reduction, multiprocessing.connection",
    ],
)
def test_nothing_is_imported_until_something_can_be_sent(tmp_path, first):
    code = f"""
shmemext_hook.install(handoff=True)
import multiprocessing
assert "shmemext" not in sys.modules
import {first}
assert "shmemext.handoff" in sys.modules
receiver, sender = multiprocessing.Pipe()
sender.send(buffer())
assert is_by_reference(receiver.recv())
queue = multiprocessing.SimpleQueue()
queue.put(buffer())
assert is_by_reference(queue.get())
"""
    run(tmp_path, code)


@pytest.mark.parametrize("imported", ["", "import multiprocessing.queues"])
def test_uninstall_puts_everything_back(tmp_path, imported):
    code = f"""
{imported}
import shmemext
def places():
    from multiprocessing import connection, queues, reduction
    return [
        dict(vars(connection.Connection)),
        connection._ForkingPickler, queues._ForkingPickler, reduction.dump,
    ]
if "multiprocessing.queues" in sys.modules:
    before = places()
for _ in range(2):
    shmemext.install(handoff=True)
    shmemext.install()
    from multiprocessing import Pipe, SimpleQueue
    queue = SimpleQueue()
    queue.put(buffer())
    assert is_by_reference(queue.get())
    shmemext.uninstall()
    shmemext.uninstall()
    now = places()
    queue.put("it is as ever")
    assert bytes(queue._reader.recv_bytes()) == bytes(
        sys.modules["multiprocessing.reduction"].ForkingPickler.dumps(
            "it is as ever"
        )
    )
if {imported!r}:
    assert now == before
"""
    run(tmp_path, code)


def test_without_it_nothing_is_sent_so(tmp_path):
    code = """
import shmemext
shmemext.install()
from multiprocessing import SimpleQueue
assert "shmemext.handoff" not in sys.modules
assert "shmemext._pickles" not in sys.modules
"""
    run(tmp_path, code)


def test_copies_of_multiprocessing_have_none():
    path = list(sys.meta_path)
    with pytest.raises(ValueError, match="not for wsgiref"):
        shmemext.install("wsgiref", handoff=True)
    assert sys.meta_path == path
