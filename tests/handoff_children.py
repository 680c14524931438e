# SPDX-License-Identifier: MIT
"""What is sent, by all ways there are, and what the other side does with it:
importable there by name."""

import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

from shmemext import _shmemext, handoff

METHODS = ["fork", "spawn", "forkserver"]
LARGE = 1 << 17  # bytes: more than min_size


def lies_in_pool(sent):
    """Is it what the other side put there, and no copy of it?"""
    base = sent
    while type(base).__name__ == "ndarray":
        base = base.base
    return type(base) is memoryview and type(base.obj) is _shmemext.Lease


def echo(sent):
    """A buffer arrives as a memoryview, of which there are no pickles."""
    there = lies_in_pool(sent)
    if type(sent) is memoryview:
        return there, pickle.PickleBuffer(sent)
    return there, sent


def serve(get, put):
    """Until None comes."""
    handoff.enable()
    while (sent := get()) is not None:
        put(echo(sent))


def serve_connection(connection):
    serve(connection.recv, connection.send)


def serve_queues(requests, replies):
    serve(requests.get, replies.put)


def send_back(connection, sent):
    handoff.enable()
    connection.send(echo(sent))


def _through(context, target, ours, theirs, objects):
    """One after the other, by what sends here and what receives here."""
    put, get = ours
    process = context.Process(target=target, args=theirs)
    process.start()
    for end in theirs:
        if type(end).__name__ == "Connection":
            end.close()
    back = []
    for one in objects:
        put(one)
        back.append(get())
    put(None)
    process.join()
    assert process.exitcode == 0
    return back


def by_pipe(context, objects):
    here, there = context.Pipe()
    with here, there:
        ours = here.send, here.recv
        return _through(context, serve_connection, ours, (there,), objects)


def by_simplex_pipes(context, objects):
    ends = [*context.Pipe(duplex=False), *context.Pipe(duplex=False)]
    reader, there, theirs, writer = ends
    ours = writer.send, reader.recv
    args = theirs, there
    back = _through(context, serve_ends, ours, args, objects)
    for end in ends:
        end.close()
    return back


def serve_ends(reader, writer):
    serve(reader.recv, writer.send)


def by_queue(context, objects):
    return _by_queues(context, context.Queue, objects)


def by_simple_queue(context, objects):
    return _by_queues(context, context.SimpleQueue, objects)


def by_joinable_queue(context, objects):
    return _by_queues(context, context.JoinableQueue, objects)


def _by_queues(context, kind, objects):
    queues = kind(), kind()
    ours = queues[0].put, queues[1].get
    back = _through(context, serve_queues, ours, queues, objects)
    for queue in queues:
        queue.close()
        if hasattr(queue, "join_thread"):
            queue.join_thread()
    return back


def by_pool(context, objects):
    with context.Pool(2, initializer=handoff.enable) as pool:
        return pool.map(echo, objects, chunksize=1)


def by_short_lived_workers(context, objects):
    with context.Pool(
        1, initializer=handoff.enable, maxtasksperchild=1
    ) as pool:
        back = [pool.apply(echo, (one,)) for one in objects]
        pool.close()
        pool.join()
    return back


def by_executor(context, objects):
    with ProcessPoolExecutor(
        2, mp_context=context, initializer=handoff.enable
    ) as executor:
        return list(executor.map(echo, objects))


def by_manager(context, objects):
    """It has two trips: there and back."""
    manager = context_manager(context)
    with manager:
        kept = manager.list(objects)
        return [(lies_in_pool(one), one) for one in kept]


def context_manager(context):
    from multiprocessing.managers import SyncManager

    manager = SyncManager(ctx=context)
    manager.start(initializer=handoff.enable)
    return manager


def by_arguments(context, objects):
    back = []
    for one in objects:
        here, there = context.Pipe()
        with here, there:
            process = context.Process(target=send_back, args=(there, one))
            process.start()
            back.append(here.recv())
            process.join()
    return back


WAYS = {
    name.removeprefix("by_"): function
    for name, function in dict(vars(sys.modules[__name__])).items()
    if name.startswith("by_")
}
