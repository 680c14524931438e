# SPDX-License-Identifier: MIT
"""What SharedMemory, MappedFile and AnonymousMemory have in common."""

import gc
import inspect
import multiprocessing
import os
import sys
import weakref

import children
import kinds
import pytest
from arrays import np
from conftest import descriptors, python

import shmemext
from shmemext import AnonymousMemory, MappedFile, Memory, SharedMemory

# numpy's threads do nothing that a fork could disturb.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

TYPES = [SharedMemory, MappedFile, AnonymousMemory]
SHARED = [
    "close",
    "fileno",
    "flush",
    "grow",
    "populate",
    "readinto",
    "refresh",
    "write",
]


@pytest.fixture(params=kinds.KINDS)
def kind(request, tmp_path):
    with kinds.kind_of(request.param, tmp_path) as kind:
        yield kind


@pytest.fixture(params=kinds.METHODS)
def context(request):
    return multiprocessing.get_context(request.param)


# --- the base type


def test_memory_is_the_base_of_all_three():
    assert all(issubclass(each, Memory) for each in TYPES)
    assert not issubclass(shmemext.ShareableList, Memory)
    names = {"Memory", "MappedFile", "AnonymousMemory", "SharedMemory"}
    assert names <= set(shmemext.__all__)


@pytest.mark.parametrize("arguments", [(), (100,), ("name",)])
def test_memory_itself_cannot_be_made(arguments):
    with pytest.raises(TypeError, match="Memory"):
        Memory(*arguments)


def test_object_that_init_never_ran_on_is_a_closed_one():
    for each in TYPES:
        memory = each.__new__(each)
        assert memory.buf is None
        memory.close()
        with pytest.raises(ValueError):
            memory.grow(100)
        with pytest.raises(ValueError):
            memory.write(b"x")
        del memory
    gc.collect()


@pytest.mark.parametrize("each", [Memory, *TYPES])
def test_methods_have_signatures_and_docstrings(each):
    for name in SHARED:
        method = getattr(each, name)
        assert method.__doc__, name
        assert str(inspect.signature(method)).startswith("(self, ")
    assert each.__doc__


def test_parameters_are_those_of_the_manual():
    def signature(method):
        return str(inspect.signature(method))

    assert signature(Memory.flush) == "(self, /, offset=0, size=None)"
    assert signature(Memory.write) == "(self, data, /, offset=0)"
    assert signature(Memory.readinto) == "(self, buffer, /, offset=0)"
    assert signature(Memory.grow) == "(self, size, /)"


def test_subclasses_work(kind, tmp_path, name):
    class Mine:
        note = None

    arguments = {
        "SharedMemory": (name, True, 100),
        "MappedFile": (tmp_path / "mine", True, 100),
        "AnonymousMemory": (100,),
    }
    base = getattr(shmemext, kind.name)
    mine = type("Mine", (Mine, base), {})(*arguments[kind.name])
    mine.note = "x"
    mine.grow(200)
    assert (mine.size, mine.note) == (200, "x")
    assert isinstance(mine, base)
    if kind.name == "SharedMemory":
        mine.unlink()
    mine.close()


# --- memory and views


@pytest.mark.parametrize("size", [1, 100, 4096, 5000, 3 << 20])
def test_memory_has_its_size_and_is_zeros(kind, size):
    memory = kind.create(size)
    assert memory.size == len(memory.buf) == memory.buf.nbytes == size
    assert kind.stat(memory).st_size == size
    assert not any(memory.buf)
    assert memory.readonly is False
    assert memory.buf.readonly is False
    assert (memory.buf.format, memory.buf.itemsize) == ("B", 1)
    memory.buf[size - 1] = 7
    assert kind.again(memory).buf[size - 1] == 7


def test_pages_are_reserved_unless_asked_otherwise(kind):
    held = kind.stat(kind.create(10 * kinds.PAGE)).st_blocks * 512
    assert held >= 10 * kinds.PAGE
    held = kind.stat(kind.create(1 << 30, reserve=False)).st_blocks * 512
    assert held < 1 << 20


@pytest.mark.parametrize("size", [0, -1, -sys.maxsize])
def test_size_that_is_not_positive_is_refused(kind, size):
    before = descriptors(), kinds.memfds()
    with pytest.raises(ValueError):
        kind.create(size)
    assert (descriptors(), kinds.memfds()) == before
    assert list(kind.directory.iterdir()) == []


@pytest.mark.parametrize("size", [1.5, "100", b"1", [1]])
def test_size_that_is_no_int_is_refused(kind, size):
    before = descriptors(), kinds.memfds()
    with pytest.raises(TypeError):
        kind.create(size)
    assert (descriptors(), kinds.memfds()) == before
    assert list(kind.directory.iterdir()) == []


def test_size_beyond_any_memory_is_an_error(kind, tmp_path):
    """In a process with a limit, lest a mistake eat the machine."""
    python(
        """
import resource, sys
import kinds
from conftest import descriptors
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
with kinds.kind_of(sys.argv[1], sys.argv[2]) as kind:
    for size in (1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, 1 << 70):
        for reserve in True, False:
            before = descriptors(), kinds.memfds()
            try:
                kind.create(size, reserve=reserve)
            except (OSError, OverflowError, MemoryError, ValueError):
                pass
            else:
                sys.exit(f"{size} went well")
            assert (descriptors(), kinds.memfds()) == before
    assert list(kind.directory.iterdir()) == []
    memory = kind.create(5000)
    memory.buf[0] = 7
    buf = memory.buf
    for size in (1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, 1 << 70):
        try:
            memory.grow(size)
        except (OSError, OverflowError, MemoryError, ValueError):
            pass
        else:
            sys.exit(f"growing to {size} went well")
    assert memory.size == kind.stat(memory).st_size == 5000
    assert memory.buf is buf and buf[0] == 7
""",
        kind.name,
        tmp_path,
        env=kinds.HERE,
    )


def test_buf_is_one_object(kind):
    memory = kind.create()
    assert memory.buf is memory.buf


def test_object_is_a_buffer_itself(kind):
    memory = kind.create(80)
    memoryview(memory)[3] = 5
    array = np.frombuffer(memory, dtype="i8")
    array[1] = 7
    assert memory.buf[3] == 5
    assert memory.buf[8] == 7


def test_views_outlive_close_and_object(kind):
    memory = kind.create(5000)
    peer = kind.again(memory)
    view = memory.buf[10:]
    array = np.ndarray(5000, dtype="u1", buffer=memory.buf)
    memory.close()
    view[0] = 1
    array[11] = 2
    assert bytes(peer.buf[10:12]) == b"\1\2"
    assert memory.buf is None


def test_with_closes(kind):
    with kind.create() as memory:
        memory.buf[0] = 1
    assert memory.buf is None


def test_with_closes_after_an_error(kind):
    memory = kind.create()
    with pytest.raises(ZeroDivisionError), memory:
        raise ZeroDivisionError
    assert memory.buf is None


def test_dropped_object_leaves_nothing_mapped(kind):
    before = descriptors(), kinds.memfds(), len(kinds.maps("s "))
    memory = kind.create()
    kind.made.clear()
    alive = weakref.ref(memory)
    path = kind.path(memory)
    memory.fileno()
    memory.buf[0] = 1
    del memory
    gc.collect()
    assert alive() is None
    after = descriptors(), kinds.memfds(), len(kinds.maps("s "))
    assert after == before  # shared mappings: "rw-s "
    if kind.name != "AnonymousMemory":
        os.unlink(path)  # noqa: PTH108


def test_only_anonymous_memory_keeps_a_descriptor(kind):
    before = len(descriptors())
    memories = [kind.create() for _ in range(5)]
    each = 1 if kind.name == "AnonymousMemory" else 0
    assert len(descriptors()) == before + 5 * each
    fds = [memory.fileno() for memory in memories]
    assert len(set(fds)) == 5
    assert len(descriptors()) == before + 5
    for memory, fd in zip(memories, fds, strict=True):
        assert os.get_inheritable(fd) is False
        memory.close()
    assert len(descriptors()) == before


def test_descriptor_is_that_of_the_memory(kind):
    memory = kind.create(5000)
    fd = memory.fileno()
    assert fd == memory.fileno()
    assert os.fstat(fd).st_size == 5000
    assert os.pwrite(fd, b"hello", 4000) == 5
    assert bytes(memory.buf[4000:4005]) == b"hello"


# --- closed


CALLS = {
    "fileno": lambda memory: memory.fileno(),
    "flush": lambda memory: memory.flush(),
    "flush of a part": lambda memory: memory.flush(0, 1),
    "grow": lambda memory: memory.grow(10_000),
    "grow to what it is": lambda memory: memory.grow(5000),
    "memoryview": memoryview,
    "populate": lambda memory: memory.populate(),
    "readinto": lambda memory: memory.readinto(bytearray(5)),
    "refresh": lambda memory: memory.refresh(),
    "write": lambda memory: memory.write(b"x"),
    "write nothing": lambda memory: memory.write(b""),
}


@pytest.mark.parametrize("call", CALLS)
def test_closed_is_value_error(kind, call):
    memory = kind.create(5000)
    memory.close()
    memory.close()
    with pytest.raises(ValueError, match="closed"):
        CALLS[call](memory)
    memory.close()


# --- flush


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (0,),
        (0, None),
        (0, 5000),
        (1, 1),
        (4097, 5),
        (4096,),
        (5000,),
        (5000, 0),
        (4999, 1),
        (0, 0),
    ],
)
def test_flush_takes_any_part(kind, arguments):
    memory = kind.create(5000)
    memory.buf[:5] = b"hello"
    assert memory.flush(*arguments) is None
    names = dict(zip(["offset", "size"], arguments, strict=False))
    assert memory.flush(**names) is None
    assert kind.again(memory, readonly=True).flush(*arguments) is None


@pytest.mark.parametrize(
    "arguments",
    [
        (-1,),
        (5001,),
        (5001, 0),
        (0, 5001),
        (4999, 2),
        (1, 5000),
        (0, -1),
        (sys.maxsize // 2 + 1,) * 2,
        (1, sys.maxsize),
    ],
)
def test_flush_outside_is_refused(kind, arguments):
    with pytest.raises(ValueError):
        kind.create(5000).flush(*arguments)


@pytest.mark.parametrize("arguments", [("0",), (1.5,), (0, "1")])
def test_flush_of_nonsense_is_type_error(kind, arguments):
    with pytest.raises(TypeError):
        kind.create(5000).flush(*arguments)


# --- processes


def test_process_takes_the_object(kind, context):
    memory = kind.create(100)
    memory.buf[:5] = b"hello"
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.report, args=(memory, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() == (kind.name, 100, False, b"hello")
    process.join()
    assert process.exitcode == 0
    kinds.run(context.get_start_method(), kinds.add_one, memory)
    assert memory.buf[0] == ord("h") + 1


def test_pipe_and_queue_carry_objects_both_ways(kind, context):
    memories = [kind.create(100 + i) for i in range(3)]
    requests = context.Queue()
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.serve, args=(requests, theirs), daemon=True
    )
    process.start()
    for memory in memories:
        memory.buf[0] = 5
        requests.put(memory)
    for memory in memories:
        assert ours.poll(kinds.PATIENCE)
        back = ours.recv()
        ours.send("arrived")
        assert (type(back), back.size) == (type(memory), memory.size)
        assert memory.buf[0] == back.buf[0] == 6
        back.buf[1] = 9
        assert memory.buf[1] == 9
        back.close()
    requests.put(None)
    process.join(kinds.PATIENCE)
    assert process.exitcode == 0
    requests.close()
    requests.join_thread()


def test_fork_leaves_both_sides_at_work(kind):
    memory = kind.create(100)
    pid = os.fork()
    if pid == 0:
        try:
            children.alternate(memory.buf, 1, 100)
            memory.close()
            os._exit(0)
        finally:
            os._exit(1)
    children.alternate(memory.buf, 0, 100)
    assert os.waitpid(pid, 0)[1] == 0
    assert memory.buf[0] == 200


def test_killed_process_takes_nothing_with_it(kind, context):
    memory = kind.create(100)
    ours, theirs = context.Pipe()
    process = context.Process(
        target=kinds.hold, args=(memory, theirs), daemon=True
    )
    process.start()
    assert ours.poll(kinds.PATIENCE)
    assert ours.recv() is False
    process.kill()
    process.join()
    memory.buf[0] = 1
    assert kind.again(memory).buf[0] == 1
    memory.grow(200)


# --- audit events


def test_audit_events(tmp_path, name):
    done = python(
        """
import sys
from shmemext import AnonymousMemory, MappedFile, SharedMemory
name, path = sys.argv[1:]
events = []
sys.addaudithook(
    lambda event, arguments: event.startswith("shmemext.")
    and events.append((event.removeprefix("shmemext."), *arguments))
)

def said():
    mine = events[:]
    events.clear()
    return mine

file = MappedFile(path, create=True, size=100)
assert said() == [("create", path, 100)], events
MappedFile(path)
assert said() == [("attach", path, 100)]
file.grow(200)
assert said() == [("grow", path, 200)]
anonymous = AnonymousMemory(100)
assert said() == [("create", None, 100)]
anonymous.grow(200)
assert said() == [("grow", None, 200)]
shm = SharedMemory(name, create=True, size=100, exist_ok=True)
assert said() == [("create", name, 100)]
again = SharedMemory(name, create=True, size=50, exist_ok=True)
assert said()[-1] == ("attach", name, 100)
shm.grow(200)
assert said() == [("grow", name, 200)]
shm.unlink()
""",
        name,
        tmp_path / "file",
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("event", ["create", "grow"])
def test_audit_hook_that_raises_stops_the_call(kind, event, tmp_path):
    python(
        """
import os, sys
import kinds
name, directory, forbidden = sys.argv[1:]

def hook(event, arguments):
    if event == "shmemext." + forbidden:
        raise PermissionError(event)

with kinds.kind_of(name, directory) as kind:
    if forbidden == "grow":
        memory = kind.create(100)
    sys.addaudithook(hook)
    try:
        memory.grow(200) if forbidden == "grow" else kind.create(100)
    except PermissionError:
        pass
    else:
        sys.exit("not stopped")
    if forbidden == "grow":
        assert memory.size == kind.stat(memory).st_size == 100
    else:
        assert not os.listdir(directory) and not kinds.memfds()
""",
        kind.name,
        tmp_path,
        event,
        env=kinds.HERE,
    )


# --- the standard library beside


def test_multiprocessing_is_untouched(tmp_path):
    done = python(
        """
import sys
from shmemext import AnonymousMemory, MappedFile, SharedMemory
kept = [
    AnonymousMemory(100),
    MappedFile(sys.argv[1], create=True, size=100),
    SharedMemory(create=True, size=100, exist_ok=True),
]
for memory in kept:
    memory.grow(200)
    memory.write(b"x")
kept[2].unlink()
assert "multiprocessing.shared_memory" not in sys.modules
assert "multiprocessing.resource_tracker" not in sys.modules
from multiprocessing import managers, reduction, shared_memory
assert shared_memory.SharedMemory.__module__ == shared_memory.__name__
assert managers.SharedMemoryManager.__module__ == managers.__name__
assert not issubclass(shared_memory.SharedMemory, type(kept[0]).__mro__[1])
for module in shared_memory, managers, reduction:
    for value in vars(module).values():
        assert not str(getattr(value, "__module__", "")).startswith("shm")
theirs = shared_memory.SharedMemory(create=True, size=100)
theirs.buf[0] = 5
assert SharedMemory(theirs.name).buf[0] == 5
theirs.close()
theirs.unlink()
""",
        tmp_path / "file",
    )
    assert (done.stdout, done.stderr) == ("", "")
