# SPDX-License-Identifier: MIT
"""Memory that outlives its SharedMemory: nothing here may kill a process.

Every script has a process of its own, which must end with 0 and print
nothing. `new()` makes a segment whose name is gone already, so that not even
a script that dies leaves one behind.
"""

import signal
import sysconfig
from textwrap import dedent

import pytest
from conftest import python

# A release build of the interpreter, without assertions.
NDEBUG = "-DNDEBUG" in str(sysconfig.get_config_var("CFLAGS")) + str(
    sysconfig.get_config_var("OPT")
)

PRELUDE = """\
import gc, resource, sys
from importlib import import_module

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
SharedMemory = import_module(sys.argv[1] + ".shared_memory").SharedMemory
SIZE = 1 << 20

def new(cls=SharedMemory):
    shm = cls(create=True, size=SIZE)
    shm.unlink()
    shm.buf[:] = b"\\7" * SIZE
    return shm

def check(view):
    "Every byte is still there, and can still be written."
    # nothing large is allocated: it could come to lie where the memory was
    flat = memoryview(view).cast("B")
    assert sum(flat) == 7 * len(flat) > 0
    flat[:] = flat
"""


def run(script, module="shmemext", env=None):
    arrays = "import numpy as np\n" if "np." in script else ""
    code = arrays + PRELUDE + dedent(script)
    return python(code, module, check=False, env=env)


def lives(script):
    done = run(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture(params=["shmemext", "multiprocessing"])
def only_ours_lives(request):
    """Runs a script on our module, where it must end well, and on the
    stdlib's, where it must die: a failure here tells when CPython mends it.
    A sanitizer would catch the signal, so that process goes without."""

    def run_on_module(script):
        if request.param == "shmemext":
            lives(script)
        else:
            done = run(script, request.param, env={"LD_PRELOAD": ""})
            assert done.returncode == -signal.SIGSEGV, done.stderr

    return run_on_module


# numpy over `.buf`: the array keeps the mapping, but exports nothing


def test_array_over_buf_outlives_close(only_ours_lives):
    only_ours_lives("""
        shm = new()
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        shm.close()
        check(array)
    """)


def test_array_over_buf_outlives_the_object(only_ours_lives):
    only_ours_lives("""
        shm = new()
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        del shm
        gc.collect()
        check(array)
    """)


def test_array_returned_from_the_function_that_owned_it(only_ours_lives):
    only_ours_lives("""
        def load():
            shm = new()
            return np.ndarray((4, SIZE // 4), "u1", buffer=shm.buf)

        check(load().ravel())
    """)


def test_array_over_a_released_slice_outlives_close(only_ours_lives):
    only_ours_lives("""
        shm = new()
        with shm.buf[16:] as view:
            array = np.ndarray(SIZE - 16, "u1", buffer=view)
        shm.close()
        check(array)
    """)


def test_slice_of_a_slice_of_an_array_outlives_close(only_ours_lives):
    only_ours_lives("""
        shm = new()
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)[16:][16:-16]
        shm.close()
        check(array)
    """)


def test_array_outlives_closing_the_mapping_by_hand(only_ours_lives):
    only_ours_lives("""
        shm = new()
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        shm.buf.release()
        shm._mmap.close()
        check(array)
    """)


def test_array_outlives_with_statement(only_ours_lives):
    only_ours_lives("""
        from contextlib import closing

        with closing(new()) as shm:
            array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        check(array)
    """)


def test_array_is_read_while_the_interpreter_shuts_down():
    lives("""
        class Reader:
            def __init__(self, array):
                self.array = array

            def __del__(self):
                self.array[:] = 8

        shm = new()  # cleared before the reader is
        reader = Reader(np.ndarray(SIZE, "u1", buffer=shm.buf))
    """)


def test_array_in_a_cycle_with_its_owner():
    lives("""
        class Reader:
            def __del__(self):
                check(self.array)

        shm = new()  # finalized before the reader is
        shm.reader = Reader()
        shm.reader.shm = shm
        shm.reader.array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        del shm
        gc.collect()
    """)


def test_array_of_the_first_mapping_when_init_is_called_twice():
    lives("""
        shm = new()
        first = np.ndarray(SIZE, "u1", buffer=shm.buf)
        pinned = np.ndarray(SIZE, "u1", buffer=shm)
        shm.__init__(create=True, size=SIZE)
        shm.unlink()
        assert first.base is not shm._mmap and bytes(shm.buf[:1]) == b"\\0"
        second = np.ndarray(SIZE, "u1", buffer=shm)
        shm.__init__(create=True, size=SIZE)
        shm.unlink()
        third = np.ndarray(SIZE, "u1", buffer=shm)
        second[:] = third[:] = 7
        shm.close()
        del shm
        gc.collect()
        for array in first, pinned, second, third:
            check(array)
    """)


# the SharedMemory itself as the buffer


def test_array_over_the_object_outlives_close_and_the_name():
    lives("""
        shm = new()
        array = np.ndarray(SIZE, "u1", buffer=shm)
        shm.close()
        check(array)
        del shm
        gc.collect()
        check(array)
    """)


def test_array_over_the_object_in_a_cycle():
    lives("""
        shm = new()
        shm.array = np.ndarray(SIZE, "u1", buffer=shm)
        shm.me = shm
        array = shm.array
        shm.close()
        del shm
        gc.collect()
        check(array)
    """)


def test_frombuffer_of_the_object_outlives_it():
    lives("""
        shm = new()
        arrays = [np.frombuffer(shm, "u1"), np.asarray(memoryview(shm))]
        shm.close()
        del shm
        gc.collect()
        for array in arrays:
            check(array)
    """)


def test_buffer_of_a_closed_object_is_value_error():
    lives("""
        shm = new()
        view = memoryview(shm)
        shm.close()
        for take in memoryview, np.frombuffer, bytes, bytearray:
            try:
                take(shm)
            except ValueError as error:
                assert "closed" in str(error)
            else:
                sys.exit(f"{take} took it")
        check(view)
    """)


def test_buffer_of_an_object_without_init_is_value_error():
    lives("""
        shm = SharedMemory.__new__(SharedMemory)
        try:
            memoryview(shm)
        except ValueError:
            shm.close()
        else:
            sys.exit("there is no memory")
    """)


# other consumers


@pytest.mark.parametrize(
    "expression",
    [
        "shm.buf[10:]",
        "shm.buf[10:][5:][::1]",
        "shm.buf.cast('d')",
        "shm.buf.cast('B', (1024, SIZE // 1024))",
        "memoryview(shm.buf)",
        "memoryview(shm)",
        "memoryview(shm._mmap)",
        "np.asarray(shm.buf)",
        "shm._mmap",
        "(ctypes.c_char * SIZE).from_buffer(shm.buf)",
        "(ctypes.c_char * SIZE).from_buffer(shm)",
        "pickle.PickleBuffer(shm.buf)",
        "pickle.PickleBuffer(shm)",
        "pickle.PickleBuffer(shm).raw()",
    ],
)
def test_close_with_live_view_keeps_memory(expression):
    lives(f"""
        import ctypes, pickle

        def end(shm, close):
            view = {expression}
            if close:
                shm.close()
                assert shm.buf is None
            return view

        for close in True, False:
            view = end(new(), close)
            gc.collect()
            flat = memoryview(view).cast("B")
            check(flat)
    """)


def test_read_only_view_outlives_close():
    lives("""
        shm = new()
        view = shm.buf.toreadonly()
        shm.close()
        del shm
        assert bytes(view) == b"\\7" * SIZE
    """)


def test_strided_view_outlives_close():
    lives("""
        shm = new()
        view = shm.buf[::-3]
        shm.close()
        del shm
        assert set(view) == {7}
        view[0] = 8
    """)


def test_iterator_over_buf_ends_or_goes_on_after_close():
    lives("""
        shm = new()
        items = iter(shm.buf)
        shm.close()
        del shm
        try:
            assert next(items) == 7
        except ValueError:  # released
            pass
    """)


def test_writers_into_the_buffer():
    lives("""
        import io, socket, struct, tempfile

        shm = new()
        view = memoryview(shm)
        struct.pack_into("q", shm, 0, 1)
        assert io.BytesIO(b"bytes").readinto(shm) == 5
        with tempfile.TemporaryFile() as file:
            file.write(b"a" * 100)
            file.seek(0)
            assert file.readinto(shm) == 100
        left, right = socket.socketpair()
        with left, right:
            left.send(b"hello")
            assert right.recv_into(shm) == 5
        assert bytes(view[:6]) == b"helloa"

        shm.close()
        struct.pack_into("q", view, 0, 2)
        assert struct.unpack_from("q", view) == (2,)
        for write in io.BytesIO(b"bytes").readinto, sys.stdin.buffer.readinto:
            try:
                write(shm)
            except (ValueError, TypeError):
                pass
            else:
                sys.exit("written after close")
    """)


def test_pickled_out_of_band_buffer_outlives_close():
    lives("""
        import pickle

        shm = new()
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        buffers = []
        data = pickle.dumps(array, 5, buffer_callback=buffers.append)
        shm.close()
        del shm, array
        again = pickle.loads(data, buffers=buffers)
        del buffers
        check(again)
    """)


# other threads, other ends


def test_arrays_are_read_in_threads_while_the_owners_close():
    lives("""
        import threading

        def read(array, go_on):
            while go_on.is_set():
                array += 0
                assert array[0] == 7

        shms = [new() for _ in range(4)]
        arrays = [np.ndarray(SIZE, "u1", buffer=shm.buf) for shm in shms[:2]]
        arrays += [np.ndarray(SIZE, "u1", buffer=shm) for shm in shms[2:]]
        go_on = threading.Event()
        go_on.set()
        threads = [
            threading.Thread(target=read, args=(array, go_on))
            for array in arrays
        ]
        del arrays
        for thread in threads:
            thread.start()
        for shm in shms:
            shm.close()
        del shm, shms
        gc.collect()
        go_on.clear()
        for thread in threads:
            thread.join()
    """)


def test_daemon_thread_holds_a_view_at_exit():
    lives("""
        import threading, time

        def hold(array):
            while True:
                array[:] = 8
                time.sleep(0)

        shm = new()
        array = np.ndarray(SIZE, "u1", buffer=shm)
        threading.Thread(target=hold, args=(array,), daemon=True).start()
        del array
        time.sleep(0.02)
    """)


def test_everything_alive_at_exit():
    lives("""
        import atexit

        def function(default=new()):
            return default

        class Keeper:
            shm = new()
            array = np.ndarray(SIZE, "u1", buffer=shm)

        SharedMemory.keep = new()
        SharedMemory.keep.me = SharedMemory.keep
        gc.keep = [new(), gc]
        sys.modules["kept"] = new()
        sys.keep = memoryview(new())
        opened = new()
        atexit.register(lambda: check(Keeper.array))
    """)


# programs that reach inside


def test_disarmed_object_is_left_alone():
    lives("""
        shm = new()
        mapping, view = shm._mmap, shm.buf
        shm._buf = None
        shm._mmap = None
        assert shm.buf is None
        shm.close()
        del shm
        check(view)
        check(mapping)
    """)


def test_foreign_values_in_the_private_attributes():
    lives("""
        class Closing:
            closed = 0
            def close(self):
                Closing.closed += 1

        for value in None, 5, bytearray(8), Closing(), Closing:
            shm = new()
            shm._mmap = value
            shm._buf = memoryview(b"abc")
            try:
                memoryview(shm)
            except (TypeError, ValueError):
                pass
            try:
                shm.close()
            except (AttributeError, TypeError):
                pass
        assert Closing.closed == 1
    """)


def test_object_that_is_its_own_mapping():
    lives("""
        shm = new()
        shm._mmap = shm
        try:
            memoryview(shm)
        except Exception:
            pass
        else:
            sys.exit("there is no memory")
        del shm
        gc.collect()
    """)


def test_private_attributes_of_a_type_that_is_none():
    lives("""
        for name, field in vars(SharedMemory).items():
            for instance, owner in (None, 5), (5, 5), (5, int):
                try:
                    field.__get__(instance, owner)
                except (AttributeError, TypeError):
                    pass
    """)


def test_mapping_is_made_by_segments_only():
    lives("""
        import copy, pickle

        mapping = new()._mmap
        cls = type(mapping)
        for make in (
            cls,
            lambda: object.__new__(cls),
            lambda: copy.copy(mapping),
            lambda: pickle.loads(pickle.dumps(mapping, 0)),
            lambda: pickle.loads(pickle.dumps(mapping)),
        ):
            try:
                make()
            except (TypeError, pickle.PicklingError):
                pass
            else:
                sys.exit("made without a segment")
        check(mapping)
    """)


def test_mapping_methods_stay_inside():
    lives("""
        mapping = new()._mmap
        huge = sys.maxsize
        for call in (
            lambda: mapping.flush(-huge - 1),
            lambda: mapping.flush(huge, huge),
            lambda: mapping.madvise(4, huge),
            lambda: mapping.madvise(4, -huge - 1),
            lambda: mapping.madvise(4, 0, -huge - 1),
            lambda: mapping.seek(huge),
            lambda: mapping.seek(-huge - 1),
            lambda: mapping.seek(huge, 1),
            lambda: mapping.seek(huge, 2),
            lambda: mapping.seek(-huge - 1, 2),
            lambda: mapping.write(bytes(SIZE + 1)),
        ):
            try:
                call()
            except ValueError:
                pass
            else:
                sys.exit("outside")
        mapping.seek(0, 2)
        assert mapping.read(huge) == mapping.readline() == b""
        mapping.seek(-1, 2)
        assert mapping.read(huge) == b"\\7"
    """)


# subclasses


def test_subclass_whose_close_raises():
    lives("""
        class Failing(SharedMemory):
            def close(self):
                raise OSError("swallowed, as in the stdlib")

        shm = new(Failing)
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        del shm
        check(array)
    """)


def test_subclass_whose_close_raises_something_else_is_reported():
    done = run("""
        class Failing(SharedMemory):
            def close(self):
                1 / 0

        shm = new(Failing)
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        del shm
        check(array)
    """)
    assert done.returncode == 0
    assert done.stderr.count("ZeroDivisionError") == 1


def test_subclass_whose_close_brings_it_back():
    lives("""
        kept = []

        class Lazarus(SharedMemory):
            def close(self):
                kept.append(self)

        shm = new(Lazarus)
        array = np.ndarray(SIZE, "u1", buffer=shm.buf)
        del shm
        (shm,) = kept
        check(shm.buf)
        check(memoryview(shm))
        kept.clear()
        del shm
        check(array)
        shm = new(Lazarus)
        shm.me = shm
        del shm
        gc.collect()
        check(kept[0].buf)
        kept.clear()
        gc.collect()
    """)


def test_subclass_with_slots_and_its_own_del():
    lives("""
        class Sub(SharedMemory):
            __slots__ = ("extra",)

            def __del__(self):
                super().__del__()
                check(self.extra)

        shm = new(Sub)
        shm.extra = np.ndarray(SIZE, "u1", buffer=shm)
        shm.__del__()
        extra = shm.extra
        del shm.extra
        shm.extra = shm.buf
        del shm
        check(extra)
    """)


def test_class_collected_with_its_last_object_and_descriptor():
    lives("""
        class Sub(SharedMemory):
            pass

        shm = Sub(create=True, size=SIZE)
        shm.me = shm
        assert shm.fileno() >= 0
        shm.unlink()
        del Sub, shm
        gc.collect()
    """)


def test_descriptor_of_the_first_mapping_when_init_is_called_twice():
    lives("""
        import os

        shm = SharedMemory(create=True, size=SIZE)
        before = os.listdir("/proc/self/fd")
        assert shm.fileno() >= 0
        shm.unlink()
        shm.__init__(create=True, size=SIZE)
        assert shm.fileno() >= 0
        shm.unlink()
        shm.close()
        assert os.listdir("/proc/self/fd") == before
    """)


def test_threads_take_slices_of_one_buf():
    """Without a GIL the interpreter loses count of them."""
    lives("""
        import threading

        def take(shm, kept, barrier):
            barrier.wait()
            buf = shm.buf
            for i in range(300):
                buf[i:]
                if i % 100 == 0:
                    kept.append(np.frombuffer(buf[i:], "u1", count=9))

        for turn in range(100):
            shm, kept, barrier = new(), [], threading.Barrier(8)
            threads = [
                threading.Thread(target=take, args=(shm, kept, barrier))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            shm.close()
            assert len(kept) == 8 * 3
            while kept:
                check(kept.pop())
        """)


# --- C code that keeps an object and gives its buffer back, as torch, Qt and
# pygame do


CONSUMER = """
import ctypes

class Buffer(ctypes.Structure):
    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("rest", ctypes.c_char * 80),
    ]

def take(exporter):
    "A tensor: the object that the buffer came from, and the address."
    view = Buffer()
    api = ctypes.pythonapi
    assert api.PyObject_GetBuffer(
        ctypes.py_object(exporter), ctypes.byref(view), 0
    ) == 0
    owner = ctypes.cast(view.obj, ctypes.py_object).value
    address = view.buf
    api.PyBuffer_Release(ctypes.byref(view))
    return owner, address

def read(tensor):
    assert ctypes.string_at(tensor[1], 9) == b"\\7" * 9

shm = new()
"""

KEPT = {
    "buf": "tensor = take(shm.buf); shm.close()",
    "buf, and the end of with": "with shm: tensor = take(shm.buf)",
    "buf, released by hand": "tensor = take(shm.buf); shm.buf.release()",
    "a slice": "tensor = take(shm.buf[9:]); shm.close()",
    "a slice, released": """
with shm.buf[9:] as view:
    tensor = take(view)
shm.close()
""",
    "a cast": "tensor = take(shm.buf.cast('q')); shm.close()",
    "a read-only view": "tensor = take(shm.buf.toreadonly()); shm.close()",
    "buf.obj": "tensor = take(shm.buf.obj); shm.close()",
}


@pytest.mark.parametrize("kept", KEPT)
def test_consumer_that_keeps_the_object_only(kept):
    lives(
        CONSUMER
        + KEPT[kept]
        + """
shm.close()
del shm
gc.collect()
read(tensor)
"""
    )


def test_consumer_of_a_view_dies_with_the_standard_library(only_ours_lives):
    """A view that nobody exports from is released by close() there."""
    only_ours_lives(
        CONSUMER
        + """
tensor = take(shm.buf)
shm.close()
read(tensor)
"""
    )


def test_consumer_of_the_object_itself_keeps_it():
    lives(
        CONSUMER
        + """
tensor = take(shm)
shm.close()
del shm
read(tensor)
"""
    )


@pytest.mark.skipif(
    not NDEBUG, reason="an interpreter with assertions keeps buf alive"
)
def test_buf_is_released_by_close_all_the_same(both):
    shm = both.SharedMemory(create=True, size=100)
    buf = shm.buf
    shm.close()
    shm.unlink()
    with pytest.raises(ValueError, match="released memoryview"):
        buf[0]


# --- code that runs inside an allocation: a collection, and a finalizer in it


@pytest.mark.parametrize(
    "action", ["shm.close()", "shm.buf", "shm.grow(shm.size + 5000)"]
)
@pytest.mark.parametrize("step", ["shm.buf", "memoryview(shm)", "bytes(shm)"])
def test_finalizer_within_an_allocation(action, step):
    """CPython 3.11 collects inside the allocation of buf, the others soon
    after: the memory, its views and the object agree in either case."""
    lives(f"""
        class Owner:
            def __init__(self, shm):
                self.shm = shm
                self.me = self

            def __del__(self):
                shm = self.shm
                try:
                    {action}
                except (ValueError, FileNotFoundError) as error:
                    pass  # closed, or unlinked, by then

        def mappings():
            with open("/proc/self/maps") as maps:
                return sum(
                    "/dev/shm/" in line and ".shmemext-" not in line
                    for line in maps
                )

        before = mappings()
        for i in range(300):
            shm = SharedMemory(create=True, size=5000)
            Owner(shm)
            garbage = [[] for _ in range(i % 3)]
            gc.set_threshold(1 + i % 6)
            try:
                view = {step}
                if view is not None:
                    view[0], view[4999]
            except ValueError as error:
                assert "closed" in str(error) or "released" in str(error)
            finally:
                gc.set_threshold(700)
            shm.unlink()
            shm.close()
            view = None
            del shm
            gc.collect()
        assert mappings() == before
    """)


KEYWORDS = """
class Argument:
    def find(self):
        for found in gc.get_referrers(self):
            if type(found) is dict and found.keys() >= KEYS:
                found.clear()
        gc.collect()
"""


def test_keywords_that_go_while_they_are_looked_at():
    lives(
        KEYWORDS
        + """
import weakref

KEYS = {"size", "track"}

class Size(Argument):
    def __ge__(self, zero):
        self.find()
        assert track() is not None
        return True

    def __index__(self):
        return 100

def keywords():
    global track
    one = Argument()
    track = weakref.ref(one)
    return {"create": True, "size": Size(), "track": one}

Argument.__bool__ = lambda self: False
shm = SharedMemory(**keywords())
assert shm._track is track()
shm.close()
shm.unlink()
"""
    )


def test_path_that_goes_while_the_others_are_looked_at(tmp_path):
    lives(
        KEYWORDS
        + f"""
from shmemext import MappedFile

KEYS = {{"path", "reserve"}}

class Reserve(Argument):
    def __bool__(self):
        self.find()
        self.texts = [path[:-3] + str(n) for n in range(100, 999)]
        return True

path = {str(tmp_path)!r} + "/name".ljust(40)
waiting = Reserve()

def keywords():
    own = path[:-1] + " "
    return {{"path": own, "create": True, "size": 1, "reserve": waiting}}

with MappedFile(**keywords()) as file:
    assert file.path == path
"""
    )


def test_exit_swallows_nothing_whatever_close_returns():
    lives("""
        class Sub(SharedMemory):
            def close(self):
                super().close()
                return True

        try:
            with new(Sub):
                raise KeyError("raised")
        except KeyError:
            pass
        else:
            raise AssertionError("swallowed")
        with new(Sub) as shm:
            pass
        assert Sub.__exit__(shm, None, None, None) is None
    """)


def test_death_while_an_exception_passes_leaves_its_context(both):
    """On CPython 3.11 it was put in front of the exception's own."""

    def load():
        try:
            {}["cause"]
        except KeyError:
            raise ValueError("late") from None

    shm = both.SharedMemory(create=True, size=100)
    try:
        with pytest.raises(ValueError, match="late") as caught:
            try:
                raise OSError("earlier")
            except OSError:
                # a temporary object, which dies on the way out
                print(both.SharedMemory(shm.name), load())
        assert isinstance(caught.value.__context__, KeyError)
    finally:
        shm.close()
        shm.unlink()


def test_chain_of_objects_dies_without_recursion():
    lives("""
        last = None
        for _ in range(300_000):
            shm = SharedMemory.__new__(SharedMemory)
            shm._track = last
            last = shm
        del last, shm
    """)


# --- in another thread than the one that made it


def in_a_thread(work):
    """While the maker waits: without a GIL what it made is its own."""
    return f"""
        import threading

        failed = []

        def work():
            try:
                {work}
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not failed, failed
    """


def test_close_in_another_thread_gives_back_at_once():
    lives(
        """
        def is_mapped(name):
            with open("/proc/self/maps") as maps:
                return any(line.split()[4] == name for line in maps)

        shm = SharedMemory(create=True, size=8 << 20)
        shm.buf[0] = 7
        import os
        inode = str(os.stat("/dev/shm/" + shm.name).st_ino)
        assert is_mapped(inode)
        box = [shm]
        del shm
        """
        + in_a_thread(
            "shm = box.pop(); shm.close(); shm.unlink();"
            " assert not is_mapped(inode)"
        )
    )


@pytest.mark.parametrize(
    "before, work",
    [
        ("memory.buf[:5] = b'hello'", "memory.seal()"),
        ("", "memory.buf[:5] = b'hello'; memory.seal()"),
        (
            "box = [memory.buf[:5]]",
            "view = box.pop(); view[:] = b'hello'; del view; memory.seal()",
        ),
    ],
)
def test_seal_in_another_thread(before, work):
    lives(
        f"""
        from shmemext import AnonymousMemory
        memory = AnonymousMemory(100)
        {before}
        """
        + in_a_thread(work)
        + """
        assert memory.sealed
        assert bytes(memory.buf[:5]) == b"hello" or not memory.buf[0]
        """
    )
