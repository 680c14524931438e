# SPDX-License-Identifier: MIT
"""AnonymousMemory: memory without a name, handed on by its descriptor."""

import array
import ctypes
import fcntl
import mmap
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace

import kinds
import pytest
from arrays import np
from conftest import descriptors, python, segments

from shmemext import AnonymousMemory, SharedMemory, _descriptors

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

ADD_SEALS, GET_SEALS = 1033, 1034
SEAL, SHRINK, GROW, WRITE, FUTURE_WRITE = 1, 2, 4, 8, 16


@pytest.fixture
def memory():
    with AnonymousMemory(5000) as memory:
        memory.buf[:5] = b"hello"
        yield memory


@pytest.fixture(params=kinds.METHODS)
def context(request):
    return multiprocessing.get_context(request.param)


def seals(memory):
    """Those that are about writing and length."""
    return fcntl.fcntl(memory.fileno(), GET_SEALS) & 31


def memfd(size=100, flags=os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
    fd = os.memfd_create("test", flags)
    os.ftruncate(fd, size)
    return fd


# --- what it is


def test_there_is_no_name(memory):
    before = segments()
    other = AnonymousMemory(100)
    assert segments() == before
    assert repr(other) == "AnonymousMemory(size=100)"
    assert (other.sealed, other.readonly) == (False, False)
    for name in ("name", "path", "unlink", "created"):
        assert not hasattr(other, name)
    other.close()


def test_size_is_the_only_argument():
    for arguments in ((), ("name", 100), (100, True)):
        with pytest.raises(TypeError):
            AnonymousMemory(*arguments)
    AnonymousMemory(size=100, reserve=False).close()


def test_descriptors_are_counted():
    before = descriptors()
    memories = [AnonymousMemory(100) for _ in range(10)]
    assert len(descriptors()) == len(before) + 10
    for memory in memories:
        memory.close()
    assert descriptors() == before
    AnonymousMemory(100)  # dropped
    assert descriptors() == before
    for size in (0, -1, "x"):
        with pytest.raises((ValueError, TypeError)):
            AnonymousMemory(size)
    assert descriptors() == before
    assert kinds.memfds() == []


def test_nobody_can_cut_it_short(memory):
    fd = memory.fileno()
    assert seals(memory) & SHRINK
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 100)
    done = python(
        """
import os, sys
path = sys.argv[1]
fd = os.open(path, os.O_RDWR)
for cut in (lambda: os.ftruncate(fd, 0), lambda: os.truncate(path, 10),
            lambda: os.open(path, os.O_RDWR | os.O_TRUNC)):
    try:
        cut()
    except PermissionError:
        pass
    else:
        sys.exit("cut")
os.ftruncate(fd, 10_000)
""",
        f"/proc/{os.getpid()}/fd/{fd}",
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert bytes(memory.buf[:5]) == b"hello"
    assert memory.refresh() is True
    assert memory.size == 10_000


# --- it crosses


@pytest.mark.parametrize("readonly", [False, True])
def test_process_argument(context, memory, readonly):
    given = memory.readonly_handle() if readonly else memory
    before = descriptors()
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.report, args=(given, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() == ("AnonymousMemory", 5000, readonly, b"hello")
    process.join()
    assert process.exitcode == 0
    ours.close()
    theirs.close()
    process.close()
    if context.get_start_method() == "fork":
        assert descriptors() == before


def test_pool_takes_objects(context):
    memories = [AnonymousMemory(100 + i) for i in range(4)]
    with context.Pool(2) as pool:
        pool.map(kinds.add_one, memories)
        pool.close()
        pool.join()
    assert [memory.buf[0] for memory in memories] == [1] * 4


def test_nested_processes(memory):
    """From a child to its child."""
    kinds.run("spawn", kinds.run, "spawn", kinds.add_one, memory)
    assert memory.buf[0] == ord("h") + 1


def test_descriptors_of_this_process_after_many_crossings(memory):
    ours, theirs = multiprocessing.Pipe()
    for turn in range(20):
        ours.send(memory)
        with theirs.recv() as again:
            again.buf[0] = turn
            assert memory.buf[0] == turn
        if turn == 0:  # what serves them is up
            before = descriptors()
    # what serves them closes its own of the last one, or of the first, late
    kinds.wait_until(
        lambda: len(descriptors()) <= len(before) and len(kinds.memfds()) == 2
    )  # one mapping, one descriptor
    ours.close()
    theirs.close()


def test_send_fds_and_from_fd(memory):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _, (fd,), _, _ = socket.recv_fds(theirs, 10, 1)
                with AnonymousMemory.from_fd(fd) as received:
                    assert received.fileno() == fd
                    assert received.size == 5000
                    received.buf[0] += 1
                status = 0
            finally:
                os._exit(status)
        socket.send_fds(ours, [b"x"], [memory.fileno()])
        assert os.waitpid(pid, 0)[1] == 0
    assert memory.buf[0] == ord("h") + 1


def test_received_memory_outlives_its_maker():
    code = """
import socket, sys
from shmemext import AnonymousMemory
sock = socket.socket(fileno=int(sys.argv[1]))
memory = AnonymousMemory(100)
memory.buf[:5] = b"hello"
socket.send_fds(sock, [b"x"], [memory.fileno()])
import os; os.kill(os.getpid(), 9)
"""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = python(
            code, theirs.fileno(), check=False, pass_fds=[theirs.fileno()]
        )
        assert done.returncode == -9
        _, (fd,), _, _ = socket.recv_fds(ours, 10, 1)
    with AnonymousMemory.from_fd(fd) as memory:
        assert bytes(memory.buf[:5]) == b"hello"
        memory.grow(200)


# --- from_fd


def test_from_fd_takes_the_descriptor_over():
    fd = memfd()
    before = len(descriptors())
    memory = AnonymousMemory.from_fd(fd)
    assert type(memory) is AnonymousMemory
    assert memory.fileno() == fd
    assert len(descriptors()) == before
    assert seals(memory) & SHRINK
    memory.buf[0] = 7
    assert os.pread(fd, 1, 0) == b"\7"
    memory.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_pickle_made_before_a_grow_has_the_new_size(memory):
    ours, theirs = multiprocessing.Pipe()
    ours.send(memory)
    memory.grow(20_000)
    memory.buf[19_999] = 7
    ours.send(memory)
    for _ in range(2):
        with theirs.recv() as again:
            assert (again.size, again.buf[19_999]) == (20_000, 7)


def test_from_fd_that_is_stopped_leaves_the_descriptor():
    python(
        """
import fcntl, os, sys
from shmemext import AnonymousMemory

def hook(event, arguments):
    if event == "shmemext.attach":
        raise PermissionError(*arguments)

fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
os.ftruncate(fd, 100)
sys.addaudithook(hook)
try:
    AnonymousMemory.from_fd(fd)
except PermissionError as error:
    assert error.args == (None, 100), error.args
else:
    sys.exit("not stopped")
os.pwrite(fd, b"still ours", 0)
assert "memfd:test" not in open("/proc/self/maps").read()
"""
    )


class Late(AnonymousMemory):
    """Fails when an object has had the descriptor already, and closed it; its
    number is somebody else's by then."""

    @classmethod
    def from_fd(cls, fd):
        super().from_fd(fd).close()
        null = os.open(os.devnull, os.O_RDONLY)
        if null != fd:
            os.dup2(null, fd, inheritable=False)
            os.close(null)
        raise LookupError(fd)


@pytest.mark.parametrize("way", ["readonly_handle", "pickle"])
def test_descriptor_is_closed_once(way):
    memory = Late(100)
    with pytest.raises(LookupError) as caught:
        if way == "readonly_handle":
            memory.readonly_handle()
        else:
            _descriptors.receive(
                Late, SimpleNamespace(detach=lambda: os.dup(memory.fileno()))
            )
    (fd,) = caught.value.args
    assert os.path.samestat(os.fstat(fd), Path(os.devnull).stat())
    os.close(fd)
    memory.close()


def test_from_fd_of_a_subclass():
    class Mine(AnonymousMemory):
        pass

    with Mine.from_fd(memfd()) as memory:
        assert type(memory) is Mine


def pipe():
    ours, theirs = os.pipe()
    os.close(theirs)
    return ours


def regular():
    with tempfile.TemporaryFile() as file:
        file.truncate(100)
        return os.dup(file.fileno())


def tmpfs_file():
    with SharedMemory(create=True, size=100) as shm:
        fd = os.dup(shm.fileno())
        shm.unlink()
        return fd


def unsealed_and_readonly():
    """Nobody can seal through it, and it is not sealed."""
    fd = memfd()
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    finally:
        os.close(fd)


def sealed_against_sealing():
    fd = memfd()
    fcntl.fcntl(fd, ADD_SEALS, SEAL)
    return fd


REFUSED = {
    "pipe": pipe,
    "regular file": regular,
    "named segment": tmpfs_file,
    "device": lambda: os.open("/dev/null", os.O_RDWR),
    "directory": lambda: os.open("/", os.O_RDONLY),
    "not sealable": lambda: memfd(100, os.MFD_CLOEXEC),
    "sealed against sealing": sealed_against_sealing,
    "empty": lambda: memfd(0),
    "read-only and not sealed": unsealed_and_readonly,
    "only a path": lambda: os.open("/proc/self/exe", os.O_PATH),
}


@pytest.mark.parametrize("what", REFUSED)
def test_from_fd_refuses_and_leaves_the_descriptor(what):
    fd = REFUSED[what]()
    try:
        before = descriptors(), kinds.maps("/memfd:")
        identity = os.fstat(fd).st_ino
        error = OSError if what == "only a path" else ValueError
        with pytest.raises((error, ValueError)) as caught:
            AnonymousMemory.from_fd(fd)
        assert len(str(caught.value)) > 10
        assert (descriptors(), kinds.maps("/memfd:")) == before
        assert os.fstat(fd).st_ino == identity
    finally:
        os.close(fd)


@pytest.mark.parametrize("fd", [-1, -5, 1 << 20])
def test_from_fd_of_no_descriptor(fd):
    with pytest.raises((OSError, ValueError)):
        AnonymousMemory.from_fd(fd)


@pytest.mark.parametrize("fd", [None, "0", 1.5, 1 << 70, -(1 << 40)])
def test_from_fd_of_no_number(fd):
    with pytest.raises((TypeError, OverflowError, ValueError)):
        AnonymousMemory.from_fd(fd)


def test_from_fd_of_a_write_only_descriptor():
    """Cannot be mapped: an error, and it stays the caller's."""
    fd = memfd()
    once = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
    with pytest.raises((OSError, ValueError)):
        AnonymousMemory.from_fd(once)
    os.close(once)
    os.close(fd)


def test_from_fd_of_a_readonly_descriptor(memory):
    fd = os.open(f"/proc/self/fd/{memory.fileno()}", os.O_RDONLY)
    with AnonymousMemory.from_fd(fd) as reader:
        assert (reader.readonly, reader.sealed) == (True, False)
        assert bytes(reader.buf[:5]) == b"hello"
        assert reader.buf.readonly
        memory.buf[0] = ord("H")
        assert bytes(reader.buf[:5]) == b"Hello"


@pytest.mark.parametrize("sealed", [WRITE, WRITE | SHRINK, FUTURE_WRITE])
def test_from_fd_of_a_write_sealed_descriptor(sealed):
    fd = memfd()
    os.pwrite(fd, b"hello", 0)
    fcntl.fcntl(fd, ADD_SEALS, sealed)
    with AnonymousMemory.from_fd(fd) as reader:
        assert reader.readonly is True
        assert bytes(reader.buf[:5]) == b"hello"
        assert seals(reader) & SHRINK


# --- seal


VIEWS = {
    "a part": lambda memory: memory.buf[1:],
    "memoryview of it": lambda memory: memoryview(memory.buf),
    "cast": lambda memory: memory.buf[:80].cast("d"),
}
if np:
    VIEWS |= {
        "frombuffer": lambda memory: np.frombuffer(memory.buf, dtype="u1"),
        "ndarray": lambda memory: np.ndarray(100, "u1", memory.buf),
        "array of a part": lambda memory: np.asarray(memory.buf[8:])[1:],
    }


def check_sealed(memory, size=5000):
    assert (memory.sealed, memory.readonly) == (True, True)
    assert seals(memory) & 15 == SEAL | SHRINK | GROW | WRITE
    assert memory.buf.readonly
    assert memory.size == len(memory.buf) == size
    with pytest.raises(TypeError):
        memory.buf[0] = 1
    with pytest.raises(TypeError):
        memory.write(b"x")
    with pytest.raises(TypeError):
        memory.grow(size + 1)


def test_sealed_memory_is_immutable_for_everybody(memory, context):
    memory.seal()
    check_sealed(memory)
    fd = memory.fileno()
    for change in (
        lambda: os.pwrite(fd, b"x", 0),
        lambda: os.ftruncate(fd, 10_000),
        lambda: os.ftruncate(fd, 10),
        lambda: os.posix_fallocate(fd, 0, 10_000),
        lambda: mmap.mmap(fd, 5000),
        lambda: fcntl.fcntl(fd, ADD_SEALS, FUTURE_WRITE),
    ):
        with pytest.raises(PermissionError):
            change()
    assert bytes(memory.buf[:5]) == b"hello"
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.report, args=(memory, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() == ("AnonymousMemory", 5000, True, b"hello")
    process.join()


def test_received_sealed_memory_says_so(memory):
    memory.seal()
    with AnonymousMemory.from_fd(os.dup(memory.fileno())) as received:
        check_sealed(received)
        assert bytes(received.buf[:5]) == b"hello"


def test_old_buf_of_the_maker_cannot_write_any_more():
    """Whatever became of it, it neither writes nor crashes."""
    python(
        """
from shmemext import AnonymousMemory
memory = AnonymousMemory(100)
buf = memory.buf
try:
    memory.seal()
except BufferError:
    buf[0] = 7
    del buf
    memory.seal()
    assert memory.buf[0] == 7
else:
    try:
        buf[0] = 7
    except (TypeError, ValueError):
        pass
    else:
        raise AssertionError("written")
    assert memory.buf[0] == 0
"""
    )


@pytest.mark.parametrize("view", VIEWS)
def test_seal_is_refused_while_there_are_views(memory, view):
    kept = VIEWS[view](memory)
    with pytest.raises(BufferError):
        memory.seal()
    assert (memory.sealed, memory.readonly) == (False, False)
    assert seals(memory) == SHRINK
    memory.buf[9] = 7
    assert memoryview(kept).tobytes().find(b"\7") != -1
    kept = None
    memory.seal()
    check_sealed(memory)
    assert memory.buf[9] == 7


@pytest.fixture
def pipe_with_a_page(memory):
    """Of the memory, which nobody has mapped any more: vmsplice(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [
        ctypes.c_int
    ] * 4
    reader, writer = os.pipe()
    readonly = os.open(f"/proc/self/fd/{memory.fileno()}", os.O_RDONLY)
    page = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, readonly, 0)
    what = (ctypes.c_size_t * 2)(page, 4096)
    assert libc.vmsplice(writer, what, 1, 0) == 4096
    assert libc.munmap(ctypes.c_void_p(page), 4096) == 0
    yield reader
    for fd in reader, writer, readonly:
        os.close(fd)


def test_seal_waits_for_pages_that_the_system_holds(memory, pipe_with_a_page):
    released = threading.Timer(0.4, os.read, [pipe_with_a_page, 4096])
    released.start()
    memory.seal()
    released.join()
    assert memory.sealed


def test_seal_does_not_wait_for_ever(memory, pipe_with_a_page):
    with pytest.raises(OSError, match="has had pages") as caught:
        memory.seal()
    assert caught.value.errno == 16  # EBUSY
    assert seals(memory) == SHRINK
    memory.buf[0] = ord("J")
    assert os.read(pipe_with_a_page, 5) == b"Jello"  # the very page


def test_seal_while_pages_are_held_and_nobody_may_map_it_writable(
    memory, pipe_with_a_page
):
    memory.readonly_handle().close()
    with pytest.raises(OSError, match="read-only from now on") as caught:
        memory.seal()
    assert caught.value.errno == 16
    assert memory.readonly is True
    assert memory.sealed is False
    assert bytes(memory.buf[:5]) == b"hello"


def test_seal_is_refused_while_another_process_writes(memory, context):
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.hold, args=(memory, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() is False
    with pytest.raises(OSError, match="map") as caught:
        memory.seal()
    assert caught.value.errno == 16  # EBUSY
    assert memory.sealed is False
    assert seals(memory) == SHRINK
    memory.buf[0] = ord("J")
    ours.send("close it")
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() == "closed"
    memory.seal()
    check_sealed(memory)
    assert bytes(memory.buf[:5]) == b"Jello"
    ours.send("go")
    process.join()


def test_seal_is_refused_while_another_object_is_open(memory):
    """Of this process: the kernel does not tell whose mapping it is."""
    with AnonymousMemory.from_fd(os.dup(memory.fileno())) as other:
        with pytest.raises((OSError, BufferError)):
            memory.seal()
        other.buf[0] = 7
        assert memory.buf[0] == 7
    memory.seal()
    check_sealed(memory)


def test_readers_do_not_hinder_a_seal(memory):
    fd = os.open(f"/proc/self/fd/{memory.fileno()}", os.O_RDONLY)
    with AnonymousMemory.from_fd(fd) as reader:
        view = reader.buf[:5]
        assert reader.sealed is False
        memory.seal()
        assert bytes(view) == b"hello"
        assert reader.readonly


def test_seal_after_readinto_of_a_file(memory, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        assert file.readinto(memory) == 11
    memory.seal()
    check_sealed(memory)
    assert bytes(memory.buf[:11]) == b"from a file"


def test_seal_after_every_use(memory):
    memory.populate()
    memory.write(b"written")
    memory.readinto(bytearray(10))
    memory.flush()
    memory.grow(20_000)
    memory.refresh()
    memory.seal()
    check_sealed(memory, 20_000)
    memory.populate()
    memory.flush()
    assert memory.refresh() is False
    into = bytearray(7)
    assert memory.readinto(into) == 7
    assert into == b"written"


def test_seal_again_changes_nothing(memory):
    memory.seal()
    memory.seal()
    check_sealed(memory)


@pytest.mark.parametrize("call", ["seal", "readonly_handle"])
def test_closed(memory, call):
    memory.close()
    with pytest.raises(ValueError, match="closed"):
        getattr(memory, call)()
    assert memory.buf is None


def test_seal_of_a_readonly_object_is_refused(memory):
    with memory.readonly_handle() as reader:
        with pytest.raises((TypeError, OSError)):
            reader.seal()
        assert reader.sealed is False
    memory.buf[0] = 7


# --- readonly_handle


ATTACK = """
import ctypes, errno, fcntl, mmap, os, sys
from multiprocessing import shared_memory  # not ours: nothing is patched
from shmemext import AnonymousMemory

fd = int(sys.argv[1])
reader = AnonymousMemory.from_fd(fd)
assert reader.readonly and bytes(reader.buf[:5]) == b"hello"
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                      ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int,
                           ctypes.c_long, ctypes.c_long]
for function in libc.mprotect, libc.madvise:
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
SHARED, RW = 1, 3

def checked(result):
    if result in (-1, 2**64 - 1):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result

def address():
    for line in open("/proc/self/maps"):
        if "/memfd:" in line:
            return int(line.partition("-")[0], 16)

def mapped_and_protected():
    at = checked(libc.mmap(None, 5000, 1, SHARED, fd, 0))
    checked(libc.mprotect(at, 5000, RW))
    ctypes.memset(at, 65, 5)

def our_own_protected():
    at = address()
    checked(libc.mprotect(at, 4096, RW))
    ctypes.memset(at, 65, 5)

def written_through(fd):
    os.write(fd, b"AAAAA")

def mapped_through(fd):
    memory = mmap.mmap(fd, 5000)
    memory[:5] = b"AAAAA"

def reopened(use, flags=os.O_RDWR, path="/proc/self/fd"):
    def attempt():
        again = os.open(f"{path}/{fd}", flags)
        use(again)
    return attempt

def received_writable():
    again = AnonymousMemory.from_fd(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))
    again.buf[0] = 65

KEEP, PUNCH, ZERO, COLLAPSE = 1, 2, 16, 8
ATTACKS = {
    "buf": lambda: reader.buf.__setitem__(0, 65),
    "write": lambda: reader.write(b"A"),
    "grow": lambda: reader.grow(10_000),
    "os.write": lambda: written_through(fd),
    "pwrite": lambda: os.pwrite(fd, b"AAAAA", 0),
    "mmap": lambda: mapped_through(fd),
    "mmap, mprotect": mapped_and_protected,
    "mprotect": our_own_protected,
    "reopen, write": reopened(written_through),
    "reopen for writing": reopened(written_through, os.O_WRONLY),
    "reopen, mmap": reopened(mapped_through),
    "reopen, pid": reopened(mapped_through, path=f"/proc/{os.getpid()}/fd"),
    "reopen, truncate": reopened(lambda fd: None, os.O_RDWR | os.O_TRUNC),
    "reopen, ftruncate": reopened(lambda fd: os.ftruncate(fd, 10)),
    "reopen, punch": reopened(
        lambda fd: checked(libc.fallocate(fd, KEEP | PUNCH, 0, 4096))),
    "reopen, zero": reopened(
        lambda fd: checked(libc.fallocate(fd, ZERO, 0, 4096))),
    "reopen, from_fd": received_writable,
    "reopen, splice": reopened(
        lambda fd: os.sendfile(fd, os.open("/etc/passwd", 0), 0, 5)),
    "ftruncate": lambda: os.ftruncate(fd, 10),
    "punch": lambda: checked(libc.fallocate(fd, KEEP | PUNCH, 0, 4096)),
    "collapse": lambda: checked(libc.fallocate(fd, COLLAPSE, 0, 4096)),
    "MADV_REMOVE": lambda: checked(libc.madvise(address(), 4096, 9)),
}
for name, attack in ATTACKS.items():
    try:
        attack()
    except (OSError, TypeError, ValueError):
        pass
    else:
        print(name, "went through", flush=True)
# Seals only ever take away; the maker goes on all the same.
for seal in 2, 4, 8, 1:
    for flags in os.O_RDONLY, os.O_RDWR:
        try:
            again = os.open(f"/proc/self/fd/{fd}", flags)
            fcntl.fcntl(again, 1033, seal)
        except OSError:
            pass
print("tried", len(ATTACKS), flush=True)
sys.stdin.readline()
assert bytes(reader.buf[:5]) == b"later", bytes(reader.buf[:5])
"""


def test_receiver_of_a_readonly_handle_cannot_change_a_byte(memory):
    reader = memory.readonly_handle()
    before = bytes(memory.buf)
    with subprocess.Popen(
        [sys.executable, "-c", ATTACK, str(reader.fileno())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[reader.fileno()],
    ) as receiver:
        said = receiver.stdout.readline()
        assert said.startswith("tried "), said
        assert bytes(memory.buf) == before
        assert os.fstat(memory.fileno()).st_size == 5000
        memory.buf[:5] = b"later"
        receiver.communicate("\n", timeout=kinds.PATIENCE)
    assert receiver.returncode == 0
    assert bytes(memory.buf) == b"later" + before[5:]


def test_readonly_handle_is_another_object(memory):
    before = len(descriptors())
    reader = memory.readonly_handle()
    assert type(reader) is AnonymousMemory
    assert len(descriptors()) == before + 1
    assert (reader.readonly, memory.readonly) == (True, False)
    assert reader.size == 5000
    assert fcntl.fcntl(reader.fileno(), fcntl.F_GETFL) & 3 == os.O_RDONLY
    memory.buf[0] = ord("J")
    assert bytes(reader.buf[:5]) == b"Jello"
    memory.write(b"again", 100)
    assert bytes(reader.buf[100:105]) == b"again"
    reader.close()
    assert len(descriptors()) == before
    memory.readonly_handle().close()
    memory.buf[0] = 1


def test_readonly_handle_crosses_and_stays_readonly(memory, context):
    reader = memory.readonly_handle()
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.hold, args=(reader, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() is True
    for _ in range(2):
        ours.send("go on")
    process.join()
    assert process.exitcode == 0


def test_maker_grows_and_the_receiver_sees_it(memory):
    reader = memory.readonly_handle()
    old = memory.buf
    memory.grow(3 << 20)
    assert memory.size == len(memory.buf) == 3 << 20
    memory.buf[-1] = 7
    memory.buf[0] = ord("J")
    old[1] = ord("u")
    assert reader.size == 5000
    assert reader.refresh() is True
    assert reader.buf.readonly
    assert reader.buf[-1] == 7
    assert bytes(reader.buf[:5]) == b"Jullo"
    memory.grow(4 << 20)
    memory.buf[-1] = 8
    assert reader.refresh() is True
    assert reader.buf[-1] == 8


def test_writable_object_arrives_readonly_from_then_on(memory):
    memory.readonly_handle().close()
    with AnonymousMemory.from_fd(os.dup(memory.fileno())) as late:
        assert late.readonly is True
        assert bytes(late.buf[:5]) == b"hello"
        memory.buf[0] = 1
        assert late.buf[0] == 1


def test_who_had_it_writable_goes_on_writing(memory):
    early = AnonymousMemory.from_fd(os.dup(memory.fileno()))
    reader = memory.readonly_handle()
    early.buf[0] = ord("J")
    assert early.readonly is False
    assert bytes(reader.buf[:5]) == b"Jello"
    early.close()


def test_handle_of_a_handle(memory):
    with memory.readonly_handle() as reader:
        try:
            second = reader.readonly_handle()
        except (TypeError, ValueError, OSError):
            return
        with second:
            assert second.readonly
            assert bytes(second.buf[:5]) == b"hello"


def test_handle_of_sealed_memory(memory):
    memory.seal()
    with memory.readonly_handle() as reader:
        check_sealed(reader)
        assert bytes(reader.buf[:5]) == b"hello"


def test_array_module_reads_it(memory):
    assert array.array("B", memory.buf)[:5].tobytes() == b"hello"


# --- what went wrong once


def test_seal_survives_a_callback_that_closes():
    """The last reference to buf goes within seal(), and tells who waits."""
    memory = AnonymousMemory(1000)
    watch = weakref.ref(memory.buf, lambda _: memory.close())
    memory.seal()
    assert watch() is None
    with pytest.raises(ValueError, match="closed"):
        memory.seal()


def test_seal_after_a_copy_and_grow():
    """Whoever was given the object's own buffer pins the mapping of then."""
    memory = AnonymousMemory(1000)
    assert bytes(memory) == bytes(1000)
    memory.grow(9000)
    memory.seal()
    assert memory.sealed
    assert len(memory.buf) == 9000


def test_seal_leaves_memory_alone_that_the_object_had_before():
    with AnonymousMemory(70000) as memory:
        array_of_it = np.ndarray(70000, np.uint8, memory)
        array_of_it[:] = 7
        memory.__init__(100)
        memory.seal()
        assert array_of_it.sum() == 7 * 70000
        array_of_it[0] = 8
        assert array_of_it[0] == 8 and bytes(memory) == bytes(100)


def test_sealed_is_not_asked_of_a_number_that_means_another_file(memory):
    """Nor does seal() count what that says."""
    with AnonymousMemory(100) as other:
        other.seal()
        for asked in memory, memory.readonly_handle():
            os.dup2(other.fileno(), asked.fileno())
            assert not asked.sealed
            with pytest.raises((OSError, TypeError)):
                asked.seal()
            os.close(asked.fileno())


def test_seal_of_something_else():
    """A class may be of two kinds, and then have anything in `_mmap`."""

    class Both(SharedMemory, AnonymousMemory):
        pass

    with Both(create=True, size=100) as memory:
        memory.unlink()
        memory._mmap = object()
        with pytest.raises(ValueError, match="closed"):
            memory.seal()
        memory._mmap = None


def test_seal_of_memory_that_a_peer_has_grown():
    memory = AnonymousMemory(4096)
    peer = AnonymousMemory.from_fd(os.dup(memory.fileno()))
    peer.grow(8192)
    peer.close()
    memory.seal()
    assert (memory.size, len(memory.buf)) == (4096, 4096)
    assert memory.refresh()
    assert (memory.size, len(memory.buf)) == (8192, 8192)


# --- on its way


@pytest.mark.parametrize("way", ["Pipe", "SimpleQueue", "Process"])
def test_sending_what_is_closed_is_an_error_for_who_sends(way):
    memory = AnonymousMemory(1000)
    memory.close()
    context = multiprocessing.get_context("spawn")
    with pytest.raises(ValueError, match=r"cannot send.*is closed"):
        if way == "Pipe":
            ours, theirs = context.Pipe()
            with ours, theirs:
                ours.send(memory)
        elif way == "SimpleQueue":
            queue = context.SimpleQueue()
            try:
                queue.put(memory)
            finally:
                queue.close()
        else:
            context.Process(target=print, args=(memory,)).start()


QUEUE = """
import multiprocessing, resource, time
from shmemext import AnonymousMemory

COUNT = 200

def receive(queue, results):
    time.sleep(0.5)  # until the sender has come to its limit
    received = [memory.buf[0] for memory in iter(queue.get, None)]
    results.put(received == [i % 256 for i in range(COUNT)])

def create(i):
    refused = 0
    while True:
        try:
            memory = AnonymousMemory(1000)
        except OSError as error:
            assert error.errno == 24 and "ulimit -n" in str(error), error
            refused += 1
            time.sleep(0.01)
        else:
            memory.buf[0] = i % 256
            return memory, refused

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")  # nothing to be imported
    queue, results = multiprocessing.Queue(), multiprocessing.Queue()
    receiver = multiprocessing.Process(target=receive, args=(queue, results))
    receiver.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    refused = 0
    for i in range(COUNT):
        memory, times = create(i)
        queue.put(memory)
        del memory
        refused += times
    queue.put(None)
    assert results.get(timeout=60)
    receiver.join()
    assert refused > 0
"""


def test_queue_loses_nothing_where_descriptors_run_out():
    """Neither an item nor the mark at the end. Whoever makes more of them
    than there may be is told."""
    done = python(QUEUE)
    assert (done.stdout, done.stderr) == ("", "")


def test_pipe_refuses_where_descriptors_run_out():
    python("""
import multiprocessing, resource
from shmemext import AnonymousMemory

memory = AnonymousMemory(1000)
ours, theirs = multiprocessing.Pipe()
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
sent = 0
try:
    while sent < 100:
        ours.send(memory)
        sent += 1
except OSError as error:
    assert error.errno == 24 and "ulimit -n" in str(error), error
assert 0 < sent < 40
for _ in range(sent):  # all of them can be received
    theirs.recv().close()
ours.send(memory)
theirs.recv().close()
""")
