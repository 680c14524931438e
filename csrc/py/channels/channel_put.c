/* SPDX-License-Identifier: MIT */
/* What writers call. */
#include <errno.h>

#include "py/channels/channel.h"
#include "py/channels/reservation.h"

static PyObject *
refuse_long(shx_link *link, size_t length)
{
    uint64_t size = shx_ring_size_for(length);
    if (size == 0) {
        PyErr_Format(PyExc_ValueError,
                     "a message of %zu bytes: no channel takes one as long. "
                     "Put the bytes in a SharedMemory, and send its name",
                     length);
    }
    else {
        PyErr_Format(PyExc_ValueError,
                     "a message of %zu bytes is longer than the longest of "
                     "Channel(%R), which has %llu, 16 less than the half of "
                     "its size: create it with size=%llu",
                     length, link->name,
                     (unsigned long long)shx_ring_longest(&link->ring),
                     (unsigned long long)size);
    }
    return NULL;
}

static bool
is_long(shx_link *link, size_t length)
{
    return length > shx_ring_longest(&link->ring);
}

/* `total`: bytes of all of them. */
static shx_err
put_all(shx_link *link, shx_member *me, const shx_piece *pieces, size_t count,
        size_t total, int64_t timeout, size_t *done)
{
    shx_ring *ring = &link->ring;
    shx_err err = EBUSY;
    *done = 0;
    if (total <= SHX_LONG) {
        err = shx_ring_put(ring, me, pieces, count, done, NULL);
    }
    if (err == EBUSY || (err == EAGAIN && shx_link_blocks(timeout))) {
        shx_link_wait wait;
        size_t more;
        shx_link_begin(&wait, link, me, timeout);
        err = shx_ring_put(ring, me, pieces + *done, count - *done, &more,
                           &wait.wait);
        err = shx_link_end(&wait, err);
        *done += more;
    }
    return shx_link_check(link, err);
}

static PyObject *
put_one(shx_link *link, PyObject *data, int64_t timeout)
{
    Py_buffer view;
    shx_member me;
    size_t done;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    const shx_piece piece = {view.buf, (size_t)view.len};
    PyObject *result = NULL;
    if (is_long(link, piece.length)) {
        (void)refuse_long(link, piece.length);
    }
    else if (shx_link_me(link, &me) == 0) {
        shx_err err =
            put_all(link, &me, &piece, 1, piece.length, timeout, &done);
        result = err == 0 ? Py_NewRef(Py_None)
                 : err == ETIMEDOUT && timeout == SHX_SOON
                     ? Py_NewRef(Py_False)
                     : shx_link_raise_or(link, err, "Full");
    }
    PyBuffer_Release(&view);
    return result;
}

static bool
lacks(const char *function, const char *what, Py_ssize_t count)
{
    if (count == 0) {
        PyErr_Format(PyExc_TypeError,
                     "%s() missing 1 required positional argument: '%s'",
                     function, what);
    }
    return count == 0;
}

PyDoc_STRVAR(
    put_doc,
    "put($self, data, /, block=True, timeout=None)\n--\n\n"
    "Send the bytes of a buffer to one of the readers.\n\n"
    "If it returns the message will be delivered, whoever is killed.\n\n"
    "data: any C-contiguous buffer\n"
    "block: False: do not wait for room\n"
    "timeout: seconds to wait for room; None: for ever\n\n"
    "queue.Full: no room within that time, or at once without block.\n"
    "queue.ShutDown (EOFError before Python 3.13): shutdown() was called.\n"
    "ValueError: over half the size of the channel; or it is closed.\n"
    "OSError EBADMSG: it is damaged.");

static PyObject *
channel_put(PyObject *op, PyObject *const *args, Py_ssize_t count,
            PyObject *names)
{
    int64_t timeout;
    if (lacks("put", "data", count) ||
        shx_parse_waiting("put", args + 1, count - 1, names, &timeout) < 0) {
        return NULL;
    }
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : put_one(link, args[0], timeout);
    Py_XDECREF((PyObject *)link);
    return result;
}

PyDoc_STRVAR(put_nowait_doc,
             "put_nowait($self, data, /)\n--\n\n"
             "put(data, block=False). Arguments and errors are put()'s.");

static PyObject *
channel_put_nowait(PyObject *op, PyObject *data)
{
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : put_one(link, data, 0);
    Py_XDECREF((PyObject *)link);
    return result;
}

/* For tasks: False, if somebody stops in it, and it cannot be said whether
 * there is room. */
static PyObject *
channel_put_soon(PyObject *op, PyObject *data)
{
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : put_one(link, data, SHX_SOON);
    Py_XDECREF((PyObject *)link);
    return result;
}

/* Several at once: their buffers, and what the core is told. */
typedef struct {
    Py_buffer *views;
    shx_piece *pieces;
    Py_ssize_t count; /* of buffers that were had */
    size_t total;
} batch;

static void
leave(batch *all)
{
    for (Py_ssize_t i = 0; i < all->count; i++) {
        PyBuffer_Release(&all->views[i]);
    }
    PyMem_Free(all->views);
    PyMem_Free(all->pieces);
}

static int
gather(shx_link *link, PyObject *items, batch *all)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    *all = (batch){.views = PyMem_Calloc((size_t)count, sizeof *all->views),
                   .pieces = PyMem_Calloc((size_t)count, sizeof *all->pieces)};
    if (all->views == NULL || all->pieces == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_buffer *view = &all->views[i];
        PyObject *item = PySequence_Fast_GET_ITEM(items, i);
        if (PyObject_GetBuffer(item, view, PyBUF_SIMPLE) < 0) {
            return -1;
        }
        all->count = i + 1;
        all->pieces[i] = (shx_piece){view->buf, (size_t)view->len};
        all->total += all->pieces[i].length;
        if (is_long(link, all->pieces[i].length)) {
            (void)refuse_long(link, all->pieces[i].length);
            return -1;
        }
    }
    return 0;
}

static PyObject *
put_many(shx_link *link, PyObject *items, int64_t timeout)
{
    shx_member me;
    batch all = {.count = 0};
    PyObject *result = NULL;
    if (gather(link, items, &all) == 0 && shx_link_me(link, &me) == 0) {
        size_t done;
        shx_err err = put_all(link, &me, all.pieces, (size_t)all.count,
                              all.total, timeout, &done);
        bool some = done != 0 && (err == EAGAIN || err == ETIMEDOUT ||
                                  err == SHX_SHUT_DOWN);
        result = err == 0 || some ? PyLong_FromSize_t(done)
                                  : shx_link_raise_or(link, err, "Full");
    }
    leave(&all);
    return result;
}

PyDoc_STRVAR(
    put_many_doc,
    "put_many($self, messages, /, block=True, timeout=None)\n--\n\n"
    "Send the bytes of several buffers, in this order; return how many.\n\n"
    "As put() for each, but faster for small ones: they are fewer than there\n"
    "are only without block or with a timeout, or if shutdown() was called\n"
    "meanwhile. None is sent if one of them cannot be.\n\n"
    "messages: any C-contiguous buffers\n"
    "Other arguments are put()'s.\n\n"
    "queue.Full, queue.ShutDown: not even the first one. Other errors are\n"
    "put()'s.");

static PyObject *
channel_put_many(PyObject *op, PyObject *const *args, Py_ssize_t count,
                 PyObject *names)
{
    int64_t timeout;
    if (lacks("put_many", "messages", count) ||
        shx_parse_waiting("put_many", args + 1, count - 1, names, &timeout) <
            0) {
        return NULL;
    }
    shx_link *link = shx_handle_link(op);
    /* A list may change while its buffers are had: so it is a tuple. */
    PyObject *items = link == NULL ? NULL : PySequence_Tuple(args[0]);
    PyObject *result = items == NULL ? NULL : put_many(link, items, timeout);
    Py_XDECREF(items);
    Py_XDECREF((PyObject *)link);
    return result;
}

static PyObject *
reserve(shx_state *state, shx_link *link, Py_ssize_t length, int64_t timeout)
{
    shx_member me;
    shx_item item;
    if (shx_link_me(link, &me) < 0) {
        return NULL;
    }
    if (length < 0) {
        PyErr_SetString(PyExc_ValueError, "'nbytes' must not be negative");
        return NULL;
    }
    if (is_long(link, (size_t)length)) {
        return refuse_long(link, (size_t)length);
    }
    shx_err err =
        shx_ring_reserve(&link->ring, &me, (size_t)length, &item.record, NULL);
    if (err == EBUSY || (err == EAGAIN && shx_link_blocks(timeout))) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, &me, timeout);
        err = shx_ring_reserve(&link->ring, &me, (size_t)length, &item.record,
                               &wait.wait);
        err = shx_link_end(&wait, err);
    }
    err = shx_link_check(link, err);
    if (err != 0) {
        return shx_link_raise_or(link, err, "Full");
    }
    item.bytes = shx_ring_bytes(&link->ring, &item.record);
    item.length = (size_t)item.record.length;
    return shx_reservation_new(state, link, &item);
}

PyDoc_STRVAR(
    reserve_doc,
    "reserve($self, nbytes, /, block=True, timeout=None)\n--\n\n"
    "Room for a message, which is written in place: no copy.\n\n"
    "    with channel.reserve(nbytes) as view:\n"
    "        camera.readinto(view)\n\n"
    "view is a writable memoryview, which holds anything. The message is "
    "sent\n"
    "at the end of the 'with', and dropped if that ends with an exception.\n"
    "Who has reserved keeps those waiting who came later.\n\n"
    "nbytes: bytes of the view, not below 0\n"
    "Other arguments and the errors are put()'s.");

static PyObject *
channel_reserve(PyObject *op, PyObject *const *args, Py_ssize_t count,
                PyObject *names)
{
    int64_t timeout;
    if (lacks("reserve", "nbytes", count) ||
        shx_parse_waiting("reserve", args + 1, count - 1, names, &timeout) <
            0) {
        return NULL;
    }
    Py_ssize_t length = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
    if (length == -1 && PyErr_Occurred()) {
        return NULL;
    }
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_handle_link(op);
    PyObject *result =
        link == NULL ? NULL : reserve(state, link, length, timeout);
    Py_XDECREF((PyObject *)link);
    return result;
}

PyDoc_STRVAR(
    put_async_doc,
    "put_async($self, data, /)\n--\n\n"
    "put(), as a coroutine that lets other tasks run. A task that is\n"
    "cancelled has sent nothing.\n\n"
    "Arguments and errors are put()'s, but for queue.Full.");

static PyObject *
channel_put_async(PyObject *op, PyObject *data)
{
    PyObject *put = shx_import("shmemext._waiting", "put");
    PyObject *result =
        put == NULL ? NULL : PyObject_CallFunctionObjArgs(put, op, data, NULL);
    Py_XDECREF(put);
    return result;
}

PyMethodDef shx_channel_put_methods[] = {
    {"put", (PyCFunction)(void (*)(void))channel_put,
     METH_FASTCALL | METH_KEYWORDS, put_doc},
    {"put_nowait", channel_put_nowait, METH_O, put_nowait_doc},
    {"_put_soon", channel_put_soon, METH_O, NULL},
    {"put_async", channel_put_async, METH_O, put_async_doc},
    {"put_many", (PyCFunction)(void (*)(void))channel_put_many,
     METH_FASTCALL | METH_KEYWORDS, put_many_doc},
    {"reserve", (PyCFunction)(void (*)(void))channel_reserve,
     METH_FASTCALL | METH_KEYWORDS, reserve_doc},
    {NULL, NULL, 0, NULL},
};
