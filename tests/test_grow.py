# SPDX-License-Identifier: MIT
"""Memory that becomes longer: grow(), and refresh() on the other side."""

import errno
import fcntl
import multiprocessing
import os
import pickle
import struct
import sys
import threading
from pathlib import Path

import kinds
import pytest
from arrays import np
from conftest import DEV_SHM, descriptors, python

from shmemext import AnonymousMemory, MappedFile, SharedMemory

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

F_OFD_SETLK = 37
PIECES = 40 << 20  # reserved in three of them


@pytest.fixture(params=kinds.KINDS)
def kind(request, tmp_path):
    with kinds.kind_of(request.param, tmp_path) as kind:
        yield kind


@pytest.fixture
def memory(kind):
    memory = kind.create(5000)
    memory.buf[:] = bytes(i % 251 for i in range(5000))
    return memory


def pattern(size=5000):
    return bytes(i % 251 for i in range(size))


# --- in one process


@pytest.mark.parametrize("size", [5001, 8192, 8193, 100_000, PIECES])
def test_grown_memory_keeps_its_bytes(kind, memory, size):
    assert memory.grow(size) is None
    assert memory.size == len(memory.buf) == size
    status = kind.stat(memory)
    assert status.st_size == size
    assert status.st_blocks * 512 >= size
    assert bytes(memory.buf[:5000]) == pattern()
    assert not any(memory.buf[5000:])
    memory.buf[size - 1] = 7
    peer = kind.again(memory)
    assert (peer.size, peer.buf[size - 1]) == (size, 7)


def test_reserve_is_as_it_was_at_create(kind):
    memory = kind.create(5000, reserve=False)
    memory.grow(1 << 30)
    assert memory.size == 1 << 30
    assert kind.stat(memory).st_blocks * 512 < 1 << 20


def test_attacher_reserves(kind):
    memory = kind.create(5000)
    peer = kind.again(memory)
    peer.grow(1 << 20)
    status = kind.stat(memory)
    assert status.st_size == 1 << 20
    assert status.st_blocks * 512 >= 1 << 20


def test_grow_in_many_steps(kind, memory):
    for size in range(6000, 100_000, 6000):
        memory.grow(size)
        assert len(memory.buf) == size
        memory.buf[size - 1] = 1
    assert bytes(memory.buf[:5000]) == pattern()
    assert sum(memory.buf[5000:]) == len(range(6000, 100_000, 6000))


def test_grow_to_the_size_it_has_changes_nothing(kind, memory):
    buf = memory.buf
    memory.grow(5000)
    assert memory.buf is buf
    assert buf[1] == 1
    assert kind.stat(memory).st_size == 5000


@pytest.mark.parametrize("size", [4999, 1])
def test_shrink_is_refused(kind, memory, size):
    buf = memory.buf
    with pytest.raises(ValueError, match="cannot shrink"):
        memory.grow(size)
    assert memory.buf is buf
    assert memory.size == kind.stat(memory).st_size == 5000
    assert bytes(buf) == pattern()


@pytest.mark.parametrize("size", [0, -1, -sys.maxsize])
def test_grow_to_nothing_is_refused(memory, size):
    with pytest.raises(ValueError):
        memory.grow(size)
    assert memory.size == 5000


@pytest.mark.parametrize("size", [None, "10000", 10000.0, b"1"])
def test_grow_to_no_number_is_type_error(memory, size):
    with pytest.raises(TypeError):
        memory.grow(size)
    assert memory.size == 5000


def test_index_is_a_number(memory):
    memory.grow(np.int64(6000))
    assert memory.size == 6000


def test_views_across_a_grow_are_on_the_same_bytes(kind, memory):
    """The caller's buf is a new object, everything else stays."""
    buf = memory.buf
    part = memory.buf[100:200]
    array = np.ndarray(5000, dtype="u1", buffer=memory.buf)
    from_object = np.frombuffer(memory, dtype="u1")
    direct = memoryview(memory)
    memory.grow(PIECES)
    assert memory.buf is not buf
    assert len(part) == 100
    assert len(array) == 5000
    assert bytes(array) == pattern()
    array[0] = 77
    assert (memory.buf[0], from_object[0], direct[0]) == (77, 77, 77)
    memory.buf[150] = 88
    assert (part[50], array[150]) == (88, 88)
    assert len(memoryview(memory)) == PIECES
    peer = kind.again(memory)
    memory.close()
    array[1] = 99
    assert (peer.buf[1], part[50]) == (99, 88)


def test_arrays_of_every_size_outlive_everything(memory):
    arrays = []
    for size in range(6000, 60_000, 6000):
        memory.grow(size)
        arrays.append(np.frombuffer(memory.buf, dtype="u1"))
    memory.close()
    for array in arrays:
        array[0] += 1
    assert all(array[0] == len(arrays) for array in arrays)
    assert [len(array) for array in arrays] == list(range(6000, 60_000, 6000))


def test_dropped_views_leave_one_mapping(kind, memory):
    for size in range(6000, 60_000, 6000):
        memory.grow(size)
        memory.buf[0] = 1
    assert len(kind.mappings(memory)) == 1


def test_grow_keeps_no_descriptor(kind, memory):
    before = descriptors()
    memory.grow(6000)
    kind.again(memory).close()
    memory.refresh()
    assert descriptors() == before
    memory.fileno()
    before = descriptors()
    memory.grow(7000)
    memory.refresh()
    assert os.fstat(memory.fileno()).st_size == 7000
    assert descriptors() == before


def test_grow_after_every_use(memory):
    memory.populate()
    memory.write(b"x" * 100, 0)
    memory.grow(10_000)
    assert memory.write(b"y" * 100, 9900) == 100
    assert memory.write(b"z" * 5000, 5000) == 5000
    memory.populate()
    memory.flush(9000, 1000)
    with pytest.raises(ValueError):
        memory.flush(9000, 1001)
    into = bytearray(200)
    assert memory.readinto(into, 4950) == 200
    assert into[50:] == b"z" * 150


# --- refresh


def test_refresh_takes_the_new_size_over(kind, memory):
    peer = kind.again(memory)
    buf = peer.buf
    view = peer.buf[:10]
    assert peer.refresh() is False
    assert peer.buf is buf
    memory.grow(100_000)
    memory.buf[99_999] = 7
    assert (peer.size, len(peer.buf)) == (5000, 5000)
    assert peer.refresh() is True
    assert peer.buf is not buf
    assert peer.size == len(peer.buf) == 100_000
    assert peer.buf[99_999] == 7
    memory.buf[0] = 42
    assert (view[0], peer.buf[0]) == (42, 42)
    assert peer.refresh() is False
    assert memory.refresh() is False


def test_refresh_of_a_reader(kind, memory):
    reader = kind.again(memory, readonly=True)
    memory.grow(100_000)
    assert reader.refresh() is True
    assert reader.buf.readonly
    assert reader.size == len(reader.buf) == 100_000
    with pytest.raises(TypeError):
        reader.grow(200_000)
    assert kind.stat(memory).st_size == 100_000


def test_grow_on_the_smaller_side(kind, memory):
    """Somebody has made it longer already, than asked or not as much."""
    peer = kind.again(memory)
    memory.grow(50_000)
    memory.buf[49_999] = 7
    peer.grow(20_000)
    assert peer.size >= 20_000
    assert kind.stat(memory).st_size == 50_000
    peer.refresh()
    assert (peer.size, peer.buf[49_999]) == (50_000, 7)
    other = kind.again(memory)
    memory.grow(60_000)
    memory.buf[59_999] = 8
    other.grow(100_000)
    assert (other.size, other.buf[59_999]) == (100_000, 8)
    assert memory.refresh() is True
    assert memory.size == 100_000


@pytest.mark.parametrize("kind", kinds.KINDS[:2], indirect=True)
def test_pickled_and_attached_again_has_the_new_size(kind, memory):
    before = pickle.dumps(memory)
    memory.grow(20_000)
    memory.buf[19_999] = 7
    for data in before, pickle.dumps(memory):
        with pickle.loads(data) as again:
            assert (again.size, again.buf[19_999]) == (20_000, 7)


# --- the name


def test_shared_memory_after_unlink(name):
    shm = SharedMemory(name, create=True, size=100)
    shm.unlink()
    buf = shm.buf
    before = descriptors()
    for call in (lambda: shm.grow(200), shm.refresh):
        with pytest.raises(FileNotFoundError) as caught:
            call()
        assert name in str(caught.value)
    assert shm.size == 100
    assert shm.buf is buf
    assert descriptors() == before
    shm.grow(100)  # it is
    shm.close()


def test_shared_memory_after_unlink_with_a_descriptor(name):
    shm = SharedMemory(name, create=True, size=100)
    peer = SharedMemory(name)
    peer.fileno()
    shm.fileno()
    shm.unlink()
    shm.grow(20_000)
    shm.buf[19_999] = 7
    assert peer.refresh() is True
    assert peer.buf[19_999] == 7
    shm.close()
    peer.close()


def test_name_that_is_another_segments_now(name):
    shm = SharedMemory(name, create=True, size=100)
    shm.unlink()
    other = SharedMemory(name, create=True, size=300)
    with pytest.raises(FileNotFoundError):
        shm.grow(200)
    with pytest.raises(FileNotFoundError):
        shm.refresh()
    assert (DEV_SHM / name).stat().st_size == 300
    assert shm.size == 100
    other.unlink()
    other.close()
    shm.close()


def test_standard_library_sees_the_new_size(name):
    python(
        """
import sys
from multiprocessing import shared_memory
from shmemext import SharedMemory
name = sys.argv[1]
theirs = shared_memory.SharedMemory(name, create=True, size=100)
ours = SharedMemory(name)
ours.grow(20_000)
ours.buf[19_999] = 7
again = shared_memory.SharedMemory(name)
assert (again.size, again.buf[19_999]) == (20_000, 7)
again.buf[0] = 5
assert theirs.buf[0] == 5
for shm in again, ours, theirs:
    shm.close()
theirs.unlink()
""",
        name,
    )


# --- other processes


@pytest.mark.parametrize("method", kinds.METHODS)
def test_other_process_sees_it_by_refresh(kind, memory, method):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.refresh_and_add, args=(memory, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() == 5000
    memory.grow(20_000)
    memory.buf[:5] = b"grown"
    ours.send("go")
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() == (True, 20_000, b"grown")
    process.join()
    assert process.exitcode == 0
    assert memory.buf[19_999] == 1


@pytest.mark.parametrize("method", kinds.METHODS)
def test_child_grows(kind, memory, method):
    """After a fork too, where the object is the parent's."""
    kinds.run(method, kinds.grow_to, memory, 20_000, 7)
    assert memory.size == 5000
    assert memory.refresh() is True
    assert (memory.size, memory.buf[19_999]) == (20_000, 7)
    assert bytes(memory.buf[:5000]) == pattern()
    memory.grow(30_000)


@pytest.mark.parametrize("name_of_kind", kinds.KINDS)
@pytest.mark.parametrize("how", ["reserved", "some sparse", "under a lockf"])
def test_processes_grow_at_once(name_of_kind, how, tmp_path):
    """The larger one wins, and nobody's bytes are lost."""
    python(
        """
import fcntl, multiprocessing as mp, sys
import kinds
WORKERS, STEPS = 4, 15

def work(me, memory, barrier):
    if me % 2:
        memory = kind.again(memory)  # which reserves
    barrier.wait(60)
    for step in range(STEPS):
        size = 5000 + (step * WORKERS + (me * 3 + step) % WORKERS + 1) * 1500
        try:
            memory.grow(size)
        except ValueError as error:  # we knew of more already
            assert "cannot shrink" in str(error), error
        assert memory.size >= size
        memory.buf[size - 1] = 1 + me
        memory.refresh()

context = mp.get_context("fork")
with kinds.kind_of(sys.argv[1], sys.argv[2]) as kind:
    how = sys.argv[3]
    memory = kind.create(5000, reserve=how != "some sparse")
    memory.buf[:] = b"x" * 5000
    if how == "under a lockf":
        fcntl.lockf(memory.fileno(), fcntl.LOCK_EX)
    barrier = context.Barrier(WORKERS)
    processes = [
        context.Process(target=work, args=(me, memory, barrier))
        for me in range(WORKERS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WORKERS
    most = 5000 + STEPS * WORKERS * 1500
    assert memory.refresh() is True
    assert memory.size == kind.stat(memory).st_size == most
    assert bytes(memory.buf[:5000]) == b"x" * 5000
    marks = memory.buf[5000 + 1499::1500].tolist()
    assert len(marks) == STEPS * WORKERS and all(marks), marks
    assert sum(map(bool, memory.buf[5000:])) == len(marks)
""",
        name_of_kind,
        tmp_path,
        how,
        env=kinds.HERE,
        timeout=120,
    )


def test_threads_grow_one_object(kind, memory):
    """Each asks for its own size; the end is the largest."""
    barrier = threading.Barrier(6)
    errors = []

    def work(first):
        barrier.wait()
        for size in range(first, 400_000, 6 * 997):
            try:
                memory.grow(size)
            except ValueError as error:
                errors.append(error)
            if memory.size < size or len(memory.buf) < size:
                errors.append((memory.size, size))
            memory.buf[size - 1] = 1

    threads = [
        threading.Thread(target=work, args=(5000 + 997 * i,))
        for i in range(1, 7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[:3]
    sizes = [
        size
        for i in range(1, 7)
        for size in range(5000 + 997 * i, 400_000, 6 * 997)
    ]
    assert memory.size == kind.stat(memory).st_size == max(sizes)
    assert all(memory.buf[size - 1] == 1 for size in sizes)
    assert bytes(memory.buf[:5000]) == pattern()


def test_shrink_is_refused_to_who_knows_the_size(memory):
    """What another thread has made of it meanwhile is no error: it is as long
    as was asked, and longer."""

    def in_a_thread(call, *args):
        outcome = []

        def run():
            try:
                outcome.append(call(*args))
            except ValueError as error:
                outcome.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return outcome[0]

    assert in_a_thread(memory.grow, 20_000) is None
    memory.grow(10_000)
    assert memory.size == 20_000
    with pytest.raises(ValueError, match="cannot shrink"):
        memory.grow(0)
    memory.grow(30_000)
    with pytest.raises(ValueError, match="cannot shrink"):
        memory.grow(20_000)
    assert in_a_thread(memory.grow, 25_000) is None
    assert in_a_thread(memory.grow, 35_000) is None
    assert memory.size == 35_000


READ_LOCK = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)  # all of it


def test_lock_of_a_reader_keeps_nobody_from_growing(kind, memory):
    """Who may read may lock all of it."""
    reader = kind.again(memory, readonly=True)
    fcntl.fcntl(reader.fileno(), F_OFD_SETLK, READ_LOCK)
    memory.grow(10_000)
    assert memory.size == kind.stat(memory).st_size == 10_000


WAITING = """
import fcntl, os, struct, sys
from pathlib import Path
import kinds
LAST, F_OFD_SETLK = (1 << 63) - 2, 37

def lock(how):
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", how, 0, LAST, 1, 0))

def has_waited_or_is_gone():
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
    return "Z (zombie)" in status or int(
        status.split("\\nvoluntary_ctxt_switches:")[1].split()[0]
    ) > 21_000

with kinds.kind_of(sys.argv[1], sys.argv[2]) as kind:
    memory = kind.create(5000, reserve=sys.argv[3] == "True")
    fd = os.open(f"/proc/self/fd/{memory.fileno()}", os.O_RDWR)
    lock(fcntl.F_WRLCK)
    pid = os.fork()
    if pid == 0:
        os.close(fd)
        memory.grow(10_000)
        os._exit(0)
    kinds.wait_until(has_waited_or_is_gone)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    assert kind.stat(memory).st_size == 5000
    lock(fcntl.F_UNLCK)
    assert os.waitpid(pid, 0)[1] == 0
    assert kind.stat(memory).st_size == 10_000
"""


@pytest.mark.parametrize("reserve", [True, False])
def test_who_is_at_work_alone_is_waited_for(reserve, tmp_path):
    """However long: he may be about to set the length that he wants, and cut
    off what others make longer meanwhile."""
    python(WAITING, "SharedMemory", tmp_path, reserve, env=kinds.HERE)


@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH])
@pytest.mark.parametrize("reserve", [True, False])
def test_grow_under_ones_own_lockf(kind, how, reserve):
    """All of the file is locked, and grow() does not wait for that."""
    memory = kind.create(5000, reserve=reserve)
    fcntl.lockf(memory.fileno(), how)
    memory.grow(9000)
    memory.grow(2 << 20)
    assert memory.size == kind.stat(memory).st_size == 2 << 20
    if reserve:
        assert kind.stat(memory).st_blocks * 512 >= 2 << 20


# A signal handler that runs while grow() reserves: it sees space that is taken
# and not used yet.
IN_THE_MIDDLE = """
import os, signal, sys, tempfile, time
import kinds
MIDDLE, END = 16 << 20, 128 << 20
TICK = 0.0003
seen = []
slow = tempfile.TemporaryDirectory("", "shmemext-test-", "/dev/shm")  # no disk

def handle(*_):
    status = kind.stat(memory)
    if not seen and status.st_size < END and status.st_blocks * 512 > MIDDLE:
        seen.append(True)
        act()

signal.signal(signal.SIGALRM, handle)

def grow_interrupted(size):
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    peer.grow(size)
    signal.setitimer(signal.ITIMER_REAL, 0)

def make(**options):
    global memory, peer
    memory = kind.create(5000, **options)
    memory.buf[:] = b"x" * 5000
    peer = kind.again(memory)  # which reserves
"""


@pytest.mark.parametrize("name_of_kind", kinds.KINDS)
@pytest.mark.parametrize("size", ["MIDDLE // 2", "END + 5000"])
@pytest.mark.parametrize("reserve", [True, False])
def test_signal_handler_grows_the_same_memory(name_of_kind, size, reserve):
    """It waits for nobody, and nobody for it."""
    python(
        IN_THE_MIDDLE
        + f"""
def act():
    memory.grow({size})
    memory.buf[-1] = 7
    peer.grow({size})

for attempt in range(100):
    with kinds.kind_of(sys.argv[1], slow.name) as kind:
        make(reserve={reserve})
        grow_interrupted(END)
        if not seen:
            continue
        most = max({size}, END)
        assert peer.size == kind.stat(memory).st_size == most, peer.size
        assert kind.stat(memory).st_blocks * 512 >= END
        assert peer.buf[{size} - 1] == 7
        assert bytes(peer.buf[:5000]) == b"x" * 5000
        break
else:
    sys.exit("never in the middle")
""",
        name_of_kind,
        env=kinds.HERE,
        timeout=60,
    )


@pytest.mark.parametrize("name_of_kind", kinds.KINDS)
def test_killed_in_grow_while_a_child_lives(name_of_kind):
    """The child that was forked meanwhile has all that its parent had open.
    The others grow, and in the end give back what the dead one had
    reserved."""
    python(
        IN_THE_MIDDLE
        + """
def act():
    if os.fork() == 0:
        os.close(gone[1])
        os.read(gone[0], 1)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)

for attempt in range(100):
    with kinds.kind_of(sys.argv[1], slow.name) as kind:
        make()
        gone = os.pipe()
        pid = os.fork()
        if pid == 0:
            grow_interrupted(END)
            os._exit(0)
        if os.waitpid(pid, 0)[1] == 0:
            continue
        status = kind.stat(memory)
        assert status.st_size == 5000 and status.st_blocks * 512 > MIDDLE
        memory.grow(10_000)
        assert memory.size == 10_000
        os.close(gone[1])  # now the child ends
        deadline = time.monotonic() + kinds.PATIENCE
        size = 10_000
        while kind.stat(memory).st_blocks * 512 > 5 << 20:
            size += 1
            memory.grow(size)
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert bytes(memory.buf[:5000]) == b"x" * 5000
        break
else:
    sys.exit("never in the middle")
""",
        name_of_kind,
        env=kinds.HERE,
        timeout=60,
    )


@pytest.mark.parametrize("name_of_kind", kinds.KINDS)
def test_grow_that_is_given_up_takes_nothing_from_another(name_of_kind):
    """One grows while another has space beyond the end, which goes back when
    that one gives up; but not while somebody else may want it."""
    python(
        IN_THE_MIDDLE
        + """
def act():
    memory.grow(10_000)
    memory.buf[-1] = 7
    before = kind.stat(memory).st_blocks
    try:
        memory.grow(1 << 40)  # more than there is
    except (OSError, OverflowError):
        pass
    assert kind.stat(memory).st_blocks == before
    raise KeyboardInterrupt

for attempt in range(100):
    with kinds.kind_of(sys.argv[1], slow.name) as kind:
        make()
        try:
            grow_interrupted(END)
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
            status = kind.stat(memory)
            assert status.st_size == memory.size == 10_000
            assert 10_000 <= status.st_blocks * 512 < 1 << 20
            assert peer.size == 5000 and peer.refresh()
            assert (peer.size, peer.buf[9_999]) == (10_000, 7)
            break
else:
    sys.exit("never in the middle")
""",
        name_of_kind,
        env=kinds.HERE,
        timeout=60,
    )


# --- closed and cut short


def test_closed_object_leaves_the_memory_alone(kind, memory):
    peer = kind.again(memory)
    memory.close()
    with pytest.raises(ValueError, match="closed"):
        memory.grow(10_000)
    assert peer.refresh() is False


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("call", ["refresh", "grow", "grow more"])
def test_memory_that_a_peer_cut_short(tmp_path, name, call):
    """refresh() never makes it smaller than what can be touched; grow() makes
    it whole again. Neither kills."""
    done = python(
        """
import os, sys, warnings
from shmemext import AnonymousMemory, MappedFile, SharedMemory
warnings.simplefilter("ignore")
path, name, call = sys.argv[1:]
for memory, where in (
    (MappedFile(path, create=True, size=20_000), path),
    (SharedMemory(name, create=True, size=20_000), "/dev/shm/" + name),
):
    memory.buf[:] = b"x" * 20_000
    view = memory.buf[:]
    os.truncate(where, 4096)
    try:
        if call == "refresh":
            memory.refresh()
        elif call == "grow":
            memory.grow(20_000)
        else:
            memory.grow(40_000)
            assert memory.size == 40_000
            memory.buf[39_999] = 7
    except (OSError, ValueError) as error:
        print(type(error).__name__, error)
    assert view[0] == memory.buf[0] == ord("x")
    view[19_999]
    memory.buf[memory.size - 1]
    assert len(memory.buf) == memory.size
    memory.close()
os.unlink("/dev/shm/" + name)
""",
        tmp_path / "file",
        name,
        call,
    )
    assert done.stderr == ""


def test_grown_file_is_the_file(tmp_path):
    path = tmp_path / "file"
    with MappedFile(path, create=True, size=100) as file:
        file.grow(20_000)
        file.buf[19_999] = 7
    data = path.read_bytes()
    assert (len(data), data[-1]) == (20_000, 7)


# --- what went wrong once


def test_reused_descriptor_number_is_not_written_to(kind, memory, tmp_path):
    """A daemon closes every descriptor; the next file gets the number."""
    number = memory.fileno()
    os.close(number)
    stranger = tmp_path / "log"
    stranger.write_bytes(b"somebody else's")
    opened = os.open(stranger, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    try:
        if kind.name == "AnonymousMemory":  # there is no other way to it
            with pytest.raises(OSError) as caught:
                memory.grow(2 << 20)
            assert caught.value.errno == errno.EBADF
        else:
            memory.grow(2 << 20)
            memory.write(b"x" * (1 << 20))
            assert memory.buf[: 1 << 20] == b"x" * (1 << 20)
        memory.close()
        assert stranger.read_bytes() == b"somebody else's"
    finally:
        os.close(number)


def test_write_to_pages_that_were_lost_before_is_an_error(name):
    """They are this process's own since it touched them, even where the file
    is as long again: nobody would see what is written."""
    python(
        """
import os, sys, warnings
from shmemext import SharedMemory
warnings.simplefilter("ignore")
shm = SharedMemory(sys.argv[1], create=True, size=8192)
path = f"/dev/shm/{sys.argv[1]}"
os.truncate(path, 4096)
assert shm.buf[5000] == 0
os.truncate(path, 8192)
try:
    shm.write(b"hello", 5000)
except OSError as error:
    assert "not to be had" in str(error), error
else:
    sys.exit("went well")
shm.unlink()
""",
        name,
    )


# --- mappings that have to stay


def areas(shm):
    """The mappings of a segment in this process."""
    inode = (DEV_SHM / shm.name).stat().st_ino
    text = Path("/proc/self/maps").read_text()
    return [
        line for line in text.splitlines() if line.split()[4] == str(inode)
    ]


def test_growing_in_steps_takes_few_mappings(name):
    """Whoever asks for the object's own buffer may keep its address and
    nothing else, as numpy.ndarray(buffer=shm) does: each one stays."""
    with SharedMemory(name, create=True, size=4096) as shm:
        arrays = []
        for step in range(1, 400):
            shm.buf[(step - 1) * 4096] = step % 256
            arrays.append(np.ndarray(shm.size, "u1", buffer=shm))
            assert len(bytes(shm)) == shm.size
            shm.grow(shm.size + 4096)
        assert len(areas(shm)) < 20
        shm.buf[0] = 9
        for step, array in enumerate(arrays, 1):
            assert array.size == step * 4096
            assert array[0] == 9
            assert array[-4096] == (step % 256 if step > 1 else 9)
        shm.unlink()


def test_growing_without_views_keeps_one_mapping(name):
    with SharedMemory(name, create=True, size=4096) as shm:
        for _ in range(50):
            shm.buf[-1] = 7
            shm.grow(shm.size + 4096)
        assert len(areas(shm)) == 1
        shm.unlink()


def test_refresh_of_pinned_memory_takes_few_mappings(name):
    with (
        SharedMemory(name, create=True, size=4096) as shm,
        SharedMemory(name) as other,
    ):
        for step in range(1, 100):
            array = np.ndarray(other.size, "u1", buffer=other)
            shm.grow(shm.size + 4096)
            shm.buf[-1] = step
            assert other.refresh()
            assert other.buf[-1] == step
            other.buf[0] = step
            assert array[0] == step
        assert len(areas(shm)) < 20
        shm.unlink()


def test_pinned_memory_that_was_torn_grows_into_new_pages(name):
    """Not into the zeros that took the place of those that were lost."""
    with SharedMemory(name, create=True, size=4096) as shm:
        memoryview(shm).release()
        shm.grow(3 * 4096)  # with room to spare
        memoryview(shm).release()
        os.truncate(DEV_SHM / name, 4096)
        with pytest.warns(RuntimeWarning, match="cut short"):
            assert shm.buf[2 * 4096] == 0
            sum([])  # for the pending call
        shm.grow(4 * 4096)
        with SharedMemory(name) as other:
            shm.buf[2 * 4096] = 7
            assert other.buf[2 * 4096] == 7
        shm.unlink()


@pytest.mark.parametrize("steps", [1, 2, 3, 9])
def test_seal_of_memory_that_has_grown_in_steps(steps):
    memory = AnonymousMemory(4096)
    for step in range(steps):
        memory.buf[-1] = step
        assert bytes(memory)[-1] == step
        memory.grow(memory.size + 4096)
    memory.seal()
    assert memory.sealed
    assert bytes(memory.buf[4095:4096]) == b"\0"


@pytest.mark.parametrize(
    "steps, of", [(n, of) for n in (1, 2, 3, 9) for of in range(n)]
)
def test_seal_with_a_view_from_before_growing(steps, of):
    """Of whichever step: it is in use."""
    memory = AnonymousMemory(4096)
    view = None
    for step in range(steps):
        assert len(bytes(memory)) == memory.size
        if step == of:
            view = memory.buf
        memory.grow(memory.size + 4096)
    with pytest.raises(BufferError, match="in use"):
        memory.seal()
    view[0] = 7
    assert memory.buf[0] == 7
    del view
    memory.seal()
    assert memory.buf[0] == 7
