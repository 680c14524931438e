# SPDX-License-Identifier: MIT
"""Where multiprocessing sends: what is put there, and taken away again.

    connection.Connection.send         Pipe, Pool's tasks, managers
    connection._ForkingPickler         the same, called by who has taken the
                                       method before
    queues._ForkingPickler             Queue, SimpleQueue: Pool's results, and
                                       all of an executor
    reduction.dump                     arguments of a process that is started
                                       anew
    connection.Connection._send_bytes  where a message can fail to be sent

All of these know where bytes go: to a pipe, to a child, or down a connection
that can be asked. ForkingPickler itself is left alone, since what it pickles
may go to another machine, or to several.

Where another program has put something of its own, that stays, and nothing of
ours goes there. If it was put there since, what it calls of ours does what
multiprocessing does, as soon as nobody has a reason for it."""

import os
import sys
import threading
from importlib import import_module
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from types import FunctionType
from typing import TYPE_CHECKING, Any

from . import _peers, _pickles

if TYPE_CHECKING:
    from typing_extensions import Buffer

HANDOFF = "handoff"
ARRAYS = "arrays"

_ABSENT: Any = object()
_ForkingPickler = reduction.ForkingPickler
_DUMPS = vars(_ForkingPickler)["dumps"]

_reasons: set[str] = set()
_lock = threading.Lock()


def begin(reason: str) -> None:
    """HANDOFF: what is large goes through the pool. ARRAYS: what is shared
    goes by reference. A second time it does nothing."""
    if reason in _reasons:
        return
    connection: Any = import_module("multiprocessing.connection")
    queues: Any = import_module("multiprocessing.queues")
    with _lock:
        if not _reasons:
            _SEND.put(connection.Connection, connection)
            _SENT.put(connection, _ForkingPickler)
            _SEND_BYTES.put(connection.Connection, connection)
            _QUEUED.put(queues, _ForkingPickler)
            _DUMP.put(reduction, reduction)
        _reasons.add(reason)
        if reason == ARRAYS:
            _pickles.Sending.shares = True


def end(reason: str) -> None:
    """Everything is as it was when nobody has a reason any more."""
    with _lock:
        _reasons.discard(reason)
        if not _reasons:
            for place in _SEND, _SENT, _SEND_BYTES, _QUEUED, _DUMP:
                place.take_back()


def _begin_child() -> None:
    """Of a fork: another thread may have had it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_begin_child)


class _Place:
    """An attribute of multiprocessing's, and what we put there."""

    before: Any

    def __init__(self, name: str, ours: Any) -> None:
        self.name = name
        self.ours = ours
        self.owner: Any = None

    def put(self, owner: Any, of: Any) -> None:
        """If there is what multiprocessing has there: a function of this
        module, or this class."""
        there = getattr(owner, self.name)
        if there is of or (
            isinstance(there, FunctionType) and there.__globals__ is vars(of)
        ):
            self.before = there
            self.owner, self.kept = owner, vars(owner).get(self.name, _ABSENT)
            setattr(owner, self.name, self.ours)

    def take_back(self) -> None:
        """What another program has put there since stays."""
        owner, self.owner = self.owner, None
        if owner is None or vars(owner).get(self.name) is not self.ours:
            return
        if self.kept is _ABSENT:
            delattr(owner, self.name)
        else:
            setattr(owner, self.name, self.kept)


# What is put there. Each may be called by what another program has put there
# since: then it does what was done before, once nobody has a reason.


def _is_for_us() -> bool:
    """A program that has another ForkingPickler.dumps() wants that one."""
    return bool(_reasons) and _ForkingPickler.__dict__["dumps"] is _DUMPS


def send(self: Any, obj: object) -> None:
    """Send a (picklable) object"""
    if not _is_for_us() or not _peers.is_near(self):
        _SEND.before(self, obj)
        return
    self._check_closed()
    self._check_writable()
    self._send_bytes(_pickles.message(obj, self))


class _Sent(_ForkingPickler):
    """A connection is the caller's self. Looking there takes time."""

    @staticmethod
    def dumps(  # type: ignore[override]
        obj: object, protocol: int | None = None
    ) -> "Buffer":
        if protocol is None and _is_for_us():
            caller = sys._getframe(1)
            if caller.f_code.co_name == "send":
                connection = caller.f_locals.get("self")
                if _peers.is_near(connection):
                    return _pickles.message(obj, connection)
        return _ForkingPickler.dumps(obj, protocol)


def _send_bytes(self: Any, buf: Any) -> None:
    try:
        _SEND_BYTES.before(self, buf)
    except OSError as error:
        # What a signal's handler raises may come after the last byte was
        # sent; what the system says has an errno, and comes before that.
        if error.errno is not None:
            _pickles.take_back(buf)
        raise


class _Queued(_ForkingPickler):
    """For pipes of this process and what it starts."""

    @staticmethod
    def dumps(  # type: ignore[override]
        obj: object, protocol: int | None = None
    ) -> "Buffer":
        if protocol is not None or not _is_for_us():
            return _ForkingPickler.dumps(obj, protocol)
        return _pickles.message(obj)


# The names of both are looked for, where something is to be closed after the
# launch: shmemext_family.py.
def dump(obj: object, file: Any, protocol: int | None = None) -> None:
    """Replacement for pickle.dump() using ForkingPickler."""
    popen: Any = get_spawning_popen()
    if protocol is not None or popen is None or not _is_for_us():
        _DUMP.before(obj, file, protocol)
        return
    pickled = _pickles.message(obj)
    if type(pickled) is _pickles.Parcel:
        _Aboard(popen, pickled).hang_on(file)
    file.write(pickled)


class _Aboard:
    """What is sent to a child lives as long as the file into which all is
    pickled: until the launch is over. If that fails there is no child."""

    def __init__(self, popen: Any, parcel: _pickles.Parcel) -> None:
        self.popen = popen
        self.parcel = parcel

    def hang_on(self, file: Any) -> None:
        for owner in file, self.popen:
            try:
                vars(owner).setdefault("_shmemext_aboard", []).append(self)
            except TypeError:
                continue
            return

    def __del__(self) -> None:
        if getattr(self.popen, "pid", None) is None:
            _pickles.take_back(self.parcel)


_SEND = _Place("send", send)
_SENT = _Place("_ForkingPickler", _Sent)
_SEND_BYTES = _Place("_send_bytes", _send_bytes)
_QUEUED = _Place("_ForkingPickler", _Queued)
_DUMP = _Place("dump", dump)
