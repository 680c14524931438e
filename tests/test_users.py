# SPDX-License-Identifier: MIT
"""lifetime="users": the name goes when the last process that has the segment
mapped is gone, however it went."""

import contextlib
import fcntl
import multiprocessing
import multiprocessing.managers
import multiprocessing.shared_memory
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from family_children import command, processes
from users_children import (
    DEV_SHM,
    Renamed,
    create_and_send,
    there,
    use_given,
    wait_until,
)

import shmemext
from shmemext import ShareableList, SharedMemory, _shmemext
from shmemext.managers import SharedMemoryManager

HERE = Path(__file__).parent
METHODS = ["fork", "spawn", "forkserver"]
STICKY = 0o1000


def create(name=None, **options):
    return SharedMemory(
        name, create=True, size=100, lifetime="users", **options
    )


def mode(name):
    return (DEV_SHM / name).stat().st_mode & 0o7777


def is_used(name):
    """Does anybody share the lock of its users? That alone says so: of who
    has it open in whichever way, a lease tells."""
    lock = struct.Struct("hhqqi4x")
    fd = os.open(DEV_SHM / name, os.O_RDONLY)
    try:
        asked = lock.pack(fcntl.F_WRLCK, os.SEEK_SET, 1 << 61, 1, 0)
        found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
    finally:
        os.close(fd)
    return lock.unpack(found)[0] == fcntl.F_RDLCK


class Program:
    """Another program, of a family of its own, that runs `code` and stays."""

    def __init__(self, code, *args):
        paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
        before = "import os, sys, users_children as users\n"
        self.process = subprocess.Popen(
            [
                *[sys.executable, "-W", "ignore", "-c"],
                *[f"{before}{code}\nusers.say('done')\nusers.stay()", *args],
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def lines(self):
        """What it says before it stays."""
        return list(
            iter(lambda: self.process.stdout.readline().strip(), "done")
        )

    def end(self):
        """Normally."""
        self.process.communicate("\n")
        assert self.process.returncode == 0

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def program():
    """Makes them, and ends those that are left."""
    made = []

    def make(code, *args):
        made.append(Program(code, *args))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.kill()
        one.process.stdout.close()
        one.process.stdin.close()


def fork(do):
    """A child that has all that we have, and a pipe to have it go on."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(theirs)
        os.read(ours, 1)
        do()
        os._exit(1)
    os.close(ours)
    return pid, theirs


def let_go_on(pid, pipe):
    os.close(pipe)
    return os.waitpid(pid, 0)[1]


# --- Who is a user


def test_name_goes_with_the_only_user():
    segment = create()
    assert is_used(segment.name)
    assert mode(segment.name) == STICKY | 0o600
    segment.close()
    assert not there(segment.name)


def test_ordinary_name_does_not():
    segment = SharedMemory(create=True, size=100, lifetime="family")
    segment.close()
    assert there(segment.name)
    segment.unlink()


@pytest.mark.parametrize("readonly", [False, True])
def test_attacher_keeps_the_name(readonly):
    segment = create()
    other = SharedMemory(segment.name, readonly=readonly)
    segment.close()
    assert is_used(segment.name)
    other.close()
    assert not there(segment.name)


def test_attacher_in_another_program_keeps_the_name(program):
    segment = create()
    user = program("users.attach(sys.argv[1])", segment.name)
    assert user.lines() == []
    segment.close()
    assert there(segment.name)
    user.end()
    assert not there(segment.name)


def test_views_keep_the_name():
    segment = create()
    view = segment.buf[10:]
    segment.close()
    assert there(segment.name)
    del view
    assert not there(segment.name)


def test_arrays_keep_the_name():
    numpy = pytest.importorskip("numpy")
    segment = create()
    array = numpy.ndarray(100, "B", segment.buf)
    segment.close()
    assert there(segment.name)
    array[0] = 7
    del array
    assert not there(segment.name)


def test_object_that_dies_goes():
    segment = create()
    name = segment.name
    del segment
    assert not there(name)


def test_descriptor_is_no_user():
    """It has the memory, but who looks for users does not count it; and who
    removes names does not remove what somebody has open."""
    segment = create()
    other = os.dup(segment.fileno())
    segment.close()
    assert there(segment.name)
    os.close(other)
    SharedMemory(segment.name).close()
    assert not there(segment.name)


def test_own_descriptor_goes_first():
    segment = create()
    assert segment.fileno() >= 0
    segment.close()
    assert not there(segment.name)


def test_forked_child_keeps_the_name():
    """Which never touches the memory, nor runs any code of ours."""
    segment = create()
    child = fork(lambda: os._exit(0))
    segment.close()
    assert is_used(segment.name)
    assert let_go_on(*child) == 0
    assert there(segment.name)
    assert not is_used(segment.name)
    SharedMemory(segment.name).close()
    assert not there(segment.name)


def test_forked_child_closes():
    segment = create()
    child = fork(lambda: (segment.close(), os._exit(0)))
    let_go_on(*child)
    assert there(segment.name)
    child = fork(lambda: (segment.close(), os._exit(0)))
    segment.close()
    assert there(segment.name)
    assert let_go_on(*child) == 0
    assert not there(segment.name)


def test_exec_drops_the_share(program):
    segment = create()
    child = fork(lambda: os.execv("/bin/sleep", ["sleep", "60"]))
    os.close(child[1])
    executable = Path(f"/proc/{child[0]}/exe")
    assert wait_until(lambda: "python" not in executable.readlink().name)
    segment.close()
    assert not there(segment.name)
    os.kill(child[0], signal.SIGKILL)
    os.waitpid(child[0], 0)


@pytest.mark.parametrize("refresh", [False, True])
def test_longer_mapping_keeps_the_name(refresh):
    """And the shorter one, which a view keeps, does too."""
    segment, other = create(), None
    view = segment.buf[1:]
    if refresh:
        with SharedMemory(segment.name) as grower:
            grower.grow(1 << 20)
        assert segment.refresh()
    else:
        segment.grow(1 << 20)
    assert len(segment.buf) == 1 << 20
    other = segment.buf[:1]
    del view
    assert is_used(segment.name)
    segment.close()
    assert is_used(segment.name)
    del other
    assert not there(segment.name)


def test_forked_child_has_what_grew():
    segment = create()
    for size in (1 << 13, 1 << 16, 1 << 20):
        assert len(segment.buf) < size
        segment.grow(size)
    child = fork(lambda: (segment.close(), os._exit(0)))
    segment.close()
    assert there(segment.name)
    assert let_go_on(*child) == 0
    assert not there(segment.name)


def test_many_who_leave_at_once():
    """Some of them find that somebody else is about to leave too."""
    segment = create()
    go, pids = os.pipe(), []
    for _ in range(12):
        pid = os.fork()
        if pid == 0:
            os.close(go[1])
            os.read(go[0], 1)
            segment.close()
            os._exit(0)
        pids.append(pid)
    segment.close()
    assert there(segment.name)
    os.close(go[0])
    os.close(go[1])
    for pid in pids:
        os.waitpid(pid, 0)
    assert not there(segment.name)


def test_threads_that_close_at_once():
    for _ in range(20):
        segment = create()
        objects = [segment, *[SharedMemory(segment.name) for _ in range(7)]]
        barrier = threading.Barrier(len(objects))

        def close(one, barrier=barrier):
            barrier.wait()
            one.close()

        threads = [
            threading.Thread(target=close, args=(one,)) for one in objects
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not there(segment.name)


def left_behind():
    """The name of a segment whose last user was killed, and a descriptor of
    it."""
    segment = create()
    fd = os.open(DEV_SHM / segment.name, os.O_RDWR)
    child = fork(lambda: os._exit(0))
    segment.close()
    let_go_on(*child)
    return segment.name, fd


@contextlib.contextmanager
def somebody_who_leaves():
    """Has the lock of what was left alone, for what he does then, unless the
    attendant was quicker: then of another one."""
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1 << 61, 1, 0)
    for _ in range(20):
        name, fd = left_behind()
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, lock)
        if there(name):
            break
        os.close(fd)
    else:
        pytest.fail("the attendant was always quicker")
    try:
        yield name
    finally:
        os.close(fd)


@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"readonly": True}, {"timeout": 0.01}]
)
def test_attacher_waits_for_who_is_about_to_leave(options, removes):
    """And then finds the name, or none."""
    results = []

    def attach(name):
        try:
            results.append(SharedMemory(name, **options))
        except FileNotFoundError:
            results.append(None)

    with somebody_who_leaves() as name:
        thread = threading.Thread(target=attach, args=(name,))
        thread.start()
        thread.join(0.05)
        assert results == []
        if removes:
            (DEV_SHM / name).unlink()
    thread.join()
    if removes:
        assert results == [None]
    else:
        results[0].close()
    assert not there(name)


# --- How a process ends


def test_normal_end_of_a_program(program):
    """With the memory mapped, and touched by a daemon thread. It is no doing
    of its family: that one does not own the name."""
    segment = create()
    segment.buf[1] = 9
    user = program(
        "users.touch_for_ever(users.attach(sys.argv[1]))\n"
        "users.attach(sys.argv[1], readonly=True).buf[0]\n"
        "users.attach(sys.argv[1]).buf[0]",
        segment.name,
    )
    assert user.lines() == []
    segment.close()
    user.end()
    assert not there(segment.name)


def test_normal_end_of_a_forked_child(program):
    """The first one is not the last user, the second one is."""
    maker = program(
        "name = users.create().name\n"
        "if (pid := os.fork()) == 0:\n"
        "    sys.exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "before = users.there(name)\n"
        "r, w = os.pipe()\n"
        "if (pid := os.fork()) == 0:\n"
        "    os.close(w)\n"
        "    os.read(r, 1)\n"
        "    sys.exit(0)\n"
        "users.kept.pop().close()\n"
        "between = users.there(name)\n"
        "os.close(w)\n"
        "os.waitpid(pid, 0)\n"
        "users.say(before, between, users.there(name))"
    )
    assert maker.lines() == ["True True False"]


@pytest.mark.parametrize("method", METHODS)
def test_normal_end_of_a_worker(method):
    """Which ends by os._exit(), and finalizes nothing."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    worker = context.Process(target=create_and_send, args=(theirs,))
    worker.start()
    name = ours.recv()
    assert there(name)
    ours.send(None)
    worker.join()
    assert worker.exitcode == 0
    assert not there(name)


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_killed_last_is_removed_by_the_family_later(end, program):
    """Without an attendant: a record or two are looked at with each create, in
    turn."""
    maker = program(
        "import shmemext._family\n"
        "shmemext._family.REAPER = '/nowhere'\n"
        "name = users.create().name\n"
        "other = users.create()\n"
        "r, w = os.pipe()\n"
        "if (pid := os.fork()) == 0:\n"
        "    os.close(w)\n"
        "    os.read(r, 1)\n"
        f"    {end}\n"
        "users.kept.pop(0).close()\n"
        "users.say(users.there(name))\n"
        "os.close(w)\n"
        "os.waitpid(pid, 0)\n"
        "users.say(users.there(name))\n"
        "for _ in range(4):\n"
        "    users.create()\n"
        "users.say(users.there(name), users.there(other.name))"
    )
    assert maker.lines() == ["True", "True", "False True"]


def attendants(where):
    wanted = b"users:" + os.fsencode(where)
    return [pid for pid, _, _ in processes() if wanted in command(pid)]


def test_killed_workers_of_a_server_leave_nothing(program):
    """One that was preloaded, and creates nothing itself."""
    server = program(
        "from family_children import directory\n"
        "names = []\n"
        "for _ in range(20):\n"
        "    r, w = os.pipe()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        os.write(w, users.create().name.encode())\n"
        "        os.kill(os.getpid(), 9)\n"
        "    os.waitpid(pid, 0)\n"
        "    names.append(os.read(r, 99).decode())\n"
        "users.say(directory(), *names)"
    )
    where, *names = server.lines()[0].split()
    assert len(names) == 20
    assert wait_until(lambda: not any(map(there, names)))
    (attendant,) = attendants(where)
    server.end()
    assert wait_until(lambda: not Path(f"/proc/{attendant}").exists())
    assert wait_until(lambda: not Path(where).exists())


@pytest.mark.parametrize("lifetime", ["family", "users"])
def test_attendant_is_there_for_users_only(lifetime, program):
    """One for each family, also where several processes create; and a killed
    one is followed by that of the next process."""
    code = f"""
from family_children import directory
import multiprocessing
for _ in range(3):
    child = multiprocessing.Process(
        target=users.SharedMemory, args=(None, True, 1),
        kwargs={{"lifetime": "{lifetime}"}}
    )
    child.start()
    child.join()
users.say(directory())
"""
    maker = program(f"{code}users.stay()\n{code}")
    where = maker.process.stdout.readline().strip()
    if lifetime == "users":
        assert wait_until(lambda: len(attendants(where)) == 1)
        os.kill(attendants(where)[0], signal.SIGKILL)
        assert wait_until(lambda: not attendants(where))
    maker.process.stdin.write("\n")
    maker.process.stdin.flush()
    maker.lines()
    expected = int(lifetime == "users")
    assert wait_until(lambda: len(attendants(where)) == expected)


def test_family_that_is_gone_while_a_stranger_is_a_user(program):
    """Its reaper waits for the stranger's end, who is killed."""
    maker = program("users.say(users.create().name)")
    [name] = maker.lines()
    user = program("users.attach(sys.argv[1])", name)
    assert user.lines() == []
    maker.kill()
    assert [one for one in _shmemext._sweep(False) if one[0] == name] == []
    assert there(name)
    user.kill()
    assert wait_until(lambda: not there(name))


def test_sweep_of_a_family_that_has_no_reaper(program):
    maker = program(
        "import shmemext._family\n"
        "shmemext._family.REAPER = '/nowhere'\n"
        "users.say(users.create().name)"
    )
    [name] = maker.lines()
    user = program("users.attach(sys.argv[1])", name)
    assert user.lines() == []
    maker.kill()
    for dry_run in (True, False):
        assert name not in [one[0] for one in _shmemext._sweep(dry_run)]
    assert there(name)
    user.kill()
    assert name in [one[0] for one in _shmemext._sweep(True)]
    assert there(name)
    assert name in [one[0] for one in _shmemext._sweep(False)]
    assert not there(name)


# --- Starting a process


@pytest.mark.parametrize("method", METHODS)
def test_argument_of_a_process(method):
    """Its parent closes right after the start: the child is a user before it
    has attached. Two objects of one segment, one that is twice there, one of
    a subclass, and a list."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    segment, items = create(), ShareableList([5, "x"], lifetime="users")
    renamed = Renamed(create=True, size=10, lifetime="users")
    segments = [segment, SharedMemory(segment.name), segment, items, renamed]
    names = {getattr(one, "shm", one).name for one in segments}
    worker = context.Process(target=use_given, args=(theirs, *segments))
    worker.start()
    for one in segments:
        getattr(one, "shm", one).close()
    ours.send(None)
    assert ours.recv() == [True] * len(segments)
    ours.send(None)
    worker.join()
    assert worker.exitcode == 0
    assert not [name for name in names if there(name)]


def shares():
    """Descriptors that lead to segments."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(fd.readlink()))
    return [to for to in found if "/dev/shm/" in to and "sem." not in to]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_start_leaves_no_descriptor(method):
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    segment = create()
    before = shares()
    worker = context.Process(target=use_given, args=(theirs, segment))
    worker.start()
    assert shares() == before
    ours.send(None)
    assert ours.recv() == [True]
    theirs_now = [
        str(fd.readlink()) for fd in Path(f"/proc/{worker.pid}/fd").iterdir()
    ]
    assert not [to for to in theirs_now if "/dev/shm/" in to]
    ours.send(None)
    worker.join()
    segment.close()
    assert not there(segment.name)


def test_start_that_fails_leaves_no_share():
    context = multiprocessing.get_context("spawn")
    segment = create()
    before = shares()
    worker = context.Process(target=use_given, args=(segment, lambda: None))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        worker.start()
    del worker
    assert shares() == before
    segment.close()
    assert not there(segment.name)


def test_pickle_is_a_name():
    """Where no process is being started."""
    segment = create()
    data = pickle.dumps(segment)
    assert data == pickle.dumps(SharedMemory(segment.name))
    other = pickle.loads(data)
    segment.close()
    assert there(other.name)
    other.close()
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


# --- What the name stands for


def test_exist_ok_takes_what_is_there():
    """It keeps the lifetime that it has."""
    first = create(exist_ok=True)
    second = create(first.name, exist_ok=True)
    third = SharedMemory(first.name, create=True, size=1, exist_ok=True)
    assert [one.created for one in (first, second, third)] == [1, 0, 0]
    first.close()
    second.close()
    assert there(first.name)
    third.close()
    assert not there(first.name)


def test_exist_ok_on_a_segment_of_a_family():
    first = SharedMemory(create=True, size=100)
    second = create(first.name, exist_ok=True)
    second.close()
    first.close()
    assert there(first.name)
    first.unlink()


def test_create_on_a_taken_name():
    segment = create()
    with pytest.raises(FileExistsError):
        create(segment.name)
    segment.close()
    create(segment.name).close()
    assert not there(segment.name)


@pytest.mark.parametrize("options", [{}, {"exist_ok": True}])
@pytest.mark.parametrize("lifetime", ["family", "users"])
def test_create_on_a_name_whose_last_user_was_killed(
    lifetime, options, program
):
    """It is as good as gone: what comes is new."""
    first = create()
    first.buf[0] = 7
    user = program("users.attach(sys.argv[1])", first.name)
    assert user.lines() == []
    first.close()
    user.kill()  # and nobody has looked since, or just has
    second = SharedMemory(
        first.name, create=True, size=10, lifetime=lifetime, **options
    )
    assert (second.created, second.buf[0]) == (True, 0)
    second.close()
    assert there(second.name) == (lifetime == "family")
    second.unlink(missing_ok=True)


def test_attach_beside_one_who_was_stopped_while_he_left():
    """It says why it was refused."""
    with (
        somebody_who_leaves() as name,
        pytest.raises(BlockingIOError) as caught,
    ):
        SharedMemory(name)
    assert "has been stopped" in caught.value.__notes__[0]
    SharedMemory(name).close()
    assert not there(name)


def test_name_of_another_file_stays():
    segment = create()
    other = SharedMemory(create=True, size=10)
    (DEV_SHM / segment.name).unlink()
    (DEV_SHM / other.name).rename(DEV_SHM / segment.name)
    segment.close()
    assert there(segment.name)
    (DEV_SHM / segment.name).unlink()


def test_unlink_is_an_end_too():
    segment = create()
    segment.unlink()
    assert not there(segment.name)
    again = create(segment.name)
    segment.close()
    assert there(again.name)
    again.close()
    with pytest.raises(FileNotFoundError):
        again.unlink()
    again.unlink(missing_ok=True)


def test_record_goes_with_the_name():
    segment = create()
    assert _shmemext._disown(segment.name)
    segment.close()
    segment = create()
    name = segment.name
    segment.close()
    assert not _shmemext._disown(name)


def test_user_of_the_standard_library():
    """Who knows nothing of locks is asked after, and keeps the name; it stays
    when he is gone, for who comes next, or for a sweep."""
    segment = create()
    options = {"track": False} if sys.version_info >= (3, 13) else {}
    other = multiprocessing.shared_memory.SharedMemory(segment.name, **options)
    if not options:
        tracker = multiprocessing.resource_tracker
        tracker.unregister(other._name, "shared_memory")
    segment.close()
    assert there(segment.name)
    other.close()
    assert there(segment.name)
    SharedMemory(segment.name).close()
    assert not there(segment.name)


def test_file_with_the_sticky_bit_is_no_segment_of_users(tmp_path):
    """That is for names in /dev/shm."""
    file = shmemext.MappedFile(
        tmp_path / "file", create=True, size=10, mode=STICKY | 0o600
    )
    file.close()
    assert (tmp_path / "file").exists()
    shmemext.MappedFile(tmp_path / "file").close()
    assert (tmp_path / "file").exists()


def test_program_that_keeps_its_names_from_the_tracker(monkeypatch):
    """Its segments are of no family, and their users count all the same."""
    monkeypatch.setattr(
        multiprocessing.resource_tracker, "register", lambda *_: None
    )
    segment = create()
    other = SharedMemory(segment.name)
    segment.close()
    assert there(segment.name)
    other.close()
    assert not there(segment.name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_last_user_is_another_user_of_the_machine(program):
    """He may not remove the name: its owner's family does."""
    maker = program(
        "segment = users.create(mode=0o666)\n"
        "users.say(segment.name)\n"
        "users.say('done')\n"
        "users.stay()\n"
        "segment.close()\n"
        "users.say(users.there(segment.name))\n"
        "users.say('done')\n"
        "users.stay()\n"
        "users.create().close()\n"
        "users.create()\n"
        "users.say(users.there(segment.name))"
    )
    [name] = maker.lines()
    user = program(
        "os.setgid(65534), os.setuid(65534)\n"
        "segment = users.attach(sys.argv[1])\n"
        "users.say('done')\n"
        "users.stay()\n"
        "segment.close()\n",
        name,
    )
    assert user.lines() == []
    maker.process.stdin.write("\n")
    maker.process.stdin.flush()
    assert maker.lines() == ["True"]
    user.process.stdin.write("\n")
    user.process.stdin.flush()
    assert user.lines() == []
    assert there(name)
    maker.process.stdin.write("\n")
    maker.process.stdin.flush()
    assert maker.lines() == ["False"]


# --- Arguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lifetime": "process"}, "'family' or 'users', not 'process'"),
        ({"lifetime": None}, "'family' or 'users', not None"),
        ({"lifetime": "users", "track": True}, "leave 'track' out"),
        ({"lifetime": "users", "track": False}, "leave 'track' out"),
        ({"lifetime": "users", "create": False}, "for create=True"),
        ({"mode": 0o1600}, "lifetime='users'"),
        ({"lifetime": "users", "mode": 0o444}, "0o200"),
    ],
)
def test_arguments_that_do_not_go_together(options, words):
    with pytest.raises(ValueError, match=words):
        SharedMemory(
            "shmemext-never", **{"create": True, "size": 1, **options}
        )
    assert not there("shmemext-never")


def test_sticky_bit_of_a_subclass():
    class Own(SharedMemory):
        _mode = 0o1600

    with pytest.raises(ValueError, match="lifetime='users'"):
        Own(create=True, size=1)


def test_lifetime_is_a_keyword():
    with pytest.raises(TypeError):
        SharedMemory(None, True, 1, "users")
    with pytest.raises(TypeError):
        ShareableList([1], lifetimes="users")


def test_list_of_users():
    items = ShareableList([1, "two"], lifetime="users")
    other = ShareableList(name=items.shm.name)
    items.shm.close()
    assert list(other) == [1, "two"]
    other.shm.close()
    assert not there(other.shm.name)
    with pytest.raises(ValueError, match="create=True"):
        ShareableList(name=other.shm.name, lifetime="users")


def test_list_that_cannot_be_filled(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(ShareableList, "_fill", fail)
    with pytest.raises(ZeroDivisionError):
        ShareableList([1], name="shmemext-users-list", lifetime="users")
    assert not there("shmemext-users-list")


def test_manager():
    """The name goes with its last user, at the latest with the manager; a
    name that is another's by then stays."""
    with SharedMemoryManager() as manager:
        gone = manager.SharedMemory(10, lifetime="users")
        items = manager.ShareableList([1], lifetime="users")
        used = manager.SharedMemory(10, lifetime="users")
        gone.close()
        items.shm.close()
        assert not there(gone.name)
        assert not there(items.shm.name)
        foreign = SharedMemory(gone.name, create=True, size=1)
        assert there(used.name)
    assert not there(used.name)
    assert there(foreign.name)
    foreign.unlink()
