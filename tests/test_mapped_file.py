# SPDX-License-Identifier: MIT
"""MappedFile: memory that is a file, and outlives every process."""

import copy
import os
import pickle
import socket
import stat
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import kinds
import machine
import pytest
from arrays import np
from conftest import descriptors, python

from shmemext import MappedFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.fixture
def file(path):
    with MappedFile(path, create=True, size=5000) as file:
        yield file


@pytest.fixture
def nothing_left(tmp_path):
    """The test makes an error: no file, no descriptor, no mapping of it."""
    before = descriptors()
    files = {each.name for each in tmp_path.iterdir()}
    yield
    assert {each.name for each in tmp_path.iterdir()} == files
    assert descriptors() == before
    assert kinds.maps(str(tmp_path)) == []


# --- create and attach


def test_create_makes_a_whole_file(path):
    file = MappedFile(path, create=True, size=10_000)
    status = path.stat()
    assert status.st_size == file.size == len(file.buf) == 10_000
    assert status.st_blocks * 512 >= 10_000
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_nlink == 1
    assert [each.name for each in path.parent.iterdir()] == ["file"]
    file.close()
    assert path.stat().st_size == 10_000


def test_reserve_false_leaves_holes(path):
    MappedFile(path, create=True, size=1 << 30, reserve=False).close()
    assert path.stat().st_size == 1 << 30
    assert path.stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400, 0o444, 0o777])
def test_mode_is_exact_whatever_the_umask(path, mode):
    umask = os.umask(0o077)
    try:
        MappedFile(path, create=True, size=10, mode=mode).close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_contents_survive_the_processes(path):
    code = """
import os, sys
from shmemext import MappedFile
file = MappedFile(sys.argv[1], create=True, size=100)
file.buf[:5] = b"hello"
os.kill(os.getpid(), 9)
"""
    assert python(code, path, check=False).returncode == -9
    with MappedFile(path) as file:
        assert bytes(file.buf[:5]) == b"hello"
        assert file.size == 100
    assert path.read_bytes() == b"hello" + bytes(95)


def test_unrelated_processes_see_each_others_writes(file, path):
    code = """
import sys
from shmemext import MappedFile
from children import alternate
with MappedFile(sys.argv[1]) as file:
    alternate(file.buf, int(sys.argv[2]), 100)
"""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code, path, str(first)],
            env={**os.environ, **kinds.HERE},
        )
        for first in (0, 1)
    ]
    assert [each.wait(kinds.PATIENCE) for each in programs] == [0, 0]
    assert file.buf[0] == 200


def test_other_programs_see_the_bytes(file, path):
    file.buf[:5] = b"hello"
    assert path.read_bytes()[:5] == b"hello"
    with path.open("r+b") as other:
        other.write(b"HELLO")
    assert bytes(file.buf[:5]) == b"HELLO"


def test_attach_maps_what_is_there(path):
    path.write_bytes(b"hello")
    with MappedFile(path) as file:
        assert bytes(file.buf) == b"hello"
        file.buf[0] = ord("J")
    assert path.read_bytes() == b"Jello"


@pytest.mark.parametrize("least", [0, 1, 4999, 5000])
def test_attach_takes_a_file_of_at_least_the_size(file, path, least):
    with MappedFile(path, size=least) as again:
        assert again.size == 5000
    with MappedFile(path, False, least) as again:
        assert again.size == len(again.buf) == 5000


def test_attach_refuses_a_file_that_is_smaller(path):
    path.write_bytes(bytes(100))
    before = descriptors()
    with pytest.raises(ValueError, match=r"\b5000\b") as caught:
        MappedFile(path, size=5000)
    assert "100" in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.stat().st_size == 100
    assert descriptors() == before


def test_create_on_a_taken_path_changes_nothing(path):
    path.write_bytes(b"hello")
    before = path.stat()
    with pytest.raises(FileExistsError) as caught:
        MappedFile(path, create=True, size=100)
    assert caught.value.filename == str(path)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    assert path.read_bytes() == b"hello"


@pytest.mark.parametrize("what", ["directory", "dangling", "link", "fifo"])
def test_create_on_a_path_taken_by_something_else(path, what):
    if what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    else:
        target = path.parent / "target"
        path.symlink_to(target)
        if what == "link":
            target.write_bytes(b"hello")
    before = descriptors()
    with pytest.raises(FileExistsError):
        MappedFile(path, create=True, size=100)
    assert descriptors() == before
    assert what != "dangling" or not (path.parent / "target").exists()


def test_attach_of_nothing(path, nothing_left):
    with pytest.raises(FileNotFoundError) as caught:
        MappedFile(path)
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("create", [False, True])
def test_missing_directory(path, create, nothing_left):
    with pytest.raises(FileNotFoundError) as caught:
        MappedFile(path / "below", create=create, size=100)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("create", [False, True])
def test_directory_that_is_a_file(path, create):
    path.write_bytes(b"hello")
    with pytest.raises(NotADirectoryError):
        MappedFile(path / "below", create=create, size=100)


@pytest.mark.parametrize("size", [0, -1])
def test_create_needs_a_size(path, size, nothing_left):
    with pytest.raises(ValueError, match="size"):
        MappedFile(path, create=True, size=size)


def test_negative_least_size_is_refused(file, path):
    with pytest.raises(ValueError, match="size"):
        MappedFile(path, size=-1)


def test_create_readonly_is_refused(path, nothing_left):
    with pytest.raises(ValueError, match="readonly"):
        MappedFile(path, create=True, size=100, readonly=True)


# --- what is no file


def test_directory_is_told(tmp_path, nothing_left):
    for readonly in False, True:
        with pytest.raises(IsADirectoryError) as caught:
            MappedFile(tmp_path, readonly=readonly)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("readonly", [False, True])
def test_fifo_is_told_without_waiting(path, readonly):
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"(?i)fifo|pipe") as caught:
        MappedFile(path, readonly=readonly)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("readonly", [False, True])
def test_socket_is_told(readonly):
    with (
        tempfile.TemporaryDirectory() as directory,  # short enough a path
        socket.socket(socket.AF_UNIX) as sock,
    ):
        path = f"{directory}/x"
        sock.bind(path)
        with pytest.raises(ValueError, match="socket") as caught:
            MappedFile(path, readonly=readonly)
        assert path in str(caught.value)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
@pytest.mark.parametrize("readonly", [False, True])
def test_device_is_told(device, readonly):
    with pytest.raises(ValueError, match="device") as caught:
        MappedFile(device, readonly=readonly)
    assert device in str(caught.value)


@pytest.mark.parametrize("readonly", [False, True])
def test_empty_file_is_told(path, readonly):
    path.touch()
    before = descriptors()
    with pytest.raises(ValueError, match="empty") as caught:
        MappedFile(path, readonly=readonly)
    assert str(path) in str(caught.value)
    assert descriptors() == before


# --- paths


@pytest.mark.parametrize("of", [str, Path, lambda path: Path(str(path))])
def test_path_may_be_str_or_path_like(path, of):
    with MappedFile(of(path), create=True, size=10) as file:
        assert type(file.path) is str
        assert file.path == str(path)
        assert repr(file) == f"MappedFile({str(path)!r}, size=10)"
    assert repr(file) == f"MappedFile({str(path)!r}, size=10, closed)"


def test_path_may_be_any_path_like(path):
    class Like:
        def __fspath__(self):
            return str(path)

    with MappedFile(Like(), create=True, size=10) as file:
        assert file.path == str(path)


def test_bytes_are_a_path_or_a_type_error(path):
    """A path as bytes is taken for what os.fsdecode() makes of it, or is
    refused; never for something else."""
    try:
        file = MappedFile(os.fsencode(path), create=True, size=10)
    except TypeError:
        assert not path.exists()
    else:
        assert file.path == str(path)
        file.close()


@pytest.mark.parametrize("value", [None, 5, 1.5, ["x"]])
def test_other_types_are_refused(value, nothing_left):
    for create in False, True:
        with pytest.raises(TypeError):
            MappedFile(value, create=create, size=10)


@pytest.mark.parametrize("value", ["", "a\0b"])
def test_paths_that_are_none_are_refused(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for create in False, True:
        with pytest.raises((ValueError, FileNotFoundError)):
            MappedFile(value, create=create, size=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ü", "日本", "a b", "\udcff", "a\nb", "-x"])
def test_any_name_will_do(tmp_path, name):
    path = tmp_path / name
    with MappedFile(path, create=True, size=10) as file:
        file.buf[0] = 7
        assert file.path == str(path)
        repr(file)
        file.grow(20)
    with MappedFile(path) as file:
        assert file.buf[0] == 7


def test_long_paths(tmp_path, nothing_left):
    with pytest.raises(OSError, match="too long"):
        MappedFile(tmp_path / ("x" * 256), create=True, size=10)
    with pytest.raises(OSError, match="too long"):
        MappedFile("/" + "x/" * 3000, create=True, size=10)


def test_relative_path_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    file = MappedFile("there/../file", create=True, size=10)
    assert Path(file.path).is_absolute()
    assert Path(file.path).samefile(tmp_path / "file")
    monkeypatch.chdir(tmp_path / "there")
    file.grow(20)
    assert (tmp_path / "file").stat().st_size == 20
    file.buf[19] = 7
    again = pickle.loads(pickle.dumps(file))
    assert again.path == file.path
    assert again.buf[19] == 7
    assert os.fstat(file.fileno()).st_size == 20
    file.close()
    again.close()


def test_symlinks_are_followed(path, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "directory").symlink_to(tmp_path / "inner")
    with MappedFile(tmp_path / "directory" / "x", create=True, size=9) as file:
        assert (tmp_path / "inner" / "x").stat().st_size == 9
        path.symlink_to("inner/x")
        with MappedFile(path) as again:
            again.buf[0] = 7
            again.grow(30)
        assert path.is_symlink()
        assert file.refresh() is True
        assert (file.size, file.buf[0]) == (30, 7)


def test_symlink_that_goes_in_circles(path):
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels"):
        MappedFile(path)


def test_file_reached_by_descriptor_has_no_path_of_its_own(path):
    """/proc/self/fd is a way to attach, as to any program."""
    path.write_bytes(b"hello")
    with (
        path.open("r+b") as other,
        MappedFile(f"/proc/self/fd/{other.fileno()}") as file,
    ):
        assert bytes(file.buf) == b"hello"


# --- the path and the file part


REPLACED = {
    "grow": lambda file: file.grow(10_000),
    "refresh": lambda file: file.refresh(),
    "fileno": lambda file: file.fileno(),
}


@pytest.mark.parametrize("call", REPLACED)
@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_path_of_another_file_is_not_taken_for_ours(file, path, call, how):
    other = path.parent / "other"
    other.write_bytes(bytes(20_000))
    if how == "replaced":
        os.replace(other, path)  # noqa: PTH105
    else:
        path.unlink()
    before = descriptors()
    with pytest.raises(FileNotFoundError) as caught:
        REPLACED[call](file)
    assert str(path) in str(caught.value)
    assert "now" in str(caught.value) or "gone" in str(caught.value)
    assert descriptors() == before
    assert file.size == len(file.buf) == 5000
    file.buf[0] = 7
    file.flush()
    if how == "replaced":
        assert path.stat().st_size == 20_000
        assert path.read_bytes()[0] == 0


@pytest.mark.parametrize("call", REPLACED)
def test_descriptor_asked_for_in_time_keeps_the_file(file, path, call):
    fd = file.fileno()
    path.unlink()
    REPLACED[call](file)
    os.ftruncate(fd, 20_000)
    assert file.refresh() is True
    assert file.size == len(file.buf) == 20_000


def test_renamed_file_is_gone_from_its_path(file, path):
    path.rename(path.parent / "elsewhere")
    with pytest.raises(FileNotFoundError):
        file.refresh()
    path.symlink_to("elsewhere")  # and now it is there again
    assert file.refresh() is False
    file.grow(6000)
    assert (path.parent / "elsewhere").stat().st_size == 6000


def test_peer_that_cuts_the_file_does_not_kill(path):
    done = python(
        """
import os, sys, warnings
from shmemext import MappedFile
path = sys.argv[1]
file = MappedFile(path, create=True, size=1 << 20)
file.buf[:] = b"x" * (1 << 20)
os.truncate(path, 4096)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert (file.buf[4095], file.buf[4096], file.buf[-1]) == (120, 0, 0)
    file.buf[500_000] = 1
(warning,) = caught
assert warning.category is RuntimeWarning, warning
assert "cut short" in str(warning.message), warning
print(warning.message)
""",
        path,
    )
    assert "file" in done.stdout
    assert path.stat().st_size == 4096


def test_two_unlinked_files_of_one_name_are_two(path):
    first = MappedFile(path, create=True, size=10)
    path.unlink()
    second = MappedFile(path, create=True, size=20)
    second.buf[0] = 7
    assert (first.buf[0], first.size, second.size) == (0, 10, 20)
    first.close()
    second.close()


# --- copies of the object


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_the_path(file, readonly, protocol):
    file.buf[0] = 5
    with MappedFile(file.path, readonly=readonly) as first:
        again = pickle.loads(pickle.dumps(first, protocol))
    assert (again.path, again.size) == (file.path, 5000)
    assert again.readonly is readonly
    assert again.buf[0] == 5
    again.close()


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_copy_is_another_object_on_the_file(file, copier):
    again = copier(file)
    again.buf[0] = 5
    assert file.buf[0] == 5
    again.close()


def test_pickle_of_a_file_that_is_gone(file, path):
    data = pickle.dumps(file)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


def test_pickle_made_before_a_grow_has_the_new_size(file):
    data = pickle.dumps(file)
    file.grow(20_000)
    with pickle.loads(data) as again:
        assert again.size == 20_000


def test_there_is_nothing_of_named_segments(file):
    for name in ("created", "unlink", "name", "seal"):
        assert not hasattr(file, name)


# --- other users


@pytest.fixture(scope="module")
def box():
    with machine.boot() as box:
        yield box


def test_file_that_may_only_be_read_is_read(box):
    machine.need_two_users(box)
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # noqa: PTH101
        path = Path(directory, "file")
        with MappedFile(path, create=True, size=10, mode=0o444) as file:
            file.buf[0] = 7
            box.run(
                "-c",
                "import sys\n"
                "from shmemext import MappedFile\n"
                "path = sys.argv[1]\n"
                "with MappedFile(path, readonly=True) as file:\n"
                "    assert file.buf[0] == 7 and file.readonly\n"
                "    assert file.refresh() is False\n"
                "    assert file.fileno() >= 0\n"
                "try:\n"
                "    MappedFile(path)\n"
                "except PermissionError as error:\n"
                "    assert path in str(error)\n"
                "else:\n"
                "    sys.exit('opened for writing')\n"
                "try:\n"
                "    MappedFile(path + '2', create=True, size=10)\n"
                "except PermissionError as error:\n"
                "    assert path in str(error)\n"
                "else:\n"
                "    sys.exit('created in a directory of root')\n",
                path,
                user=machine.NOBODY,
            )


# --- arrays


def test_array_lives_in_the_file(path):
    with MappedFile(path, create=True, size=800) as file:
        array = np.frombuffer(file, dtype="f8")
        array[:] = np.arange(100)
        file.flush()
    del array
    assert np.fromfile(path, dtype="f8").sum() == 4950


def test_no_warning_at_the_end(path):
    """Objects left open die quietly, ResourceWarnings included."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = MappedFile(path, create=True, size=10)
        file.fileno()
        del file


@pytest.mark.parametrize(
    ("arguments", "kind", "note"),
    [
        ({"size": 10}, FileNotFoundError, "create=True creates it"),
        (
            {"create": True, "size": sys.maxsize},
            OSError,
            f"with {sys.maxsize} bytes",
        ),
        (
            {"create": True, "size": sys.maxsize + 1},
            OverflowError,
            "is at most",
        ),
    ],
)
@pytest.mark.usefixtures("nothing_left", "gigabyte")
def test_failure_has_a_way_out(path, arguments, kind, note):
    with pytest.raises(kind) as caught:
        MappedFile(path, **arguments)
    assert note in caught.value.__notes__[0]


def test_failure_for_want_of_a_directory_says_so(path):
    with pytest.raises(FileNotFoundError) as caught:
        MappedFile(path.parent / "missing" / "x", create=True, size=10)
    assert "directory is missing" in caught.value.__notes__[0]
