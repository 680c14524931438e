# SPDX-License-Identifier: MIT
"""How the reaper is started, what an application sees of that, and who is told
where it cannot be."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from preload import build, environment

from shmemext._family import REAPER

NOBODY = 65534
PATIENCE = 60  # seconds: reapers are quick, machines may not be
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000

# Each of these programs creates a segment and says its name and its family.
PRELUDE = """
import ctypes, errno, os, resource, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
def create():
    global shm
    shm = shmemext.SharedMemory(create=True, size=100)
    family = shmemext._shmemext._own()
    print(shm.name, f"/dev/shm/.shmemext-2-{family}", flush=True)
"""
OURS = PRELUDE + "import shmemext\n"

# Root has no limit of processes.
BE_NOBODY = (
    f"os.setgroups([]); os.setresgid(*[{NOBODY}] * 3); "
    f"os.setresuid(*[{NOBODY}] * 3)"
    if os.geteuid() == 0
    else "pass"
)
as_nobody = (
    ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if os.geteuid() == 0
    else []
)
in_namespace = [
    "unshare",
    *([] if os.geteuid() == 0 else ["--map-root-user"]),
    *["--pid", "--fork", "--mount-proc"],
]


def command(code, *words, dev=False, enter=()):
    """Without -X dev, no warning filter is ours."""
    options = ["-X", "dev"] if dev else []
    return [*enter, sys.executable, *options, "-c", code, *map(str, words)]


def surroundings(**more):
    left_out = ("PYTHONWARNINGS", "PYTHONDEVMODE")
    kept = {k: v for k, v in os.environ.items() if k not in left_out}
    return {**kept, **more}


def ran(code, *words, env=None, **options):
    """Its output, and what it says on stderr."""
    done = subprocess.run(
        command(code, *words, **options),
        capture_output=True,
        text=True,
        timeout=300,
        env=surroundings(**(env or {})),
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout, done.stderr


@contextmanager
def running(code, *words, env=None, **options):
    """Stays until the block is over, or it is killed. Gives it, the name of
    its segment, and the directory of its family."""
    with subprocess.Popen(
        command(code + "\nsys.stdin.read()", *words, **options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=surroundings(**(env or {})),
    ) as process:
        try:
            name, directory = process.stdout.readline().split()
            yield process, name, Path(directory)
        except BaseException:
            process.kill()
            raise


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def is_there(name):
    return os.path.lexists(f"/dev/shm/{name}")


def reapers(directory):
    """The pids of those that are at work."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")[:-1]
            if words[1:] == [os.fsencode(directory)]:
                found.append(int(process.name))
    return found


def reaper_of(directory):
    """As it is when it has become nobody's child, and has its lock."""
    wait_until(lambda: (directory / ".reaper").exists())
    wait_until(lambda: len(reapers(directory)) == 1)
    return reapers(directory)[0]


def status(pid):
    """The parent, the group and the session of a process."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return list(map(int, text[text.rindex(")") + 2 :].split()[1:4]))


# --- where something stands before execve(), as preloaded libraries do


@pytest.fixture(scope="module")
def executing(tmp_path_factory):
    return environment(build("executing", tmp_path_factory.mktemp("reaper")))


def test_nobody_runs_beside_the_reaper_before_it_is_a_program(executing):
    """It shares the program's memory until then, and what the C library keeps
    for a thread: of two that take a lock at once, both as the same thread, one
    would sleep for ever, and the program's pipes stay open as long."""
    code = f"{OURS}create(); print(libc.executing_beside())"
    out, _ = ran(code, env=executing)
    name, _, beside = out.split()
    assert beside == "0"
    wait_until(lambda: not is_there(name))


def test_reaper_that_never_becomes_a_program(executing):
    """Left beside the program by a kill of the process in between: it is
    killed, or would hold what the program has, and there is another one."""
    env = {**executing, "ABANDONED": "1"}
    with running(OURS + "create()", dev=True, env=env) as (process, name, own):
        reaper_of(own)
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_there(name))
        wait_until(lambda: not own.exists())
        assert process.stdout.read() == ""  # nobody has it open any more


# --- where clone() makes no child without a signal at its end


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    return environment(build("refusing", tmp_path_factory.mktemp("reaper")))


REFUSALS = [errno.EPERM, errno.EINVAL, errno.ENOSYS]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_reaper_that_detaches_itself(refusing, refusal):
    env = {**refusing, "REFUSAL": str(refusal)}
    with running(OURS + "create()", dev=True, env=env) as (process, name, own):
        reaper = reaper_of(own)
        parent, group, session = status(reaper)
        assert parent != process.pid
        assert {group, session}.isdisjoint(status(process.pid)[1:])
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_there(name))
        wait_until(lambda: not own.exists())


def test_reaper_whose_start_is_killed(tmp_path):
    """The process between the program and it, which is in the program's group
    for a moment: there is another one."""
    env = environment(build("dying", tmp_path))
    with running(OURS + "create()", dev=True, env=env) as (process, name, own):
        reaper_of(own)
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_there(name))
        wait_until(lambda: not own.exists())


@pytest.mark.parametrize("how", ["SIG_DFL", "SIG_IGN", "nothing"])
def test_child_that_detaches_itself_is_waited_for(refusing, how):
    """Whatever the application does with SIGCHLD, blocked or not."""
    code = (
        OURS
        + """
how, = sys.argv[1:]
signal.signal(signal.SIGCHLD, getattr(signal, how, lambda *_: None))
signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1])
create()
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR1}
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""
    )
    env = {**refusing, "REFUSAL": str(errno.EPERM)}
    out, said = ran(code, how, dev=True, env=env)
    name, _, *rest = out.split()
    assert (rest, said) == (["no", "child"], "")
    wait_until(lambda: not is_there(name))


def test_reaper_that_comes_when_its_family_has_ended():
    """The sweep had removed all but the directory by then."""
    directory = Path(f"/dev/shm/.shmemext-2-{os.urandom(16).hex()}")
    directory.mkdir(mode=0o700)
    subprocess.run([REAPER, directory])
    assert not directory.exists()


def test_leader_of_a_group_forks_itself(tmp_path):
    """And says that this worked. There is no family for it to wait for."""
    line = [REAPER, tmp_path]
    assert subprocess.run(line, timeout=300).returncode == 1
    done = subprocess.run(line, start_new_session=True, timeout=300)
    assert done.returncode == 0


def may(*line, status=0):
    try:
        done = subprocess.run(line, capture_output=True)
    except OSError:
        return False
    return done.returncode == status


needs_a_limit = pytest.mark.skipif(
    not may(*as_nobody, REAPER, status=2),  # it says how it is used
    reason="a user whose processes have a limit may not run the reaper",
)


@needs_a_limit
def test_leader_of_a_group_that_cannot_fork_says_why(tmp_path):
    done = subprocess.run(
        [*as_nobody, REAPER, tmp_path],
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)),
        timeout=300,
    )
    assert done.returncode == errno.EAGAIN


# --- where more than one comes at the same time

TWO_CREATE = (
    OURS
    + """
import threading
family = shmemext._shmemext
os.close(family._share()[1])
os.write(1, b"/dev/shm/.shmemext-2-%s\\n" % family._own().encode())
def create_all():
    number = 0
    while True:
        number += 1
        name = f"{sys.argv[1]}-{threading.get_ident()}-{number}"
        shmemext.SharedMemory(name, create=True, size=1).unlink()
threading.Thread(target=create_all, daemon=True).start()
create_all()
"""
)


def test_all_are_killed_while_one_of_two_starts_it(name):
    """Neither creates before there is one. Who is killed before that may leave
    an empty directory."""
    for delay in range(40):
        options = {"stdout": subprocess.PIPE, "start_new_session": True}
        with subprocess.Popen(command(TWO_CREATE, name), **options) as process:
            directory = Path(process.stdout.readline().decode().strip())
            time.sleep(delay / 10_000)
            while process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        wait_until(lambda: not list(directory.glob("l*")))  # noqa: B023
        assert not list(Path("/dev/shm").glob(f"{name}*"))


# --- where it cannot be started


def may_unshare():
    code = f"import ctypes; print(ctypes.CDLL(None).unshare({UNSHARED}))"
    return ran(code)[0] == "0\n"


UNSHARED = CLONE_NEWPID | (0 if os.geteuid() == 0 else CLONE_NEWUSER)
needs_unshare = pytest.mark.skipif(
    not may_unshare(), reason="no right to make namespaces"
)

# What is done before the create; around the program; and what is said of it.
NONE = {
    "file": ('shmemext._family.REAPER += "-gone"', [], "No such file"),
    "bit": ("shmemext._family.REAPER = sys.argv[1]", [], "Permission denied"),
    "format": (
        "shmemext._family.REAPER = sys.argv[1]; os.chmod(sys.argv[1], 0o755); "
        "os.truncate(sys.argv[1], 3)",
        [],
        "Exec format error",
    ),
    "limit": (
        f"{BE_NOBODY}\nresource.setrlimit(resource.RLIMIT_NPROC, (1, 1))",
        [],
        "Resource temporarily unavailable",
    ),
    "subreaper": ("libc.prctl(36, 1, 0, 0, 0)", [], "come back to this"),
    "init": ("assert os.getpid() == 1", in_namespace, "is PID 1"),
    "namespace": (
        f"assert libc.unshare({UNSHARED}) == 0",
        [],
        "of another pid namespace",
    ),
}


@pytest.fixture(
    params=[
        pytest.param(how, marks=needs_a_limit if how == "limit" else ())
        for how in NONE
    ]
)
def none(request, tmp_path):
    """Where there can be no reaper. Gives the code and its argument, how to
    get there, and the words."""
    before, enter, words = NONE[request.param]
    if request.param in ("init", "namespace") and not (
        may_unshare() and may(*in_namespace, "true")
    ):
        pytest.skip("no right to make namespaces")
    copy = tmp_path / "shmemext-reaper"
    shutil.copyfile(REAPER, copy)  # without its mode
    code = f"{OURS}{before}\ncreate()"
    return (code, copy), enter, words


def test_no_reaper_is_a_warning_in_development_mode_alone(none):
    line, enter, words = none
    for dev in True, False:
        out, said = ran(*line, dev=dev, enter=enter)
        if dev:
            assert said.count("ResourceWarning: no reaper waits") == 1, said
            assert words in said
        else:
            assert said == ""
        name, own = out.split()
        assert not is_there(name)  # it has ended normally
        assert not Path(own).exists()


def test_no_reaper_and_killed_the_next_sweep_removes_it(none):
    line, enter, _ = none
    with running(*line, enter=enter) as (process, name, own):
        assert is_there(name)
        assert not reapers(own)
        inner = process.pid
        if enter and enter[0] == "unshare":  # it waits for who is PID 1 there
            children = f"/proc/{inner}/task/{inner}/children"
            inner = int(Path(children).read_text())
        os.kill(inner, signal.SIGKILL)
    sweep = "shmemext._shmemext._sweep(False)"
    ran(f"{OURS}{sweep}\n{BE_NOBODY}\n{sweep}")
    wait_until(lambda: not is_there(name))
    wait_until(lambda: not own.exists())


def test_no_reaper_that_is_an_error_fails_no_create(none):
    """-W error: it is written to stderr, as what cannot be raised is."""
    (code, copy), enter, words = none
    code = f"import warnings; warnings.simplefilter('error')\n{code}"
    out, said = ran(code, copy, dev=True, enter=enter)
    assert words in said
    assert len(out.split()) == 2


@pytest.mark.parametrize("module", ["multiprocessing", "shmemext"])
@needs_unshare
def test_fork_after_unshare_of_the_pid_namespace(module):
    """The first child is the init of the new one. The standard library's
    tracker becomes it, and stays; of ours nothing may come before the
    program's own."""
    code = f"""
import ctypes, os
if {module!r} == "shmemext":
    from shmemext import SharedMemory
else:
    from multiprocessing.shared_memory import SharedMemory
assert ctypes.CDLL(None).unshare({UNSHARED}) == 0
shm = SharedMemory(create=True, size=100)
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.write(writing, str(os.getpid()).encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(reading, 9).decode())
shm.unlink()
"""
    out, _ = ran(code)
    assert (int(out) == 1) == (module == "shmemext"), out
