# SPDX-License-Identifier: MIT
"""What the command says where it cannot write, read or look."""

import fcntl
import os
import signal
import subprocess
import termios
import threading

import pytest
from commands import (
    FAILED,
    INTERRUPTED,
    OK,
    UNHEARD,
    USAGE,
    only_stderr_line,
)
from machine import NOBODY, wait_until

from shmemext import _command

EACH = {
    "help": ["--help"],
    "version": ["--version"],
    "ls": ["ls"],
    "json": ["ls", "--json"],
    "help of one": ["ls", "--help"],
    "info": ["info", "NAME"],
    "rm": ["rm", "NAME"],
    "rm --json": ["rm", "--json", "NAME"],
    "gc": ["gc", "--dry-run"],
    "completion": ["completion", "bash"],
}


def in_shell(machine, redirection, *arguments, status):
    """As in a shell that redirects."""
    command = machine.command("-m", "shmemext", *arguments)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


@pytest.mark.parametrize("arguments", EACH.values(), ids=EACH)
def test_full_disk_is_said_once(machine, name, arguments):
    machine.file(name)
    words = [word.replace("NAME", name) for word in arguments]
    done = in_shell(machine, ">/dev/full", *words, status=FAILED)
    assert done.stderr == (
        "shmemext: standard output: No space left on device\n"
    )


@pytest.mark.parametrize("arguments", EACH.values(), ids=EACH)
def test_closed_output_is_said_before_anything_is_done(
    machine, name, arguments
):
    machine.file(name)
    words = [word.replace("NAME", name) for word in arguments]
    done = in_shell(machine, ">&-", *words, status=FAILED)
    assert done.stderr == "shmemext: standard output: Bad file descriptor\n"
    assert machine.has(name)


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["info", "no-such-segment"], FAILED), (["lss"], USAGE), (["ls"], OK)],
)
def test_who_hears_no_error_has_the_exit_status(
    machine, redirection, arguments, status
):
    done = in_shell(machine, redirection, *arguments, status=status)
    assert "shmemext: " not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", EACH.values(), ids=EACH)
def test_closed_pipe_is_quiet(machine, name, arguments):
    """As any command that SIGPIPE ends, as a shell shows it."""
    machine.file(name)
    words = [word.replace("NAME", name) for word in arguments]
    reader, writer = os.pipe()
    os.close(reader)
    done = machine.cli(*words, status=UNHEARD, stdout=writer)
    os.close(writer)
    assert done.stderr == ""


def test_output_that_does_not_block_gets_everything(machine, name):
    """A reader that is slower than we: the pipe is full at once."""
    names = [f"{name}-{'x' * 100}-{i}" for i in range(300)]
    for one in names:
        machine.file(one, size=1)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    read = []

    def slowly():
        wait_until(lambda: waiting(reader) >= 4096 - 128)
        with os.fdopen(reader, "rb") as file:
            read.append(file.read())

    slow = threading.Thread(target=slowly)
    slow.start()
    done = machine.cli("ls", stdout=writer)
    os.close(writer)
    slow.join()
    assert done.stderr == ""
    text = read[0].decode()
    assert [line.split()[0] for line in text.splitlines()[1:301]] == (
        sorted(names)
    )
    assert text.endswith(" free in /dev/shm\n")


def waiting(pipe):
    """How many bytes are in it."""
    told = fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(told, "little")


def test_interrupt_is_quiet(machine):
    with subprocess.Popen(
        machine.command("-m", "shmemext", "rm", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        child.stdin.write(b"no-such-segment\n")
        child.stdin.flush()
        wait_until(lambda: waiting(child.stdin) == 0)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == INTERRUPTED
        assert child.stdout.read() + child.stderr.read() == b""


def test_interrupt_while_it_looks(monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_command.ls, "survey", interrupted)
    assert _command.main(["ls"]) == INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_interrupt_while_it_is_imported(machine):
    code = (
        "import sys\n"
        "from shmemext.__main__ import main\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'shmemext._command': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder)\n"
        "sys.exit(main(['ls']))"
    )
    done = machine.run("-c", code, status=INTERRUPTED)
    assert (done.stdout, done.stderr) == ("", "")


def test_input_that_does_not_block_is_waited_for(machine, name):
    machine.file(name)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with subprocess.Popen(
        machine.command("-m", "shmemext", "rm", "-"),
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        os.close(reader)
        os.write(writer, b"\n")
        wait_until(lambda: waiting(writer) == 0)
        os.write(writer, name.encode())
        os.close(writer)
        assert child.communicate()[0] == f"removed {name}, 8 KiB\n"


def test_input_that_cannot_be_read(machine):
    done = in_shell(machine, "0>/dev/null", "rm", "-", status=FAILED)
    only_stderr_line(done, "standard input: Bad file descriptor")


def test_closed_input(machine, name):
    machine.file(name)
    done = in_shell(machine, "<&-", "rm", "-", status=FAILED)
    only_stderr_line(done, "standard input: Bad file descriptor")
    done = in_shell(machine, "<&-", "gc", "--orphans", status=USAGE)
    only_stderr_line(done, "--yes")


# --- where the system says little


@pytest.fixture
def bare(private):
    """Runs the command where an empty file system is mounted somewhere."""

    def run(where, *arguments, status=OK):
        command = private.command("-m", "shmemext", *arguments)
        script = f'mount -t tmpfs tmpfs {where} && exec "$@"'
        done = subprocess.run(
            [
                *private.enter,
                *("unshare", "--mount", "--propagation", "private"),
                *("sh", "-c", script, "sh"),
                *command[len(private.enter) :],
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        return done

    return run


@pytest.mark.skipif(
    "SHMEMEXT_SANITIZER" in os.environ,
    reason="a sanitizer reads its own map in /proc",
)
def test_without_proc_nobody_is_said_not_to_have_it_open(bare, private, name):
    private.file(name)
    told = bare("/proc", "ls").stdout
    (line,) = [n for n in told.splitlines() if n.startswith(name)]
    assert line.endswith(" 0+")
    words = "/proc is not mounted: who has what open is not known"
    assert f"\n+ {words}\n" in told
    assert f"0+ ({words})" in bare("/proc", "info", name).stdout
    assert "0 names removed" in bare("/proc", "gc").stdout


@pytest.mark.parametrize("command", ["ls", "gc", "info"])
def test_without_dev_shm_it_says_so(bare, command):
    words = ["x"] * (command == "info")
    done = bare("/dev", command, *words, status=FAILED)
    assert done.stdout == ""
    only_stderr_line(done, "shmemext: /dev/shm: ")


def test_hidden_processes_are_told_of(two_users, name):
    machine = two_users
    machine.file(name, uid=NOBODY)
    told = machine.cli("ls", user=NOBODY).stdout
    assert "\n+ and perhaps more: at least " in told
    told = machine.cli("info", name, user=NOBODY).stdout
    assert "0+ (at least " in told
