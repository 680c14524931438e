# SPDX-License-Identifier: MIT
"""handoff: what leaves this machine, this user or this family, and what goes
to several, is pickled as ever."""

import os
import pickle
import socket
import subprocess
import sys
import threading
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.managers import BaseManager
from multiprocessing.reduction import ForkingPickler

import pytest
from conftest import descriptors
from handoff_children import lies_in_pool

from shmemext import _peers, _shmemext, handoff

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded, use of fork:DeprecationWarning"
)

LEAST = 1000
CONTENT = bytes(range(250)) * 8


class Content:
    """Pickled as arrays are: beside the pickle where that is possible."""

    def __reduce_ex__(self, protocol):
        if protocol >= 5:
            return bytes, (pickle.PickleBuffer(CONTENT),)
        return bytes, (CONTENT,)


@pytest.fixture(autouse=True)
def enabled():
    handoff.enable(min_size=LEAST, limit=16 << 20)
    yield
    handoff.disable()


def goes_by_reference(sender, receiver):
    sender.send(Content())
    message = receiver.recv_bytes()
    assert pickle.loads(message) == CONTENT
    return len(message) < len(CONTENT)


def is_as_ever(sender, receiver):
    """Byte for byte."""
    sender.send(Content())
    return receiver.recv_bytes() == bytes(ForkingPickler.dumps(Content()))


@pytest.fixture
def connected():
    """Both ends of a connection over a listener of such a family, here."""
    opened = []

    def connect(address, family):
        with Listener(address, family) as listener:
            client = Client(listener.address, family)
            opened.extend([client, listener.accept()])
        return opened[-2:]

    yield connect
    for connection in opened:
        connection.close()


def test_over_tcp_it_is_as_ever(connected):
    ends = connected(("127.0.0.1", 0), "AF_INET")
    for sender, receiver in ends, ends[::-1]:
        assert is_as_ever(sender, receiver)
    assert handoff.stats()["in_flight"] == 0


def test_over_a_unix_socket_it_goes_by_reference(connected, tmp_path):
    ends = connected(str(tmp_path / "here"), "AF_UNIX")
    for sender, receiver in ends, ends[::-1]:
        assert goes_by_reference(sender, receiver)


@pytest.mark.parametrize("duplex", [True, False])
def test_through_a_pipe_it_goes_by_reference(duplex):
    receiver, sender = Pipe(duplex)
    with receiver, sender:
        assert goes_by_reference(sender, receiver)


@pytest.mark.parametrize("kind", ["SOCK_SEQPACKET", "SOCK_DGRAM"])
def test_through_other_sockets_it_is_as_ever(kind):
    ends = socket.socketpair(socket.AF_UNIX, getattr(socket, kind))
    sender, receiver = (Connection(end.detach()) for end in ends)
    with sender, receiver:
        sender.send(Content())
        head, rest = os.read(receiver.fileno(), 1 << 16), b""
        if len(head) == 4:
            rest = os.read(receiver.fileno(), 1 << 16)
        assert (head + rest)[4:] == bytes(ForkingPickler.dumps(Content()))


def test_through_a_pipe_that_has_a_name_it_is_as_ever(tmp_path):
    """Anybody may read it."""
    os.mkfifo(tmp_path / "named")
    reader = Connection(
        os.open(tmp_path / "named", os.O_RDONLY | os.O_NONBLOCK)
    )
    writer = Connection(os.open(tmp_path / "named", os.O_WRONLY))
    with reader, writer:
        assert is_as_ever(writer, reader)


def test_into_a_file_it_is_as_ever(tmp_path):
    path = tmp_path / "file"
    with Connection(os.open(path, os.O_RDWR | os.O_CREAT)) as both:
        both.send(Content())
        os.lseek(both.fileno(), 0, os.SEEK_SET)
        assert both.recv_bytes() == bytes(ForkingPickler.dumps(Content()))


def test_one_pickle_for_several_is_as_ever():
    """Nobody knows where ForkingPickler.dumps() goes."""
    pickled = bytes(ForkingPickler.dumps(Content()))
    handoff.disable()
    assert pickled == bytes(ForkingPickler.dumps(Content()))
    assert [pickle.loads(pickled) for _ in range(3)] == [CONTENT] * 3


def test_looking_where_it_goes_leaves_no_descriptor(connected, tmp_path):
    """But that of the pool, with the first that is sent."""
    ends = connected(str(tmp_path / "here"), "AF_UNIX")
    receiver, sender = Pipe(duplex=False)
    with receiver, sender:
        assert goes_by_reference(sender, receiver)
    before = descriptors()
    assert goes_by_reference(*ends)
    assert descriptors() <= before


@pytest.mark.parametrize("state", ["closed", "reader"])
def test_connection_that_cannot_send_says_so(state):
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        if state == "closed":
            writer.close()
        sender = reader if state == "reader" else writer
        for _ in range(2):
            with pytest.raises(OSError, match=r"read-only|is closed"):
                sender.send(Content())
        assert handoff.stats()["in_flight"] == 0


# --- strangers

STRANGER = """
import sys
sys.modules["shmemext"] = None
import pickle
from multiprocessing.connection import Client
address, family = eval(sys.argv[1])
with Client(address, family, authkey=b"key") as connection:
    message = connection.recv_bytes()
    content = pickle.loads(message)
    connection.send_bytes(content)
    connection.send_bytes(str(len(message)).encode())
"""


@pytest.mark.parametrize("family", ["AF_UNIX", "AF_INET"])
def test_another_program_needs_nothing(family, tmp_path):
    """What is sent outlives us there."""
    address = str(tmp_path / "here")
    if family == "AF_INET":
        address = ("127.0.0.1", 0)
    with Listener(address, family, authkey=b"key") as listener:
        where = repr((listener.address, family))
        program = subprocess.Popen([sys.executable, "-c", STRANGER, where])
        with listener.accept() as connection:
            connection.send(Content())
            assert connection.recv_bytes() == CONTENT
            assert int(connection.recv_bytes()) > len(CONTENT)
        assert program.wait(120) == 0
    assert handoff.stats()["in_flight"] == 0


REMOTE = """
import sys
sys.modules["shmemext"] = None
from multiprocessing.managers import BaseManager

class Manager(BaseManager):
    pass

kept = {}
Manager.register("kept", lambda: kept)
manager = Manager(("127.0.0.1", 0), authkey=b"key")
server = manager.get_server()
print(server.address[1], flush=True)
server.serve_forever()
"""


class Remote(BaseManager):
    pass


Remote.register("kept")


def test_remote_manager_needs_nothing():
    with subprocess.Popen(
        [sys.executable, "-c", REMOTE], stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            port = int(program.stdout.readline())
            remote = Remote(("127.0.0.1", port), authkey=b"key")
            remote.connect()
            kept = remote.kept()
            kept.update({"it": Content()})
            assert kept.get("it") == CONTENT
            assert kept.copy() == {"it": CONTENT}
        finally:
            program.kill()
    assert handoff.stats()["in_flight"] == 0


def of_child(act):
    """What a forked child, of this family, gets when it connects."""
    address = f"\0shmemext-test-{os.getpid()}-{threading.get_native_id()}"
    with Listener(address, "AF_UNIX") as listener:
        pid = os.fork()
        if not pid:
            try:
                act()
                with Client(address, "AF_UNIX") as connection:
                    message = connection.recv_bytes()
                    assert pickle.loads(message) == CONTENT
                    connection.send_bytes(str(len(message)).encode())
                os._exit(0)
            finally:
                os._exit(1)
        with listener.accept() as connection:
            connection.send(Content())
            length = int(connection.recv_bytes())
        assert os.waitpid(pid, 0)[1] == 0
    return length


def test_to_a_child_it_goes_by_reference():
    assert of_child(lambda: None) < len(CONTENT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
def test_to_another_user_it_is_as_ever():
    def become_another():
        os.setgid(65534)
        os.setuid(65534)

    assert of_child(become_another) > len(CONTENT)


ELSEWHERE = ["unshare", "-m", "sh", "-c"]
MOUNT = "mount -t tmpfs tmpfs /dev/shm && echo && exec sleep 60"


def test_who_sees_another_dev_shm_is_not_of_us(monkeypatch):
    monkeypatch.setattr(_peers, "_is_of_family", lambda *_: True)
    _shmemext._found()
    with (
        subprocess.Popen(
            [*ELSEWHERE, MOUNT],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as other,
        subprocess.Popen(["sleep", "60"]) as neighbour,
    ):
        try:
            if not other.stdout.readline():
                pytest.skip("no right to make namespaces")
            uid = os.geteuid()
            assert _peers._is_of_us(neighbour.pid, uid)
            assert not _peers._is_of_us(other.pid, uid)
            assert not _peers._is_of_us(neighbour.pid, uid + 1)
            assert not _peers._is_of_us(0, uid)
        finally:
            other.kill()
            neighbour.kill()


def test_program_that_is_not_of_the_family_is_not_of_us():
    _shmemext._found()
    with subprocess.Popen(["sleep", "60"]) as neighbour:
        try:
            assert not _peers._is_of_us(neighbour.pid, os.geteuid())
        finally:
            neighbour.kill()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_child_is_of_us_however_it_was_started(method):
    context = get_context(method)
    here, there = context.Pipe()
    with here, there:
        process = context.Process(target=wait_for, args=(there,))
        process.start()
        here.recv()
        assert _peers._is_of_us(process.pid, os.geteuid())
        here.send(None)
        process.join()


def wait_for(connection):
    connection.send(None)
    connection.recv()


def test_who_made_the_pair_and_is_gone_is_nobody():
    """A socket says who made it, and that process has ended."""
    kept = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if not pid:
        made = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        socket.send_fds(kept[0], [b"x"], [end.fileno() for end in made])
        os._exit(0)
    _, numbers, _, _ = socket.recv_fds(kept[1], 1, 2)
    os.waitpid(pid, 0)
    ends = [Connection(number) for number in numbers]
    with ends[0], ends[1], kept[0], kept[1]:
        assert not goes_by_reference(*ends)


def test_peer_that_cannot_be_looked_at_is_nobody(monkeypatch, connected):
    ends = connected(f"\0shmemext-test-nobody-{os.getpid()}", "AF_UNIX")

    def refuse(number):
        raise PermissionError

    monkeypatch.setattr(_peers, "_peer", refuse)
    assert not goes_by_reference(*ends)


def test_queue_is_asked_nothing():
    """Its pipe is of this process, and of what it starts."""
    queue = get_context("fork").SimpleQueue()
    queue.put(pickle.PickleBuffer(CONTENT))
    assert lies_in_pool(queue.get())
    queue.close()
