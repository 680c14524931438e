# SPDX-License-Identifier: MIT
"""The example programs print what the README shows."""

import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from arrays import np
from conftest import DEV_SHM
from machine import wait_until

import shmemext

EXAMPLES = Path(__file__).parent.parent / "examples"
NAME = "MyMemory"  # the one that the README uses

A = f"A wrote to SharedMemory('{NAME}', size=1024)\n"
B = "B reads: Hello from child process\n"
PROCESS = "parent reads: Hello from child process\n"


@pytest.fixture(autouse=True)
def name_is_free():
    assert not (DEV_SHM / NAME).exists(), f"somebody else has a {NAME}"
    yield
    (DEV_SHM / NAME).unlink(missing_ok=True)


def run(program, *options, arguments=(), **others):
    return subprocess.run(
        [sys.executable, *options, str(EXAMPLES / program), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        **others,
    )


def outputs(done):
    return done.returncode, done.stdout, done.stderr


def printed_by(program, *, needs_numpy=False):
    """Lines of one that ends well."""
    if needs_numpy and not np:
        pytest.skip("there is no numpy")
    status, printed, errors = outputs(run(program, "-Werror"))
    assert (status, errors) == (0, "")
    return printed.removesuffix("\n").split("\n")


def test_demo():
    assert outputs(run("demo.py")) == (0, A + B + PROCESS, "")


def test_process():
    assert outputs(run("process.py", "-Werror")) == (0, PROCESS, "")


def test_applications():
    with subprocess.Popen(
        [sys.executable, "-Werror", str(EXAMPLES / "application_a.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as a:
        assert a.stdout.readline() == A
        assert outputs(run("application_b.py", "-Werror")) == (0, B, "")
        assert outputs(run("application_b.py", "-Werror")) == (0, B, "")
        assert a.communicate("\n", timeout=300) == ("", "")
    assert a.returncode == 0
    assert not (DEV_SHM / NAME).exists()


def test_application_b_alone_says_what_is_missing():
    done = run("application_b.py")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"FileNotFoundError: [Errno 2] No such file or directory: '/{NAME}'"
    )


def test_counter_goes_on_after_restarts(tmp_path):
    path = tmp_path / "numbers"
    squares = []
    for start in range(1, 5):
        squares.append(start**2)
        printed = f"start {start} of {path}\nsquares: {squares}\n"
        done = run("counter.py", "-Werror", arguments=[path])
        assert outputs(done) == (0, printed, "")


def test_counter_has_a_file_of_its_own(tmp_path):
    done = run("counter.py", cwd=tmp_path)
    path = tmp_path / "counter.mapped"
    assert outputs(done) == (0, f"start 1 of {path}\nsquares: [1]\n", "")
    assert path.stat().st_size == 800


def test_counter_survives_a_hundred_starts(tmp_path):
    """The array is full by then, and begins anew."""
    path = tmp_path / "numbers"
    path.write_bytes((99).to_bytes(8, sys.byteorder) + bytes(792))
    done = run("counter.py", arguments=[path])
    assert done.stdout.splitlines()[1] == "squares: [1]"


def test_anonymous():
    assert outputs(run("anonymous.py", "-Werror")) == (
        0,
        "readonly: HELLO from child process\n"
        "sealed: HELLO from child process\n",
        "",
    )


def test_growing():
    assert not (DEV_SHM / "MyLog").exists(), "somebody else has a MyLog"
    done = run("growing.py", "-Werror")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line[-1] for line in lines] == ["x"] * 3
    assert lines[0] == f"64 bytes, grown=False: line 1: {'x' * 30}"
    assert "grown=True: line 2" in lines[1]
    assert not (DEV_SHM / "MyLog").exists()


def test_audit_puts_right_what_a_killed_transfer_left(tmp_path):
    path = tmp_path / "accounts"

    def see(program, *more):
        return outputs(run(program, "-Werror", arguments=[path, *more]))

    assert see("transfer.py") == (0, "900 100\n", "")
    assert see("audit.py") == (0, "900 100 sum: 1000\n", "")
    assert see("transfer.py", "die") == (-signal.SIGKILL, "", "")
    status, _, errors = see("transfer.py")
    assert status == 1 and "OwnerDied: [Errno 130] process" in errors
    torn = "800 199 sum: 999 in the middle of a move\n"
    assert see("audit.py") == (0, torn, "")
    assert see("audit.py") == (0, "800 200 sum: 1000\n", "")
    assert see("transfer.py") == (0, "700 300\n", "")


def test_audit_sees_whole_transfers_only(tmp_path):
    path = tmp_path / "accounts"
    for number in range(1, 4):
        transfers = [
            subprocess.Popen([sys.executable, EXAMPLES / "transfer.py", path])
            for _ in range(2)
        ]
        while any(transfer.poll() is None for transfer in transfers):
            if path.exists():
                done = run("audit.py", arguments=[path])
                assert done.stdout.endswith(("sum: 1000\n", "sum: 0\n"))
        assert [transfer.returncode for transfer in transfers] == [0, 0]
        done = run("audit.py", arguments=[path])
        left = 1000 - 200 * number
        assert done.stdout == f"{left} {1000 - left} sum: 1000\n"


def test_work_queue_loses_nothing_of_a_killed_worker():
    assert outputs(run("work_queue.py", "-Werror")) == (
        0,
        "sum of squares: 328350\nkilled: 1\n",
        "",
    )


WRITER_DIES = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from multiprocessing import Process
from shmemext import Channel
import work_queue

if __name__ == "__main__":
    jobs, results = Channel(create=True), Channel(create=True)
    for _ in range(2):
        Process(target=work_queue.work, args=(jobs, results)).start()
    for number in range(10):
        jobs.put(b"%d" % number)
    for _ in range(10):
        results.get(timeout=60)
    print(jobs.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_see_that_their_writer_is_gone(tmp_path):
    """Who reads what they print reads to the end of the last one."""
    program = tmp_path / "program.py"
    program.write_text(WRITER_DIES)
    status, name, errors = outputs(run(program, arguments=[EXAMPLES]))
    assert (status, errors) == (-signal.SIGKILL, "")
    assert no_longer_there(DEV_SHM / name.strip())


def test_poison_is_put_aside_and_the_rest_is_done():
    assert printed_by("poison.py") == [
        "19 done, 2 workers killed",
        "put aside: b'13'",
    ]


def test_async_server_answers_though_a_worker_is_killed():
    assert printed_by("async_server.py") == [
        "[0, 1, 4, 9, 16]",
        "[100, 121, 144, 169, 196]",
        "[400, 441, 484, 529, 576]",
        "killed: 1",
    ]


def test_camera_that_is_started_again_is_the_same():
    assert printed_by("camera_restart.py") == [
        "frame 3 b'a picture' writer: None",
        "frame 5 b'a picture' writer: None",
    ]
    assert no_longer_there(DEV_SHM / "camera-restart")


def no_longer_there(path):
    """Its family's reaper needs a moment."""
    deadline = time.monotonic() + 60
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not path.exists()


# The eight programs of docs/programs.md


def test_big_array_is_one_for_all():
    printed = printed_by("big_array.py", needs_numpy=True)
    assert printed == ["3999999 15999996000000"]


def test_dataframe_reaches_all_workers():
    if not find_spec("pandas"):
        pytest.skip("there is no pandas: make consumers installs it")
    assert printed_by("dataframe.py") == [
        "[(0, 49999.8), (1, 49999.9), (2, 50000.0), (3, 50000.1)]"
    ]


def test_tiles_are_all_done_though_a_worker_is_killed():
    printed = printed_by("tiles.py", needs_numpy=True)
    assert printed == ["1000 tiles, the sum is 8183808000"]


def test_live_plot_ends_with_the_last_step():
    shown = printed_by("live_plot.py", needs_numpy=True)
    steps = [int(line.split()[0]) for line in shown]
    assert steps == sorted({*steps}) and steps[-1] == 5000
    assert shown[-1].count("@") > 4


def test_frame_ring_leaves_none_out():
    shown = printed_by("frame_ring.py", needs_numpy=True)
    assert shown == ["200 frames, in order: True"]


def test_progress_counts_all_that_is_done():
    *parts, last = printed_by("progress.py")  # \r is a newline to us
    assert last == "1000 of 1000 done"
    percents = [int(part.removesuffix(" %")) for part in parts]
    assert percents == sorted(percents)


def test_stop_flag_stops_all():
    assert printed_by("stop_flag.py") == ["stopped: [0, 0]"]


def test_shared_config_reaches_all():
    assert printed_by("shared_config.py") == [
        str([str({"running": True, "rate": 10})] * 2),
        str([str({"running": False})] * 2),
    ]


@pytest.fixture
def camera():
    """Starts programs of it, which end with the test."""
    if not np:
        pytest.skip("there is no numpy")
    assert not (DEV_SHM / "camera").exists(), "somebody else has a camera"
    started = []

    def start(program, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-Werror", EXAMPLES / program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    assert no_longer_there(DEV_SHM / "camera")


def test_camera_shows_its_last_frame_to_all(camera):
    consumers = [camera("camera_consumer.py") for _ in range(3)]
    for consumer in consumers:
        assert consumer.stdout.readline() == "waiting for the camera\n"
    producer = camera("camera_producer.py", "500", "200")
    assert producer.communicate(timeout=300) == (
        "publishing 500 frames\n",
        "",
    )
    for consumer in consumers:
        shown, errors = consumer.communicate(timeout=300)
        assert (consumer.returncode, errors) == (0, "")
        assert shown.endswith("frame 500: the square is at column 400\n")


def test_consumer_sees_that_the_camera_is_gone(camera):
    consumer = camera("camera_consumer.py")
    producer = camera("camera_producer.py", "1000000", "200")
    with shmemext.Broadcast("camera", timeout=60) as cast:
        for _ in range(5):
            with cast.receive(timeout=60):
                pass
        wait_until(lambda: cast.peers == 2)  # the consumer has found it
        assert cast.writer == producer.pid
        producer.kill()
        producer.communicate()
        assert cast.writer is None
    shown, errors = consumer.communicate(timeout=300)
    assert (consumer.returncode, errors) == (0, "")
    assert "frames seen" in shown


# The index, examples/README.md: its last column is a command, or says more

INDEX = (EXAMPLES / "README.md").read_text()
ROWS = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| (.+) \| (.+) \|$", INDEX, re.M)
COMMANDS = {name: (what, how) for name, _, what, how in ROWS if how[0] == "`"}

# Which another one is for: started before it, and done when it is; or after.
BEFORE = {"application_b.py": "application_a.py", "audit.py": "transfer.py"}
AFTER = {"camera_consumer.py": "camera_producer.py"}


def test_index_has_every_example_once():
    assert all(name.rstrip("/") == path for name, path, *_ in ROWS)
    assert sorted(name for name, *_ in ROWS) == sorted(
        path.name + "/" * path.is_dir()
        for path in EXAMPLES.iterdir()
        if path.name not in ("README.md", "__pycache__")
    )


def test_index_says_what_is_imported():
    for name, _, _, how in ROWS:
        line = re.compile(rf"^from {Path(name).stem} import", re.M)
        users = [
            p for p in EXAMPLES.glob("*.py") if line.search(p.read_text())
        ]
        assert bool(users) == (how == "they import it"), name


def needs(program):
    text = (EXAMPLES / program).read_text()
    if "from camera import" in text:
        text += (EXAMPLES / "camera.py").read_text()
    return [
        *re.findall(r"^import (pandas)", text, re.M),
        *re.findall(r"^import (numpy)", text, re.M),
    ][:1]  # pandas comes with numpy


@pytest.mark.parametrize("program", COMMANDS)
def test_command_of_the_index_starts_it(program, tmp_path):
    what, _ = COMMANDS[program]
    assert needs(program) == re.findall(r"\((numpy|pandas)\)", what)
    for module in needs(program):
        if not find_spec(module):
            pytest.skip(f"there is no {module}")

    def start(name):
        command = COMMANDS[name][1].strip("`").replace("/tmp", str(tmp_path))
        words = shlex.split(command)
        assert words[:2] == ["python", f"examples/{name}"]
        return subprocess.Popen(
            [sys.executable, *words[1:]],
            cwd=EXAMPLES.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    started = []
    if program in BEFORE:
        started.append(start(BEFORE[program]))
        started[0].stdout.readline()
    started.append(start(program))
    if program in AFTER:
        started.append(start(AFTER[program]))
    for process in reversed(started):  # Enter is what A waits for
        process.communicate("\n", timeout=300)
    assert not any(process.returncode for process in started)
