# SPDX-License-Identifier: MIT
"""SharedMemory between processes: by pickle, by fork, by name, and beside the
stdlib's own."""

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing import shared_memory as stdlib
from unittest import mock

import children
import pytest
from conftest import DEV_SHM, descriptors, python

from shmemext import SharedMemory

# numpy's threads do nothing that a fork could disturb.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

OURS = "shmemext.shared_memory"
STDLIB = "multiprocessing.shared_memory"
CLASSES = {OURS: SharedMemory, STDLIB: stdlib.SharedMemory}
STDLIB_HAS_TRACK = sys.version_info >= (3, 13)


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def context(request):
    return multiprocessing.get_context(request.param)


@pytest.fixture(params=[None, False])
def shm(request):
    shm = SharedMemory(create=True, size=100, track=request.param)
    yield shm
    shm.close()
    shm.unlink(missing_ok=True)


@pytest.fixture
def blocks():
    blocks = [
        SharedMemory(create=True, size=10 + i, track=False) for i in range(4)
    ]
    yield blocks
    for block in blocks:
        block.close()
        block.unlink()


# --- objects that cross


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_crosses_to_an_unrelated_process(shm, protocol):
    data = pickle.dumps(shm, protocol)
    shm.buf[0] = 5
    done = python(
        """
import pickle, sys
shm = pickle.loads(bytes.fromhex(sys.argv[1]))
shm.buf[1] = shm.buf[0] + 1
print(type(shm).__module__, shm.name, shm.size, shm._track)
""",
        data.hex(),
    )
    assert done.stdout.split() == [OURS, shm.name, "100", str(shm._track)]
    assert done.stderr == ""
    assert shm.buf[1] == 6


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_copy_keeps_track(shm, copier):
    again = copier(shm)
    assert (again.name, again._track) == (shm.name, shm._track)
    again.buf[0] = 3
    assert shm.buf[0] == 3
    again.close()


def test_process_takes_the_object(context, shm):
    ours, theirs = context.Pipe()
    shm.buf[0] = 5
    process = context.Process(
        target=children.use_and_send, args=(shm, 6, theirs)
    )
    process.start()
    theirs.close()
    assert ours.recv() == (5, shm.name, 100, shm._track)
    process.join()
    ours.close()
    assert process.exitcode == 0
    assert shm.buf[0] == 6


def test_pool_takes_objects(context, blocks):
    with context.Pool(2) as pool:
        reports = pool.starmap(children.use, [(b, 9) for b in blocks])
        pool.close()
        pool.join()
    assert reports == [(0, b.name, b.size, False) for b in blocks]
    assert [block.buf[0] for block in blocks] == [9] * 4


def test_executor_takes_objects(context, blocks):
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        reports = list(executor.map(children.use, blocks, range(4)))
    assert reports == [(0, b.name, b.size, False) for b in blocks]
    assert [block.buf[0] for block in blocks] == [0, 1, 2, 3]


def test_queue_and_pipe_carry_objects_both_ways(context, blocks):
    requests = context.Queue()
    ours, theirs = context.Pipe()
    process = context.Process(
        target=children.serve, args=(requests, theirs, SharedMemory)
    )
    process.start()
    for block in blocks:
        requests.put(block)
    replies = [ours.recv() for _ in blocks]
    requests.put(None)
    process.join()
    assert process.exitcode == 0
    assert [block.buf[0] for block in blocks] == [7] * 4
    for reply in replies:
        assert (reply.buf[0], reply.size, reply._track) == (8, 20, False)
        reply.close()
        reply.unlink()
    requests.close()
    requests.join_thread()
    ours.close()
    theirs.close()


# --- fork


@contextmanager
def forked(function):
    """Runs the function in a fork of this process, beside the block."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    try:
        yield child
        assert os.waitpid(child, 0)[1] == 0
    except BaseException:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        raise


def test_fork_leaves_both_sides_at_work(shm):
    view = shm.buf[:50]
    with forked(lambda: children.alternate(shm.buf, 1, 100)):
        children.alternate(view, 0, 100)
    assert shm.buf[0] == 200
    assert (shm.buf[1], shm.buf[2]) == (99, 99)


def test_fork_that_closes_leaves_the_other_side_open(shm):
    fd = shm.fileno()

    def close():
        shm.buf[0] = 1
        shm.close()
        assert shm.buf is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    with forked(close):
        pass
    assert shm.buf[0] == 1
    assert os.fstat(fd).st_size == 100


def test_fork_goes_on_after_the_parent_closed(name):
    shm = SharedMemory(name, create=True, size=10, track=False)
    peer = SharedMemory(name)

    def go_on():
        children.wait_for(shm.buf, 1)
        shm.buf[1] = 2
        assert SharedMemory(name).buf[1] == 2
        shm.fileno()
        shm.unlink()

    with forked(go_on):
        shm.close()
        peer.buf[0] = 1
    assert peer.buf[1] == 2
    assert not (DEV_SHM / name).exists()
    peer.close()


def test_fork_that_ends_takes_nothing_with_it(shm):
    with forked(shm.close):
        pass
    with forked(lambda: SharedMemory(shm.name).close()):
        pass
    with forked(lambda: None):
        pass
    shm.buf[0] = 1
    SharedMemory(shm.name).close()


# --- beside the stdlib


@contextmanager
def stdlib_registration(name):
    """What the stdlib's attacher registers, and never takes back."""
    resource_tracker.ensure_running()
    yield
    resource_tracker.unregister("/" + name, "shared_memory")


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("creator", "attacher"), [(STDLIB, OURS), (OURS, STDLIB)]
)
def test_segment_is_shared_with_the_stdlib(name, creator, attacher, method):
    shm = CLASSES[creator](name, create=True, size=100)
    with stdlib_registration(name):
        process = multiprocessing.get_context(method).Process(
            target=children.attach_and_alternate,
            args=(attacher, name, 1, 100),
        )
        process.start()
        children.alternate(shm.buf, 0, 100)
        process.join()
    assert process.exitcode == 0
    assert shm.buf[0] == 200
    assert (shm.buf[1], shm.buf[2]) == (99, 99)
    shm.close()
    with mock.patch("multiprocessing.resource_tracker.unregister"):
        shm.unlink()


ATTACH = """
import sys
from importlib import import_module
shm = import_module(sys.argv[1]).SharedMemory(sys.argv[2])
print(shm.buf[0])
shm.close()
"""


def test_unrelated_attacher_that_ends_destroys_nothing(shm):
    shm.buf[0] = 5
    done = python(ATTACH, OURS, shm.name)
    assert (done.stdout, done.stderr) == ("5\n", "")
    assert SharedMemory(shm.name).buf[0] == 5


def test_unrelated_attacher_of_the_stdlib_destroys(shm):
    """gh-82300. When this fails, CPython has mended it: rejoice, and say so
    in the README."""
    shm.buf[0] = 5
    done = python(ATTACH, STDLIB, shm.name)
    assert done.stdout == "5\n"
    assert "1 leaked shared_memory object" in done.stderr
    assert not (DEV_SHM / shm.name).exists()
    assert shm.buf[0] == 5


# --- track: the stdlib's tracker, exactly or not at all


def tracker_calls(cls, name, **track):
    """What a life with everything in it sends to the tracker."""
    tracker = mock.Mock()
    target = "multiprocessing.resource_tracker"
    with (
        mock.patch(f"{target}.register", tracker.register),
        mock.patch(f"{target}.unregister", tracker.unregister),
    ):
        shm = cls(name, create=True, size=10, **track)
        again = cls(name, **track)
        loaded = pickle.loads(pickle.dumps(shm))
        with pytest.raises(FileExistsError):
            cls(name, create=True, size=10, **track)
        with pytest.raises(FileNotFoundError):
            cls(name + "-missing", **track)
        for one in [loaded, again, shm]:
            one.close()
            one.close()
        shm.unlink()
        with pytest.raises(FileNotFoundError):
            again.unlink()
    return tracker.mock_calls


@pytest.mark.parametrize("slash", ["", "/"])
def test_track_true_tells_the_tracker_what_the_stdlib_tells(name, slash):
    arguments = {"track": True} if STDLIB_HAS_TRACK else {}
    theirs = tracker_calls(stdlib.SharedMemory, slash + name, **arguments)
    mine = tracker_calls(SharedMemory, slash + name, track=True)
    call = ("/" + slash + name, "shared_memory")
    assert mine == theirs
    assert mine == [
        mock.call.register(*call),
        mock.call.register(*call),
        mock.call.register(*call),
        mock.call.unregister(*call),
    ]


@pytest.mark.parametrize("track", [None, False, 0, ""])
def test_track_that_is_false_tells_the_tracker_nothing(name, track):
    assert tracker_calls(SharedMemory, name, track=track) == []


def test_track_true_is_undone_where_the_tracker_fails(name):
    before = descriptors()
    with (
        mock.patch(
            "multiprocessing.resource_tracker.register",
            side_effect=ZeroDivisionError,
        ),
        pytest.raises(ZeroDivisionError),
    ):
        SharedMemory(name, create=True, size=10, track=True)
    assert not (DEV_SHM / name).exists()
    assert descriptors() == before


def test_track_true_that_fails_to_attach_leaves_the_segment(shm):
    with (
        mock.patch(
            "multiprocessing.resource_tracker.register",
            side_effect=ZeroDivisionError,
        ),
        pytest.raises(ZeroDivisionError),
    ):
        SharedMemory(shm.name, track=True)
    assert (DEV_SHM / shm.name).exists()


@pytest.mark.parametrize("track", [None, False])
def test_track_that_is_false_needs_no_tracker(name, track):
    done = python(
        f"""
import sys
from shmemext import SharedMemory
shm = SharedMemory(sys.argv[1], create=True, size=10, track={track})
SharedMemory(shm.name, track={track}).close()
shm.close()
shm.unlink()
print([name for name in sys.modules if "resource_tracker" in name])
""",
        name,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


CREATE = """
import sys
from shmemext import SharedMemory
shm = SharedMemory(sys.argv[1], create=True, size=10, track={track})
shm.buf[0] = 5
"""


def test_track_true_has_the_tracker_remove_what_was_forgotten(name):
    done = python(CREATE.format(track=True), name)
    assert "1 leaked shared_memory object" in done.stderr
    assert not (DEV_SHM / name).exists()


def test_track_false_leaves_what_was_forgotten(name):
    done = python(CREATE.format(track=False), name)
    assert done.stderr == ""
    shm = SharedMemory(name)
    assert shm.buf[0] == 5
    shm.unlink()


def test_exit_with_live_views_is_quiet(name):
    """Objects and views that die with the interpreter, in any order."""
    done = python(
        """
import sys
import numpy as np
from shmemext import SharedMemory
shm = SharedMemory(sys.argv[1], create=True, size=100, track=False)
array = np.ndarray((100,), np.uint8, buffer=shm.buf)
view, shm.me, sys.mine = shm.buf[3:], shm, shm
fd = shm.fileno()
shm.unlink()
array[:] = 7
print(array.sum())
""",
        name,
    )
    assert (done.stdout, done.stderr) == ("700\n", "")


def test_killed_process_leaves_a_whole_segment(name):
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            CREATE.format(track=False) + "print(flush=True); input()",
            name,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.kill()
    shm = SharedMemory(name)
    assert (shm.size, shm.buf[0]) == (10, 5)
    shm.close()
    shm.unlink()
