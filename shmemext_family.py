# SPDX-License-Identifier: MIT
"""How a child that multiprocessing starts comes to be of its parent's family.

A family is what csrc/core/life/family.h says: its members share a lock. A
forked child inherits that. A program that is started anew is given an open
file that has it, by the way on which multiprocessing itself hands files to
children, reduction.DupFd. So the child is a member before it has run one line
of Python, and stays one whatever it imports, and when.

Nothing of multiprocessing is changed for that but data. Two things ride in
the current process's _config, which every Process object copies and which is
pickled for the child: the authkey, equal to what it was, and an entry of our
own. Each alone has a hole: a program that sets its authkey loses the one, a
Process object made before shmemext was imported has not got the other.

This is a module of its own, and small: it is what such a child imports first,
also one that shares nothing. If it cannot, what is pickled does without.
"""

import os
import sys
from contextlib import suppress
from multiprocessing import process

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    class _Plain(bytes): ...  # typeshed has it not
else:
    _Plain = process.AuthenticationString

# Those that have processes of their own: copies of multiprocessing.
packages = {"multiprocessing", "multiprocess", "billiard"}

# What the C side does, once it is imported: makes a share to give away, and
# takes one over.
_make: "Callable[[], tuple[str, int]] | None" = None
_take: "Callable[[str, int], bool] | None" = None

# The share that came with this process: the family's id, and, while nobody
# has taken it over, the descriptor and the file that it is of.
_id: "str | None" = None
_waiting: "tuple[int, tuple[int, int]] | None" = None


class Entry:
    """In _config: takes the family along when a process is started."""

    def __reduce__(self) -> "tuple[Any, ...]":
        return _aboard(None) or (Entry, ())


class Key(_Plain):
    """The authkey, which does the same."""

    def __reduce__(self) -> "tuple[Any, ...]":
        # Raises TypeError where no process is being started.
        plain: Any = super().__reduce__()
        return _aboard(bytes(self)) or plain


# Run in the child, maybe before sys.path is set: who does not find us has the
# file open all the same, and passes it to no program that it runs.
_ARRIVE = """\
try:
    from shmemext_family import arrive
except ImportError:
    from multiprocessing.process import AuthenticationString
    from os import set_inheritable

    def arrive(id, descriptor, key):
        set_inheritable(descriptor.detach(), False)
        return None if key is None else AuthenticationString(key)
made = arrive(id, descriptor, key)
"""


def _aboard(key: "bytes | None") -> "tuple[Any, ...] | None":
    """What is pickled for a process that is being started, if one is, and if
    there is a share to give."""
    share = share_for(None, _make_one)
    if share is None:
        return None
    id, descriptor = share
    names = {"id": id, "descriptor": descriptor, "key": key}
    return eval, ("exec(code) or made", {"code": _ARRIVE, **names})


def _make_one() -> "tuple[Any, int, bool] | None":
    if _make is not None:
        return (*_make(), True)
    if _id is not None and _waiting is not None:
        return _id, _waiting[0], False
    return None


def share_for(
    of: object, make: "Callable[[], tuple[Any, int, bool] | None]"
) -> "tuple[Any, Any] | None":
    """A descriptor that a process which is being started is to have, with
    what it means: None if none is. The same for all that is pickled for it
    of one thing, since no descriptor may be handed over twice. It is made
    when it is first asked for, and may have to be closed after the launch."""
    for package in packages:
        context: Any = sys.modules.get(f"{package}.context")
        popen = context and context.get_spawning_popen()
        if not popen:
            continue
        shares = vars(popen).setdefault("_shmemext", {})
        if of not in shares:
            shares[of] = None
            # Who cannot have one is told so when he comes to use it.
            with suppress(OSError):
                shares[of] = _handed(popen, package, make())
        share: tuple[Any, Any] | None = shares[of]
        return share
    return None


def _handed(
    popen: "Any", package: str, made: "tuple[Any, int, bool] | None"
) -> "tuple[Any, Any] | None":
    from importlib import import_module

    if made is None:
        return None
    meaning, descriptor, close = made
    if close:
        _close_after_launch(popen, descriptor)
    reduction: Any = import_module(f"{package}.reduction")
    return meaning, reduction.DupFd(descriptor)


class _Closing:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def _close_after_launch(popen: "Any", descriptor: int) -> None:
    """The file into which all is pickled dies when the launch is over, and so
    does what hangs on it. Where there is none to be found, the object that
    stands for the child is as good, but lives longer."""
    closing = _Closing(descriptor)
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "dump":
            with suppress(TypeError, KeyError):
                hung_on = vars(frame.f_locals["file"])
                hung_on.setdefault("_closing", []).append(closing)
                return
        frame = frame.f_back
    vars(popen).setdefault("_closing", []).append(closing)


def arrive(id: str, descriptor: "Any", key: "bytes | None") -> "Any":
    """In the child, for each thing that was pickled: the first one counts."""
    global _id, _waiting
    if id != _id:
        _id = id
        number = descriptor.detach()
        os.set_inheritable(number, False)
        status = os.fstat(number)
        _waiting = number, (status.st_dev, status.st_ino)
        _hand_over()
    return Entry() if key is None else Key(key)


def _hand_over() -> None:
    """What waits goes to the C side, unless the program has closed it, and
    maybe given its number to another file."""
    global _waiting
    if _take is None or _id is None or _waiting is None:
        return
    number, file = _waiting
    _waiting = None
    with suppress(OSError):
        status = os.fstat(number)
        if (status.st_dev, status.st_ino) == file:
            _take(_id, number)


def connect(
    make: "Callable[[], tuple[str, int]]", take: "Callable[[str, int], bool]"
) -> None:
    """The C side is there."""
    global _make, _take
    _make, _take = make, take
    _hand_over()
    carry()


def carry() -> None:
    """Put what rides along where it is copied from."""
    for package in packages:
        module: Any = sys.modules.get(f"{package}.process")
        current = module and module.current_process()
        config = getattr(current, "_config", None)
        if type(config) is not dict:
            continue
        config["shmemext"] = Entry()
        if type(config.get("authkey")) is _Plain:
            config["authkey"] = Key(config["authkey"])


def serves() -> bool:
    """Is this a fork server, which imports us for those that it will fork?"""
    servers = {f"{package}.forkserver" for package in packages}
    frame: Any = sys._getframe()
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if frame.f_code.co_name == "main" and module in servers:
            return True
        frame = frame.f_back
    return False
