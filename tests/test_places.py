# SPDX-License-Identifier: MIT
"""A /dev/shm that will not do, and systems that lack a call: either all works,
or an error says which memory it was, what is missing, and the way out.

Where the standard library fails too, the exception is its own, to the letter:
what there is more to say is a note.
"""

import errno
import json
import os
import subprocess
import sys
from functools import cache

import pytest
from machine import NOBODY
from preload import build, environment

# In a mount namespace: a /dev/shm with one name in it.
MOUNT = """
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
head -c 100 /dev/zero >/dev/shm/there
chmod 666 /dev/shm/there
"""

# A /dev with what a program needs, and no more.
OTHER_DEV = """
for node in null zero urandom; do
    touch "$1/$node"
    mount --bind "/dev/$node" "$1/$node"
done
mount --rbind "$1" /dev
"""

# What is done to /dev/shm; what is said of it.
PLACES = {
    "missing": (OTHER_DEV, ["there is no /dev/shm", "mount -t tmpfs"]),
    "file": (
        OTHER_DEV + 'touch "$1/shm"',
        ["/dev/shm is a regular file", "mount a tmpfs"],
    ),
    "readonly": (
        "mount -o remount,ro /dev/shm",
        ["/dev/shm is mounted read-only", "remount,rw"],
    ),
    "denied": (
        "chmod 755 /dev/shm",
        ["/dev/shm is of user 0, with mode 0o755", "chmod 1777 /dev/shm"],
    ),
    "dark": (
        "chmod 700 /dev/shm",
        ["/dev/shm is of user 0, with mode 0o700", "chmod 1777 /dev/shm"],
    ),
    "inodes": (
        "mount -o remount,nr_inodes=2 /dev/shm",
        ["0 of 2 inodes are free in /dev/shm", "remount,nr_inodes="],
    ),
}
AS_SOMEBODY_ELSE = "denied", "dark"

# Prints, for each call, what came of it.
CALLS = """
import json, os, sys
if sys.argv[1] == "multiprocessing":
    from multiprocessing import resource_tracker
    from multiprocessing.shared_memory import SharedMemory
    # Not what is asked here.
    resource_tracker.register = resource_tracker.unregister = lambda *_: None
else:
    from shmemext import SharedMemory, collect, segments, _shmemext

def outcome(call, *args, **kwargs):
    try:
        made = call(*args, **kwargs)
    except OSError as error:
        return {
            "type": type(error).__name__,
            "errno": error.errno,
            "text": str(error).replace(str(error.filename), "NAME"),
            "file": error.filename,
            "notes": getattr(error, "__notes__", []),
        }
    if isinstance(made, SharedMemory):
        made.close()
        if "create" in kwargs and "exist_ok" not in kwargs:
            made.unlink()
    return None

made = {
    "create": outcome(SharedMemory, "new", create=True, size=10),
    "create there": outcome(SharedMemory, "there", create=True, size=10),
    "draw": outcome(SharedMemory, create=True, size=10),
    "attach": outcome(SharedMemory, "new"),
    "attach there": outcome(SharedMemory, "there"),
}
if sys.argv[1] == "shmemext":
    made |= {
        "untracked": outcome(
            SharedMemory, "new", create=True, size=10, track=False
        ),
        "exist_ok": outcome(
            SharedMemory, "there", create=True, size=10, exist_ok=True
        ),
        "segments": outcome(segments),
        "collect": outcome(collect),
        "share": outcome(_shmemext._share),
        "found": outcome(_shmemext._found),
        "sweep": outcome(_shmemext._sweep, False),
    }
    _shmemext._leave()
left = []
if os.access("/dev/shm/.", os.R_OK):
    left = os.listdir("/dev/shm")
print(json.dumps({"calls": made, "left": left}))
"""


@cache
def namespace():
    """The command that runs another in a mount namespace, if any does."""
    for flags in ["-m"], ["-Urm"]:
        command = ["unshare", *flags, "bash", "-ec"]
        try:
            done = subprocess.run([*command, MOUNT], capture_output=True)
        except FileNotFoundError:
            return None
        if done.returncode == 0:
            return command
    return None


@cache
def as_nobody():
    """What runs a command as a user who owns nothing, if anything does."""
    line = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}"]
    line = [*line, "--clear-groups"]
    try:
        done = subprocess.run(
            [*line, sys.executable, "-c", "import shmemext"],
            capture_output=True,
        )
    except FileNotFoundError:
        return None
    return line if done.returncode == 0 else None


def in_namespace(code, prepare="", *args, become=(), directory=""):
    """What the code printed, and what is in /dev/shm after it."""
    if namespace() is None:
        pytest.skip("no permission to mount another /dev/shm (unshare)")
    done = subprocess.run(
        [
            *(*namespace(), f'{MOUNT}\n{prepare}\n"${{@:2}}"'),
            *("bash", directory, *become, sys.executable, "-c", code, *args),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def run_in(place, module, tmp_path):
    """What came of the calls, and what is in /dev/shm after them."""
    become = []
    if place in AS_SOMEBODY_ELSE:
        become = as_nobody()
        if become is None:
            pytest.skip("no other user can run this Python here (setpriv)")
    prepare = PLACES[place][0] if place else ""
    printed = in_namespace(
        CALLS, prepare, module, become=become, directory=tmp_path
    )
    made = json.loads(printed)
    return made.pop("calls"), made.pop("left")


def without_notes(outcomes):
    return {
        call: outcome and {**outcome, "notes": [], "file": None}
        for call, outcome in outcomes.items()
    }


@pytest.fixture(params=PLACES)
def place(request):
    return request.param


def test_place_fails_as_in_the_standard_library(place, tmp_path):
    theirs, _ = run_in(place, "multiprocessing", tmp_path)
    ours, _ = run_in(place, "shmemext", tmp_path)
    assert without_notes({call: ours[call] for call in theirs}) == (
        without_notes(theirs)
    )
    for call, outcome in theirs.items():
        if outcome is not None and call != "draw":
            assert ours[call]["file"] == outcome["file"]
    assert theirs["create"] is not None
    assert theirs["draw"] is not None
    assert ours["draw"]["file"].startswith("/psm_")


def test_place_is_named_with_the_way_out(place, tmp_path):
    words = PLACES[place][1]
    outcomes, after = run_in(place, "shmemext", tmp_path)
    for call in "create", "draw", "untracked", "share", "found":
        (note,) = outcomes[call]["notes"]
        assert all(word in note for word in words), note
    for call in "share", "found":
        assert outcomes[call]["file"] == "/dev/shm"
    # Of an attach, where it is the place that bars the way.
    attach = outcomes["attach"]["notes"]
    if place in ("missing", "file", "dark"):
        assert words[0] in attach[0]
        for call in "segments", "collect", "sweep":
            assert outcomes[call]["file"] == "/dev/shm", outcomes[call]
        assert words[0] in outcomes["sweep"]["notes"][0]
    else:
        assert attach == []
        assert outcomes["segments"] is outcomes["collect"] is None
        assert after == ["there"]


def test_place_that_is_read_only_can_be_read(tmp_path):
    outcomes, _ = run_in("readonly", "shmemext", tmp_path)
    place, way_out = outcomes["attach there"]["notes"]
    assert "read-only" in place
    assert "readonly=True attaches" in way_out
    assert outcomes["exist_ok"]["errno"] == errno.EROFS


def test_place_that_will_do_is_not_mentioned(tmp_path):
    outcomes, after = run_in(None, "shmemext", tmp_path)
    assert outcomes.pop("attach")["notes"] == []
    assert outcomes.pop("create there")["notes"] == []
    assert set(outcomes.values()) == {None}
    # The family's reaper may be at work still.
    assert [n for n in after if not n.startswith(".shmemext-")] == ["there"]


BUT_ONE_PAGE = """
import os
from shmemext import SharedMemory
page = os.sysconf("SC_PAGESIZE")
room = os.statvfs("/dev/shm").f_bavail
with open("/dev/shm/fill", "wb") as fill:
    os.posix_fallocate(fill.fileno(), 0, (room - 1) * page)
try:
    SharedMemory("new", create=True, size=10)
except OSError as error:
    print(error, error.__notes__)
print(sorted(n for n in os.listdir("/dev/shm") if n[0] != "."))
"""


def test_no_page_for_the_family_is_told_from_no_page_for_the_memory():
    said = in_namespace(BUT_ONE_PAGE, "mount -o remount,size=1m /dev/shm")
    assert "[Errno 28]" in said
    assert "'/new'" in said
    assert f"{os.sysconf('SC_PAGESIZE')} bytes are free in /dev/shm" in said
    assert said.endswith("['fill', 'there']\n")


FILES = """
import resource, sys
from importlib import import_module
SharedMemory = import_module(sys.argv[1]).SharedMemory
files = [open("/dev/null") for _ in range(50)]
resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))
for arguments in {"create": True, "size": 10}, {}:
    try:
        SharedMemory("shmemext-test-files", **arguments)
    except OSError as error:
        sys.stdout.write(f"{error}|{getattr(error, '__notes__', '')}|")
"""


def test_no_more_descriptors_names_the_segment_and_the_limit():
    theirs, ours = (
        subprocess.run(
            [sys.executable, "-c", FILES, module],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout.split("|")
        for module in ("multiprocessing.shared_memory", "shmemext")
    )
    assert theirs[::2] == ours[::2]
    assert "[Errno 24]" in ours[0]
    assert "'/shmemext-test-files'" in ours[0]
    assert "ulimit -n" in ours[1]
    assert "ulimit -n" in ours[3]


# --- calls that are missing


@pytest.fixture(scope="module")
def missing(tmp_path_factory):
    """The preloaded library, built."""
    return build("missing", tmp_path_factory.mktemp("missing"))


def run_without(library, calls, code, *args):
    """Runs the code, in which `fails()` prints what an error says."""
    prelude = """
import errno, os, sys
from shmemext import AnonymousMemory, MappedFile, SharedMemory
NAME = f"shmemext-test-places-{os.getpid()}"

def fails(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except OSError as error:
        name = error.filename
        print(errno.errorcode[error.errno], str(error), name == "/" + NAME)
        return
    sys.exit("nothing is missing")
"""
    done = subprocess.run(
        [sys.executable, "-c", prelude + code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment(library), "MISSING": calls},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


USE = """
def use(memory):
    memory.buf[:3] = b"abc"
    memory.grow(20000)
    memory.write(b"xyz", 19000)
    assert bytes(memory.buf[:3]) + bytes(memory.buf[19000:19003]) == b"abcxyz"
    memory.close()

shm = SharedMemory(NAME, create=True, size=10000, **{track})
SharedMemory(NAME).close()
use(shm)
shm.unlink()
try:
    SharedMemory(NAME, timeout=0.01)
except FileNotFoundError:
    pass
"""
OTHERS = """
memory = AnonymousMemory(10000)
memory.seal()
use(AnonymousMemory(10000))
use(MappedFile(sys.argv[1], create=True, size=10000))
"""

# What there is another way for.
HARMLESS = [
    *("getrandom=38", "getrandom=1", "memfd_noexec=13", "memfd_noexec=22"),
    *("statx=38", "inotify=38", "process_vm_readv=38", "mremap=38"),
    *("close_range=38", "lease=22", "populate=22", "populate=38"),
    *("pagemap=2", "future_write=22"),
]


@pytest.mark.parametrize("calls", HARMLESS)
def test_missing_call_for_which_there_is_another(missing, calls, tmp_path):
    code = USE.format(track={}) + OTHERS
    assert run_without(missing, calls, code, tmp_path / "file") == ""


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_no_locks_of_open_files(missing, code):
    """An old kernel does not know the command. No family, then; but all that
    needs none works, and nothing is left of the attempt."""
    for how in {}, {"lifetime": "users"}:
        said = run_without(
            missing,
            f"ofd={code}",
            "before = set(os.listdir('/dev/shm'))\n"
            f"fails(SharedMemory, NAME, create=True, size=10, **{how})\n"
            "left = set(os.listdir('/dev/shm')) - before\n"
            "assert not any(n.startswith('.shmemext') for n in left), left\n"
            "assert NAME not in left\n",
        )
        assert said.startswith("ENOSYS")
        assert "F_OFD_SETLK" in said
        assert "Linux 3.15" in said
        assert "track=False" in said
        assert said.endswith("True\n")  # the segment
    for track in True, False:
        code_ = USE.format(track={"track": track})
        assert run_without(missing, f"ofd={code}", code_) == ""


def test_no_locks_of_open_files_for_what_is_not_tracked(missing, tmp_path):
    use = USE[: USE.index("shm = ")]
    assert run_without(missing, "ofd=22", use + OTHERS, tmp_path / "f") == ""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EDQUOT, "usrquota_block_hardlimit"),
        (errno.ENFILE, "fs.file-max"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_no_more_for_this_user_or_machine(missing, code, words):
    said = run_without(
        missing,
        f"O_TMPFILE={code}",
        "try:\n    SharedMemory(NAME, create=True, size=100)\n"
        "except OSError as error: print(error.errno, error, error.__notes__)",
    )
    assert said.startswith(f"{code} ")
    assert "'/shmemext-test-places-" in said
    assert words in said


# What AnonymousMemory cannot do without.
ANONYMOUS = {
    "memfd=38": ["memfd_create(2)", "Linux 3.17", "SharedMemory"],
    "memfd=1": ["memfd_create(2)", "sandbox", "SharedMemory"],
    "seals=22": ["F_ADD_SEALS", "Linux 3.17", "SharedMemory"],
    "seals=38": ["F_ADD_SEALS", "sandbox", "SharedMemory"],
}


@pytest.mark.parametrize("calls", ANONYMOUS)
def test_no_memory_without_a_name(missing, calls):
    said = run_without(missing, calls, "fails(AnonymousMemory, 100)")
    assert said.startswith("ENOSYS")
    assert all(word in said for word in ANONYMOUS[calls]), said


def test_no_reserving_is_not_taken_for_no_memory(missing):
    said = run_without(
        missing,
        "fallocate=38",
        "AnonymousMemory(100, reserve=False)\n"
        "try:\n    AnonymousMemory(100)\n"
        "except OSError as error: print(error, error.__notes__)",
    )
    assert "memfd_create" not in said
    assert said == "" or "system call" in said


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_no_readonly_handle(missing, code):
    said = run_without(
        missing,
        f"future_write={code}",
        "fails(AnonymousMemory(100).readonly_handle)",
    )
    assert said.startswith("ENOTSUP")
    assert "F_SEAL_FUTURE_WRITE" in said
    assert "seal() " in said


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_no_second_mapping(missing, code):
    said = run_without(
        missing,
        f"mremap={code}",
        "memory = AnonymousMemory(100)\nhandle = memory.readonly_handle()\n"
        "fails(memory.grow, 100000)",
    )
    assert said.startswith("ENOSYS")
    assert "mremap(2)" in said
    assert "grow() first" in said


def test_nothing_reserved_for_what_nobody_may_write(missing):
    """By fallocate(), a seal that forbids to write forbids no growing."""
    said = run_without(
        missing,
        f"fallocate={errno.ENOSYS}",
        "memory = AnonymousMemory(100)\nhandle = memory.readonly_handle()\n"
        "fails(memory.grow, 100000)\nassert memory.size == 100\n"
        "memory = AnonymousMemory(100, reserve=False)\n"
        "handle = memory.readonly_handle()\nmemory.grow(100000)\n"
        "assert memory.size == 100000",
    )
    assert said.startswith("ENOSYS")
    assert "fallocate(2)" in said
    assert "grow() first" in said


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_no_populate(missing, code):
    said = run_without(
        missing,
        f"populate={code}",
        "shm = SharedMemory(NAME, create=True, size=100)\n"
        "fails(shm.populate)\nshm.unlink()",
    )
    assert said.startswith("ENOTSUP")
    assert "MADV_POPULATE_WRITE" in said
    assert "Linux 5.14" in said
    assert said.endswith("True\n")


def test_no_proc(missing, tmp_path):
    """Files with a name are opened by it; memory without one cannot be."""
    code = """
memory = AnonymousMemory(100)
fails(memory.grow, 10000)
fails(memory.seal)
fails(memory.readonly_handle)
memory.close()
for memory in (
    SharedMemory(NAME, create=True, size=100),
    MappedFile(sys.argv[1], create=True, size=100),
):
    memory.fileno()
    memory.grow(10000)
shm = SharedMemory(NAME)
shm.fileno()
shm.unlink()
fails(shm.grow, 20000)
"""
    said = run_without(missing, "procfd=2", code, tmp_path / "f").split("\n")
    for line in said[:4]:
        assert line.startswith("ENOENT")
        assert "/proc is not mounted" in line
        assert "mount -t proc" in line
    assert said[3].endswith("True")
    assert said[4:] == [""]


def test_no_proc_to_name_a_mapped_file(missing, tmp_path):
    said = run_without(
        missing,
        "linkat_empty=2,linkat_proc=2",
        "fails(MappedFile, sys.argv[1], create=True, size=100)",
        tmp_path / "f",
    )
    assert said.startswith("ENOENT")
    assert "/proc is not mounted" in said


def test_no_way_to_name_a_mapped_file(missing, tmp_path):
    said = run_without(
        missing,
        "linkat=38",
        "fails(MappedFile, sys.argv[1], create=True, size=100)",
        tmp_path / "f",
    )
    assert said.startswith("ENOSYS")
    assert "linkat(2)" in said
    assert "by other means" in said


def test_sweep_without_locks_tells_an_errno(missing):
    """Of a family that another system left, and that cannot be swept."""
    code = """
from pathlib import Path
from shmemext import _shmemext
family = Path("/dev/shm/.shmemext-2-" + "0" * 16 + f"{os.getpid():016x}")
family.mkdir(0o700)
(family / ".lock").touch()
try:
    told = {name: err for name, _, err in _shmemext._sweep(False)}
finally:
    (family / ".lock").unlink()
    family.rmdir()
assert told[family.name] == errno.ENOSYS, told
"""
    assert run_without(missing, "ofd=22", code) == ""
