# SPDX-License-Identifier: MIT
"""How a process comes to be of a family, and stays: csrc/core/life/family.h,
shmemext_family.py.

Where the standard library keeps a name as well, the test runs on both.
"""

import contextlib
import fcntl
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import venv
from pathlib import Path

import preload as preloaded
import pytest
from conftest import DEV_SHM
from family_children import (
    FAMILY,
    METHODS,
    bury,
    environment,
    gone,
    has_private_shm,
    is_alive,
    lock,
    open_files,
    path,
    record,
    some_directory,
    sweep,
    there,
    wait_until,
    with_private_shm,
)
from programs import Program, ran, reaper_of, stay

import shmemext
import shmemext_family

ROOT = os.geteuid() == 0
STARTED = ["spawn", "forkserver"]

every_method = pytest.mark.parametrize("method", METHODS)
each_started = pytest.mark.parametrize("method", STARTED)
needs_root = pytest.mark.skipif(not ROOT, reason="needs root")
needs_private_shm = pytest.mark.skipif(
    not has_private_shm(), reason="may not mount a /dev/shm of its own"
)

PRELUDE = """\
import importlib, multiprocessing, os, signal, sys, time
import late_children
from late_children import say
def started(method, target, *args):
    child = multiprocessing.get_context(method).Process(
        target=target, args=args
    )
    child.start()
    return child
def kill_me():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def late(code, *args, **options):
    """A program that has not imported shmemext as yet."""
    return Program(code, *args, prelude=PRELUDE, **options)


@pytest.fixture
def names(name):
    two = [f"{name}-{letter}" for letter in "ab"]
    yield two
    for one in two:
        path(one).unlink(missing_ok=True)


@pytest.fixture
def pids():
    """Of processes that outlive their program: killed in the end."""
    kept = []
    yield kept
    for pid in kept:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# --- Members from the first moment on


@each_started
def test_child_that_imports_late(both, method, name, pids):
    """Its parent is killed right after the start."""
    code = """
        module, method, name = sys.argv[1:]
        kind = importlib.import_module(module).SharedMemory
        shm = kind(name, create=True, size=1)
        started(method, late_children.attach_late, module, name, 0.5)
        kill_me()
    """
    with late(code, both.__name__, method, name) as program:
        pids.append(int(program.heard()))
        assert program.heard() == "attached"
        os.kill(pids[0], signal.SIGKILL)
        assert gone(name)


@each_started
@pytest.mark.parametrize("depth", [0, 2])
def test_children_that_never_import(method, depth, name):
    """A chain of them, each killed when it has started the next."""
    code = """
        from shmemext import SharedMemory
        shm = SharedMemory(sys.argv[1], create=True, size=1)
        started(sys.argv[2], late_children.hand_on, sys.argv[2], DEPTH)
        kill_me()
    """
    with late(code.replace("DEPTH", str(depth)), name, method) as program:
        last = int(program.heard())
        assert stay(name)
        os.kill(last, signal.SIGKILL)
        assert gone(name)


@every_method
@pytest.mark.parametrize("way", ["import", "install"])
def test_worker_creates_and_parent_has_only_imported(method, way, name):
    """Nor used anything of it: the family is founded by the start."""
    code = """
        import shmemext
        method, way, name = sys.argv[1:]
        module = "shmemext"
        if way == "install":
            shmemext.install()
            module = "multiprocessing.shared_memory"
        assert shmemext._shmemext._own() is None
        child = started(method, late_children.create_late, module, name)
        child.join()
        time.sleep(0.1)
        shmemext.SharedMemory(name).close()
        say("there")
        input()
    """
    with late(code, method, way, name) as program:
        assert program.heard() == "there"
        program.go_on()
        program.ended()
    assert gone(name)


@each_started
def test_child_of_an_installed_program(method, name):
    """Is of its family, when the parent is killed."""
    code = """
        import shmemext
        shmemext.install()
        from multiprocessing.shared_memory import SharedMemory
        shm = SharedMemory(sys.argv[2], create=True, size=1)
        started(sys.argv[1], late_children.attach_late,
                "multiprocessing.shared_memory", sys.argv[2], 0.3)
        kill_me()
    """
    with late(code, method, name) as program:
        child = int(program.heard())
        assert program.heard() == "attached"
        assert stay(name)
        os.kill(child, signal.SIGKILL)
        assert gone(name)


# --- The two carriers


@each_started
@pytest.mark.parametrize("lost", ["authkey", "entry"])
def test_one_carrier_is_enough(method, lost, name):
    """A program sets its authkey; a Process object was made before shmemext
    was imported."""
    code = """
        method, lost, name = sys.argv[1:]
        child = multiprocessing.get_context(method).Process(
            target=late_children.sleep_on
        )
        from shmemext import SharedMemory
        if lost == "authkey":
            multiprocessing.current_process().authkey = b"a secret"
            child = multiprocessing.get_context(method).Process(
                target=late_children.sleep_on
            )
        shm = SharedMemory(name, create=True, size=1)
        child.start()
        kill_me()
    """
    with late(code, method, lost, name) as program:
        child = int(program.heard())
        assert stay(name)
        os.kill(child, signal.SIGKILL)
        assert gone(name)


def test_authkey_is_what_it_was():
    """To programs, and when it may not be pickled."""
    key = multiprocessing.current_process().authkey
    assert isinstance(key, multiprocessing.process.AuthenticationString)
    assert bytes(key) == bytes(shmemext_family.Key(key))
    with pytest.raises(TypeError, match="disallowed"):
        key.__reduce__()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An interpreter that has no shmemext."""
    where = tmp_path_factory.mktemp("stranger")
    venv.EnvBuilder(symlinks=True).create(where)
    return where / "bin" / "python"


@each_started
@pytest.mark.parametrize("found", ["later", "never"])
def test_child_that_cannot_import_us(method, found, stranger, tmp_path, name):
    """Before sys.path is set, or at all: it lives, and is a member."""
    for of in Path(shmemext.__file__).parent, Path(shmemext_family.__file__):
        (tmp_path / of.name).symlink_to(of)
    for module in "late_children", "family_children":
        file = Path(__file__).with_name(f"{module}.py")
        (tmp_path / file.name).symlink_to(file)
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "late_children.py").symlink_to(
        Path(__file__).with_name("late_children.py")
    )
    code = """
        sys.path.insert(0, sys.argv[3])
        from shmemext import SharedMemory
        shm = SharedMemory(sys.argv[2], create=True, size=1)
        if sys.argv[4] == "never":
            sys.path.remove(sys.argv[3])
        started(sys.argv[1], late_children.sleep_on)
        kill_me()
    """
    program = Program(
        code,
        *(method, name, tmp_path, found),
        prelude=f"import sys; sys.path.append({str(tests)!r})\n{PRELUDE}",
        python=stranger,
        cwd="/",
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    with program:
        child = int(program.heard())
        assert stay(name)
        os.kill(child, signal.SIGKILL)
        assert gone(name)


@each_started
def test_program_that_a_child_runs_is_no_member(method, name, pids):
    """The child has not imported anything of ours when it starts a daemon."""
    code = """
        from shmemext import SharedMemory
        shm = SharedMemory(sys.argv[1], create=True, size=1)
        started(sys.argv[2], late_children.leave_a_daemon)
        kill_me()
    """
    with late(code, name, method) as program:
        pids.append(int(program.heard()))
        assert gone(name)
        os.kill(pids[0], 0)


@every_method
def test_start_leaves_no_descriptor_behind(both, method):
    """As many as without us."""
    code = """
        importlib.import_module(sys.argv[1])
        def count():
            return len(os.listdir("/proc/self/fd"))
        child = started(sys.argv[2], time.sleep, 0)
        child.join()
        child.close()
        before = count()
        children = [started(sys.argv[2], time.sleep, 600) for _ in range(3)]
        say(count() - before)
        for child in children:
            child.kill()
            child.join()
            child.close()
        say(count() - before)
    """
    with late(code, both.__name__, method) as program:
        while_they_run, afterwards = program.ended()
    assert (while_they_run, afterwards) == ("6", "0")


@each_started
def test_start_where_there_is_no_dev_shm(method, tmp_path):
    """Who shares nothing does not notice."""
    if not has_private_shm():
        pytest.skip("may not mount a /dev/shm of its own")
    code = """
        import shmemext
        child = started(sys.argv[1], late_children.say, "ran")
        child.join()
        say(child.exitcode)
    """
    before = with_private_shm([], "ro,size=4k")
    with late(code, method, before=before) as program:
        assert program.ended() == ["ran", "0"]


def test_other_process_objects(name):
    """Celery's pool puts one of its own in the current one's place, with
    another authkey: what is forked is a member by what it inherits."""
    code = """
        create(sys.argv[1])
        if os.fork() == 0:
            class Process:
                _config = {"authkey": b"another"}
                authkey = b"another"
            multiprocessing.process._current_process = Process()
            create(sys.argv[1] + "-2")
            os._exit(0)
        os.wait()
        time.sleep(0.1)
        assert attach(sys.argv[1] + "-2").size
        assert len(records(directory())) == 2
    """
    ran(code, name)
    assert gone(name, f"{name}-2")


@every_method
def test_two_programs_with_one_authkey(both, method, names):
    """A fixed one, as managers on several machines have it. They are two all
    the same: the end of the one is not that of the other's names. With the
    standard library it is not, either."""
    code = """
        module, method, name = sys.argv[1:]
        multiprocessing.current_process().authkey = b"abracadabra"
        kind = importlib.import_module(module).SharedMemory
        shm = kind(name, create=True, size=1)
        child = started(method, late_children.sleep_on)
        say("made")
        time.sleep(600)
    """
    arguments = both.__name__, method
    with late(code, *arguments, names[0]) as one:
        told = {one.heard(), one.heard()}
        assert "made" in told
        with late(code, *arguments, names[1]) as other:
            assert "made" in {other.heard(), other.heard()}
            os.kill(other.pid, signal.SIGKILL)
            assert stay(names[0])
        if both.__name__.startswith("shmemext"):
            assert gone(names[1])
        assert stay(names[0])


@needs_root
def test_service_that_drops_its_privileges():
    """It imports as root, and creates as somebody else: nothing of root's is
    left, not even for a moment."""
    before = set(DEV_SHM.glob(f"{FAMILY}*"))
    code = """
        os.setgid(65534)
        os.setuid(65534)
        create(sys.argv[1])
        say(directory().stat().st_uid, directory())
    """
    (said,) = ran(code, f"shmemext-test-dropped-{os.getpid()}")
    uid, where = said.split()
    assert uid == "65534"
    assert not there(where)
    mine = {w for w in set(DEV_SHM.glob(f"{FAMILY}*")) - before if is_alive(w)}
    assert not [w for w in mine if w.stat().st_uid == 65534]


@needs_root
@needs_private_shm
@pytest.mark.parametrize(
    "change",
    [
        "os.setgid(65534); os.setuid(65534)",
        'os.system("mount -t tmpfs t /dev/shm")',
    ],
    ids=["user", "mount"],
)
def test_fork_after_the_family_went_out_of_reach(change, name):
    """Parent and child are of the next one together: what a worker creates
    stays when it is killed."""
    code = f"""
        create(sys.argv[1] + "-first")
        {change}
        if os.fork() == 0:
            create(sys.argv[1])
            os.kill(os.getpid(), 9)
        os.wait()
        say(wait_until(lambda: not there(sys.argv[1]), 0.5))
        sweep()
        say(*there(sys.argv[1]))
    """
    said = ran(code, name, before=with_private_shm([]))
    assert said == ["False", name]


# --- Fork servers


@pytest.mark.parametrize("preload", ["family_children", "__main__"])
def test_fork_server_that_imported_us(preload, name):
    """It founds no family, and its children are of their parent's."""
    before = set(DEV_SHM.glob(f"{FAMILY}*"))
    code = """
        multiprocessing.set_forkserver_preload([PRELOAD])
        context = multiprocessing.get_context("forkserver")
        for i in range(3):
            child = context.Process(
                target=create_all, args=(f"{sys.argv[1]}-{i}",)
            )
            child.start()
            child.join()
            assert child.exitcode == 0
        for i in range(3):
            attach(f"{sys.argv[1]}-{i}")
        say(directory())
        input()
    """
    with Program(code.replace("PRELOAD", repr(preload)), name) as program:
        where = program.heard()
        new = set(DEV_SHM.glob(f"{FAMILY}*")) - before
        alive = {str(one) for one in new if is_alive(one)}
        assert where in alive
        program.go_on()
        program.ended()
    assert gone(where, *(f"{name}-{i}" for i in range(3)))


def test_fork_server_itself_is_no_member(name):
    """Its children's family ends with them and their parent."""
    code = """
        multiprocessing.set_forkserver_preload(["family_children"])
        create(sys.argv[1])
        run("forkserver", attach, sys.argv[1])
        from multiprocessing.forkserver import _forkserver
        say(_forkserver._forkserver_pid)
        maps = open(f"/proc/{_forkserver._forkserver_pid}/maps").read()
        assert "_shmemext" in maps and "/.shmemext-" not in maps
    """
    ran(code, name)
    assert gone(name)


# --- A worker's normal exit


@every_method
def test_last_worker_ends_and_no_reaper_is_there(method, name):
    """Nothing is finalized in it, but its names go all the same."""
    code = """
        import shmemext._family
        shmemext._family.REAPER = "/nowhere"
        create(sys.argv[2])
        context = multiprocessing.get_context(sys.argv[1])
        child = context.Process(target=sleep_until_told, args=(sys.argv[3],))
        child.start()
        say(child.pid)
        os.kill(os.getpid(), 9)
    """
    told = DEV_SHM / f"{name}-told"
    with Program(code, method, name, told) as program:
        (child,) = program.pids(1)
        program.process.wait()
        assert there(name) == [name]
        told.touch()
        try:
            assert wait_until(lambda: not Path(f"/proc/{child}").exists())
            assert not there(name)
        finally:
            told.unlink()


def test_exit_beside_daemon_threads_that_create(name):
    """Whatever they were at, nothing is left, and nothing waits for them."""
    code = """
        import threading, shmemext._family
        shmemext._family.REAPER = "/nowhere"
        def work(number):
            for i in range(1 << 30):
                shm = SharedMemory(f"{sys.argv[1]}-{number}-{i}", True, 1)
        create(sys.argv[1])
        say(directory())
        for i in range(4):
            threading.Thread(target=work, args=(i,), daemon=True).start()
        time.sleep(0.02)
    """
    for _ in range(10):
        (where,) = ran(code, name)
        assert not there(where)
        assert list(DEV_SHM.glob(f"{name}*")) == []


# --- Who looks, and who sweeps


def test_fork_while_another_thread_sweeps():
    """No child keeps the lock of a family that is dead."""
    code = """
        import threading
        going = True
        def work():
            while going:
                for _ in range(20):
                    bury(some_directory())
                sweep()
        thread = threading.Thread(target=work)
        thread.start()
        pids = []
        for _ in range(60):
            pid = os.fork()
            if pid == 0:
                time.sleep(600)
            pids.append(pid)
            time.sleep(0.002)
        going = False
        thread.join()
        sweep()
        left = {w for w in DEV_SHM.glob(FAMILY + "*")} - {directory()}
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        say(len(left))
    """
    if not has_private_shm():
        pytest.skip("may not mount a /dev/shm of its own")
    assert ran(code, before=with_private_shm([])) == ["0"]


def test_fork_when_the_interpreter_has_let_go_of_its_modules():
    """There is nothing to watch any more, and nothing is said of it."""
    code = """
        import builtins, os, sys
        import shmemext
        class Late:
            def __del__(self, os=os, modules=sys.modules):
                assert "multiprocessing.process" not in modules
                try:
                    if os.fork() == 0:
                        os._exit(0)
                    os.wait()
                except RuntimeError:
                    pass  # 3.12 and later refuse it
                os.write(1, b"done\\n")
        builtins.late = Late()
    """
    assert ran(code, prelude="") == ["done"]


def test_family_that_is_swept_while_it_is_founded(tmp_path):
    """Between the making of its .lock and the taking of that, it looks dead.
    Who is in one that was removed then could share it with nobody."""
    code = """
        import ctypes, threading
        from shmemext import _shmemext
        libc = ctypes.CDLL(None)
        ids = []
        def found():
            libc.failing_hold(b"fcntl")
            ids.append(_shmemext._found())
        thread = threading.Thread(target=found)
        thread.start()
        assert wait_until(libc.failing_holds)
        sweep()
        libc.failing_let_go()
        thread.join()
        say(*there(*[DEV_SHM / (FAMILY + id) for id in ids]))
    """
    library = preloaded.build("failing", tmp_path, "-DNO_MALLOC")
    env = {**environment(), **preloaded.environment(library)}
    (where,) = ran(code, env=env)
    assert where.startswith(f"{DEV_SHM}/{FAMILY}")


def test_lock_that_comes_while_its_directory_is_swept(tmp_path):
    """The sweep came before it was there, and takes it for no dead one's."""
    code = """
        import ctypes, threading
        libc = ctypes.CDLL(None)
        where = some_directory()
        where.mkdir(mode=0o700)
        def sweeps():
            libc.failing_hold(b"unlinkat")
            sweep()
        thread = threading.Thread(target=sweeps)
        thread.start()
        assert wait_until(libc.failing_holds)
        with (where / ".lock").open("x+") as file:
            lock(file, fcntl.F_RDLCK)
            libc.failing_let_go()
            thread.join()
            say(is_alive(where))
        sweep()
        say(where.exists())
    """
    library = preloaded.build("failing", tmp_path, "-DNO_MALLOC")
    env = {**environment(), **preloaded.environment(library)}
    assert ran(code, env=env) == ["True", "False"]


def test_looking_disturbs_nobody():
    """Whether a family lives is asked without taking its lock."""
    where = bury(some_directory())
    with (where / ".lock").open("r+") as file:
        lock(file, fcntl.F_WRLCK)  # a sweep is at work
        threads = [
            threading.Thread(target=shmemext.segments) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not is_alive(where)
    sweep()
    assert not there(where)


def test_lock_that_somebody_removed(name):
    """The family lives on, and its names with it; its children's too."""
    code = """
        create(sys.argv[1])
        where = directory()
        say(where)
        input()
        (where / ".lock").unlink()
        say("removed")
        input()
        run("spawn", create, sys.argv[1] + "-2")
        attach(sys.argv[1] + "-2")
        say(directory())
        input()
    """
    with Program(code, name) as program:
        where = program.heard()
        waiting = f"{where}/.lock"
        assert wait_until(lambda: waiting in open_files(reaper_of(where)))
        program.go_on()
        assert program.heard() == "removed"
        assert stay(name)
        program.go_on()
        other = program.heard()
        assert other != where
        assert stay(name, f"{name}-2")
        program.kill()
        assert gone(name, f"{name}-2", where, other)


@pytest.mark.parametrize("version", ["3-", ""], ids=["later", "first"])
def test_directory_of_another_version(version, name):
    """Nobody knows what is in it: it is left alone, and what it owns too."""
    path(name).write_bytes(b"x")
    where = DEV_SHM / f".shmemext-{version}{os.urandom(16).hex()}"
    bury(where, record(name, path(name).stat().st_ino))
    try:
        sweep()
        ran("create(sys.argv[1])", f"{name}-2")  # its reaper sweeps, too
        assert gone(f"{name}-2")
        assert there(name, where) == [name, where]
    finally:
        shutil.rmtree(where)


def knows_birth_times():
    done = subprocess.run(
        ["stat", "-c", "%W", DEV_SHM], capture_output=True, text=True
    )
    return done.stdout.strip() not in ("", "0", "-")


@pytest.mark.skipif(
    not knows_birth_times(), reason="the kernel's tmpfs has no birth times"
)
def test_inode_that_was_given_again(name):
    """The record's inode is the name's, but it was another file's then."""
    path(name).write_bytes(b"x")
    inode = path(name).stat().st_ino
    where = bury(some_directory(), record(name, inode, born=1))
    sweep()
    assert there(name, where) == [name]
    code = """
        create(sys.argv[1])
        (ledger,) = directory().glob("l*")
        say(int.from_bytes(ledger.read_bytes()[8:16], sys.byteorder))
    """
    (born,) = ran(code, f"{name}-2")
    assert abs(int(born) / 1e9 - time.time()) < 600


# --- Other roots, and other file systems over /dev/shm


OVER = """
    import ctypes
    create(sys.argv[1])
    first = directory()
    say(first)
    assert wait_until(lambda: reapers(first))
    libc = ctypes.CDLL(None)
    assert libc.unshare(0x00020000) == 0  # CLONE_NEWNS
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "t", "/dev/shm"], check=True)
    # Inodes begin anew: the same as of living names elsewhere.
    for i in range(int(sys.argv[2])):
        create(f"{sys.argv[1]}-{i}")
    assert directory() != first
    observer = subprocess.Popen(
        [sys.executable, "-c", "import os, time; input()\\n"
         "end = time.monotonic() + 60\\n"
         "while os.listdir('/dev/shm') and time.monotonic() < end:\\n"
         "    time.sleep(0.01)\\n"
         "print(sorted(os.listdir('/dev/shm')), flush=True)"]
    )
    END
"""


@needs_root
@needs_private_shm
@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"])
@pytest.mark.parametrize("count", [1, 40])
def test_mount_over_dev_shm(end, count, name):
    """What lies under it goes when the process does, what is in it as well,
    and what others have in the first one stays."""
    bystanders = [f"{name}-{i}" for i in range(40)]
    code = """
        for one in sys.argv[1:]:
            path(one).write_bytes(b"x")
        words = [sys.executable, "-W", "ignore", "-c", os.environ["OVER"]]
        with subprocess.Popen(
            [*words, sys.argv[1] + "-own", "COUNT"],
            stdin=subprocess.PIPE,
            text=True,
        ) as process:
            process.wait()
            wait_until(lambda: not there(sys.argv[1] + "-own"))
            time.sleep(0.2)
            process.stdin.write("\\n")
        assert there(*sys.argv[1:]) == sys.argv[1:]
        assert not there(sys.argv[1] + "-own")
        assert not list(DEV_SHM.glob(FAMILY + "*"))
    """
    over = textwrap.dedent(OVER).replace("END", end)
    said = ran(
        code.replace("COUNT", str(count)),
        *bystanders,
        before=[
            *with_private_shm([]),
            "env",
            f"OVER=from family_children import *\n{over}",
        ],
    )
    assert said[1] == "[]", said


@needs_root
@needs_private_shm
@pytest.mark.parametrize("kind", ["a folder", "a tmpfs of its own"])
def test_chroot(kind, name, tmp_path):
    """What was created before goes, and what was created there, too."""
    root = tmp_path / "root"
    (root / "dev" / "shm").mkdir(parents=True)
    (root / "proc").mkdir()
    code = """
        create(sys.argv[1])
        root, kind = sys.argv[2:]
        if kind != "a folder":
            subprocess.run(["mount", "-t", "tmpfs", "t", root + "/dev/shm"])
        pid = os.fork()
        if pid == 0:
            os.chroot(root)
            try:
                shm = SharedMemory("inside", create=True, size=1)
            except OSError as error:  # no O_TMPFILE there
                say(error.errno)
                os._exit(0)
            say(sorted(n[:9] for n in os.listdir("/dev/shm")))
            shmemext_leave()
            say(os.listdir("/dev/shm"))
            os._exit(0)
        os.wait()
        say(there(sys.argv[1]))
    """
    said = ran(
        code.replace("shmemext_leave", "new_family"),
        *(name, root, kind),
        before=with_private_shm([]),
    )
    if len(said) > 2:
        assert said[:2] == ["['.shmemext', 'inside']", "[]"], said
    assert said[-1] == f"['{name}']"


@pytest.mark.parametrize("first", ["multiprocessing.util", "shmemext"])
def test_forked_child_looks_for_no_modules(first):
    """In a dict that another thread had locked, without a GIL, it would wait
    for ever: the modules of the interpreter."""
    code = f"""
    import {first}
    import multiprocessing.process, multiprocessing.util, os, sys
    import shmemext._family as family

    class Looked:
        @property
        def modules(self):
            assert os.getpid() == parent
            return sys.modules

    parent = os.getpid()
    family.sys = Looked()
    child = os.fork()
    if child == 0:
        os._exit(not family._watches)
    assert os.waitpid(child, 0)[1] == 0
    family.sys = sys
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
