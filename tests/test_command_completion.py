# SPDX-License-Identifier: MIT
"""What bash completes, by the script that the command prints."""

import os
import pty
import shutil
import subprocess
import sys

import pytest

from shmemext._command.arguments import build
from shmemext._command.entries import KINDS, ORDERS
from shmemext._command.parser import options_of

PARSER, COMMANDS = build()

if shutil.which("bash") is None:
    pytest.skip("there is no bash", allow_module_level=True)

# The words as bash breaks them, unless they are given.
ASK = r"""
set -u
shmemext() { "$PYTHON" -m shmemext "$@"; }
source <("$PYTHON" -m shmemext completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_POINT=${#COMP_LINE}
[[ $(complete -p shmemext) == *"-F _shmemext "* ]] || exit 3
word=${COMP_WORDS[COMP_CWORD]}
[[ $word == [=:] ]] && word=
_shmemext shmemext "$word" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\0' "${COMPREPLY[@]}"
"""


def completed(machine, line, *words, ask=ASK, **environment):
    words = words or line.split(" ")
    done = subprocess.run(
        [
            *machine.enter,
            "bash",
            "-c",
            ask,
            "bash",
            *(words or line.split(" ")),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "COMP_LINE": line,
            "LC_ALL": "C.UTF-8",
            **environment,
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [word for word in done.stdout.split("\0") if word]


def test_commands(machine):
    assert completed(machine, "shmemext ") == [*COMMANDS]
    assert completed(machine, "shmemext l") == ["ls", "locks"]
    assert completed(machine, "shmemext x") == []
    assert completed(machine, "shmemext --v") == ["--version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of(machine, command):
    options = options_of(COMMANDS[command])
    assert "--help" in options
    assert completed(machine, f"shmemext {command} -") == options
    assert completed(machine, f"shmemext {command} --he") == ["--help"]


def test_values(machine):
    for space in ("--sort ", "--sort="):
        words = ["shmemext", "ls", "--sort", *["="] * (space[-1] == "=")]
        line = f"shmemext ls {space}"
        more = [] if space[-1] == "=" else [""]
        assert completed(machine, line, *words, *more) == [*ORDERS]
        assert completed(machine, f"{line}a", *words, "a") == ["age"]
    assert completed(machine, "shmemext ls -r --kind ") == [*KINDS]
    assert completed(machine, "shmemext ls --kind st") == ["stdlib"]
    assert completed(machine, "shmemext ls --color ") == [
        *("auto", "always", "never")
    ]
    assert "1h" in completed(machine, "shmemext gc --older-than ")
    assert completed(machine, "shmemext completion b") == ["bash"]


def test_families(private, name):
    assert completed(private, "shmemext ls --family ") == []
    with private.creator(name) as (_, (family,)):
        for command in ("ls", "gc --unused"):
            line = f"shmemext {command} --family "
            assert completed(private, line) == [family[:8]]
            assert completed(private, line + family[:3]) == [family[:8]]


@pytest.mark.parametrize("command", ["ls", "info", "rm"])
def test_names(private, command):
    for one in ("camera-1", "camera-2", "other"):
        private.file(one)
    assert completed(private, f"shmemext {command} cam") == [
        *("camera-1", "camera-2")
    ]
    assert completed(private, f"shmemext {command} camera-1 o") == ["other"]
    assert completed(private, f"shmemext {command} x") == []
    assert completed(private, "shmemext gc cam") == []


def test_names_of_locks(private):
    private.file("camera")
    code = "from shmemext.synchronize import Lock; a = Lock('cam'); print()"
    with private.running(code):
        assert completed(private, "shmemext locks ca") == ["cam"]
        assert completed(private, "shmemext ls ca") == ["camera"]


ODD = {
    "a b": ("a\\ ", "a\\ b"),
    "it's": ("it", "it\\'s"),
    "$(reboot)": ("", "\\$\\(reboot\\)"),
    "共享": ("共", "共享"),
}


@pytest.mark.parametrize("odd", ODD)
def test_names_that_a_shell_wants_quoted(private, odd):
    private.file(odd)
    typed, expected = ODD[odd]
    assert completed(
        private, f"shmemext rm {typed}", "shmemext", "rm", typed
    ) == ([expected])


@pytest.mark.parametrize("mark", [":", "="])
def test_names_that_bash_breaks_at(private, mark):
    """It replaces what comes after the mark."""
    private.file(f"cam{mark}left")
    private.file(f"cam{mark}right")
    line = f"shmemext rm cam{mark}le"
    words = ["shmemext", "rm", "cam", mark, "le"]
    assert completed(private, line, *words) == ["left"]
    assert sorted(completed(private, line[:-2], *words[:-1])) == (
        ["left", "right"]
    )


@pytest.mark.parametrize(
    ("one", "typed"),
    [
        ("cam:only-one", "cam:"),
        ("cam=only one", "cam="),
        ("camera", "came"),
        ("camera", "/came"),
        ("camera", "/dev/shm/came"),
        ("cam only *", "'cam"),
        ("cam:only one", '"cam:on'),
        ("--camera", "-- --c"),
    ],
)
def test_bash_itself_completes(private, tmp_path, one, typed):
    """Typed, with tabulators, into a shell that listens."""
    private.file(one)
    rc = tmp_path / "rc"
    rc.write_text(
        f'shmemext() {{ "{sys.executable}" -m shmemext "$@"; }}\n'
        'eval "$(shmemext completion bash)"\n'
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*private.enter, "bash", "--noprofile", "--rcfile", rc, "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "dumb"},
    ) as shell:
        os.close(theirs)
        os.write(ours, f"shmemext r\t{typed}\t\nexit\n".encode())
        assert shell.wait(timeout=120) == 0
    os.close(ours)
    assert not private.has(one)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_open_quotes_leave_out_what_they_would_change(private, quote):
    for one in ("in a $(reboot)", "in a `reboot`", "in a 'b", 'in a "b'):
        private.file(one)
    private.file("in a \n")
    private.file("in a word")
    line = f"shmemext rm {quote}in a"
    words = ["shmemext", "rm", "in a"]  # its second argument has no quote
    assert completed(private, line, *words) == ["in a word"]


def test_command_by_its_path_from_home(machine, tmp_path):
    """The shell's word for it is as it was typed."""
    asked = ASK.replace("_shmemext shmemext ", "_shmemext '~/its/shmemext' ")
    program = tmp_path / "its" / "shmemext"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf 'camera\\0'\n")
    program.chmod(0o755)
    line = "shmemext rm cam"
    found = completed(
        machine, line, ask=asked, HOME=str(program.parent.parent)
    )
    assert found == ["camera"]
