# SPDX-License-Identifier: MIT
"""Pickles whose large buffers lie in a pool, and travel as references.

    what has none    the pickle that it would have been, of protocol 5
    what has some    _rebuild(pickle, references): who receives it calls
                     pickle.loads(), and needs to know nothing

A reference is in flight from the moment that it is made. Whatever fails before
it is sent takes it back, so that nothing is left for nobody."""

import copyreg
import os
import pickle
import sys
from io import BytesIO
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from . import _peers, _pools

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._pools import Reference

MIN_SIZE = 1 << 16
"""Bytes: below it a pipe is as quick."""

NEVER = sys.maxsize


class Sending:
    """One message, while it is pickled: called with each buffer that could
    lie beside the pickle, it says whether it lies within."""

    # Of all that are sent from now on: from how many bytes on a buffer that
    # nobody shares goes through the pool, and whether there is anything here
    # that is shared.
    least = NEVER
    shares = False

    connection: Any = None  # None: it goes to where we can be seen
    references: "list[Reference] | None" = None
    pid = 0

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # it is in pieces: nobody can refer to it
            return True
        size = raw.nbytes
        if size < self.least and not (
            self.shares and size and _pools.is_shared(raw)
        ):
            return True
        if not self.is_seen():
            return True
        reference = self.refer(raw)
        if reference is None:
            return True
        if self.references is None:
            self.references = []
            self.pid = os.getpid()
        self.references.append(reference)
        return False

    def refer(self, raw: memoryview) -> "Reference | None":
        return _pools.refer(raw)

    def is_seen(self) -> bool:
        """Does whoever receives it see what lies in /dev/shm?"""
        if self.connection is None:
            return True
        return _peers.see_us(self.connection)

    def reduce_array(self, array: Any) -> Any:
        """An array of numpy: what is shared of it goes by reference even if
        it lies in pieces."""
        from ._array_words import reduce_array

        reduced = reduce_array(array) if self.is_seen() else None
        return array.__reduce_ex__(5) if reduced is None else reduced

    def withdraw(self) -> None:
        """By who made them: a child that is forked in the middle of it has not
        sent them."""
        if self.references and self.pid == os.getpid():
            _pools.withdraw(self.references)
            self.references = None


class Parcel(bytes):
    """A message that has references, which are to be taken back if it cannot
    be sent."""

    references: "list[Reference]"
    pid: int


def take_back(data: Any) -> None:
    """What could not be sent: a message, or a view of it."""
    parcel = data.obj if type(data) is memoryview else data
    if type(parcel) is Parcel and parcel.pid == os.getpid():
        references, parcel.references = parcel.references, []
        _pools.withdraw(references)


class _Pickler(ForkingPickler):
    # Its own copies two dicts in Python, which takes a third of the time that
    # a small message takes.
    __init__ = pickle.Pickler.__init__


class _Outer:
    """What is pickled in the place of an object that has references."""

    def __init__(self, pickled: bytes, references: "list[Reference]") -> None:
        self.content = pickled, references

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self.content


def message(obj: object, connection: Any = None) -> "Buffer":
    """Of an object: a Parcel if there are references in it."""
    sending = Sending()
    if connection is not None:
        sending.connection = connection
    return pack(obj, sending)


def pack(obj: object, sending: Sending) -> "Buffer":
    file = BytesIO()
    # As ForkingPickler does it: what is registered later counts at once.
    pickler: Any = _Pickler(file, 5, True, sending)
    reducers: Any = copyreg.dispatch_table | _REGISTERED
    pickler.dispatch_table = reducers
    if sending.shares and "numpy" in sys.modules:
        _refer_to_arrays(reducers, sending)
    try:
        pickler.dump(obj)
        if sending.references is None:
            return file.getbuffer()
        outer = _Outer(file.getvalue(), sending.references)
        parcel = Parcel(pickle.dumps(outer, 5))
    except BaseException:
        sending.withdraw()
        raise
    parcel.references, parcel.pid = sending.references, sending.pid
    return parcel


_REGISTERED: Any = vars(ForkingPickler)["_extra_reducers"]


def _refer_to_arrays(reducers: Any, sending: Sending) -> None:
    kind = getattr(sys.modules["numpy"], "ndarray", None)
    if kind is not None and kind not in reducers:
        reducers[kind] = sending.reduce_array


def _rebuild(pickled: bytes, references: "list[Reference]") -> Any:
    """What the receiver's pickle.loads() calls."""
    return pickle.loads(pickled, buffers=_receive(references))


def _receive(references: "list[Reference]") -> list[memoryview]:
    """LookupError: they were received before. What else fails leaves nothing
    in flight, since nobody will receive it."""
    buffers = []
    try:
        for reference in references:
            buffers.append(memoryview(_pools.receive(reference)))
            if reference[5] & _pools.SHARED:
                _go_on_sharing()
    except LookupError:
        raise
    except BaseException:
        for reference in references[len(buffers) + 1 :]:
            if not reference[5] & _pools.KEPT:
                _pools.withdraw((reference,))
        raise
    return buffers


def _go_on_sharing() -> None:
    """What was shared with us is shared with whom we send it to."""
    if not Sending.shares:
        from . import _hooks

        _hooks.begin(_hooks.ARRAYS)
