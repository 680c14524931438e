/* SPDX-License-Identifier: MIT */
/* Frames in and out: what a Broadcast's writer and its readers call. */
#include <errno.h>

#include "py/awaited.h"
#include "py/channels/broadcast.h"
#include "py/channels/message.h"
#include "py/channels/reservation.h"

/* Each of these says the way out. */

static PyObject *
refuse_long(shx_link *link, size_t length)
{
    return PyErr_Format(
        PyExc_ValueError,
        "a frame of %zu bytes is longer than the longest of Broadcast(%R), "
        "which has %llu: create it with size=%zu",
        length, link->name,
        (unsigned long long)link->cast.broadcast.shape.size, length);
}

static PyObject *
refuse_second(shx_link *link)
{
    const char *words =
        "which lives, and there is one at a time: when that one is closed, "
        "or ends, this one may write";
    shx_lock_state state = shx_broadcast_writer(&link->cast.broadcast);
    PyObject *text =
        state.held && !state.ours && state.pid != 0
            ? PyUnicode_FromFormat("it has a writer, process %lu, %s",
                                   (unsigned long)state.pid, words)
            : PyUnicode_FromFormat("it has a writer, %s, %s",
                                   state.ours
                                       ? "another Broadcast of this process"
                                       : "another process",
                                   words);
    return shx_raise_text(EBUSY, text, link->name);
}

static PyObject *
refuse_more(shx_link *link)
{
    const shx_broadcast *cast = &link->cast.broadcast;
    shx_broadcast_state state = shx_broadcast_look(cast);
    const char *pinned =
        ", some of them for good, since who had them forked too often";
    PyObject *text = PyUnicode_FromFormat(
        "its readers hold %u frames%s, and no more may be held: let go of "
        "views and arrays of those that are done with, or create it with "
        "more than readers=%u",
        cast->shape.readers, state.pinned != 0 ? pinned : "",
        cast->shape.readers);
    return shx_raise_text(ENOBUFS, text, link->name);
}

static PyObject *
refuse_full(shx_link *link)
{
    PyObject *text = PyUnicode_FromFormat(
        "no room is left in shared memory for a frame of %llu bytes more "
        "(readers hold those that there are, or this is the first one): free "
        "some, or mount more",
        (unsigned long long)link->cast.broadcast.shape.size);
    return shx_raise_text(ENOSPC, text, link->name);
}

static PyObject *
refuse_frame(shx_link *link, shx_err err)
{
    switch (err) {
    case SHX_SECOND_WRITER:
        return refuse_second(link);
    case SHX_TOO_MANY:
        return refuse_more(link);
    case ENOSPC:
        return refuse_full(link);
    case EBUSY:
        return shx_raise_unsupported(
            EBUSY,
            "a frame is being written by this Broadcast: end its reservation "
            "first",
            link->name);
    case EACCES:
        return shx_raise_unsupported(
            EACCES,
            "this process may only read it, and so receive frames: who may "
            "write the file may be its writer",
            link->name);
    default:
        return shx_link_raise_or(link, err, "Empty");
    }
}

/* Pages that there is no room for are refused here, not at their touch. */
static shx_err
furnish(shx_link *link, const shx_frame *frame)
{
    shx_err err = EINTR;
    while (err == EINTR) {
        Py_BEGIN_ALLOW_THREADS
        err = shx_broadcast_furnish(&link->cast.broadcast, frame);
        Py_END_ALLOW_THREADS
        if (err == EINTR && PyErr_CheckSignals() < 0) {
            err = SHX_INTERRUPTED;
        }
    }
    return err;
}

static shx_err
begin_frame(shx_link *link, const shx_member *me, size_t length,
            shx_item *item)
{
    shx_broadcast *cast = &link->cast.broadcast;
    if (!link->data->segment.writable) {
        return EACCES;
    }
    shx_err err = shx_broadcast_reserve(cast, me, length, &item->frame);
    if (err != 0) {
        return shx_link_check(link, err);
    }
    item->bytes = shx_broadcast_bytes(cast, &item->frame);
    item->length = length;
    if (!shx_broadcast_is_furnished(cast, &item->frame)) {
        err = furnish(link, &item->frame);
    }
    err = shx_link_check(link, err);
    if (err != 0) {
        shx_link_finish(link, item, false);
    }
    return err;
}

/* -1 with an exception. */
static int
reserve(shx_link *link, size_t length, shx_item *item)
{
    shx_member me;
    if (length > link->cast.broadcast.shape.size) {
        (void)refuse_long(link, length);
        return -1;
    }
    if (shx_link_me(link, &me) < 0) {
        return -1;
    }
    shx_err err = begin_frame(link, &me, length, item);
    if (err != 0) {
        (void)refuse_frame(link, err);
    }
    return err == 0 ? 0 : -1;
}

PyDoc_STRVAR(
    put_doc,
    "put($self, data, /)\n--\n\n"
    "Make a copy of a buffer the newest frame. It never waits.\n\n"
    "Who puts is the writer from then on, until it is closed.\n\n"
    "data: any C-contiguous buffer of size bytes at most\n\n"
    "OSError EBUSY: another living process is the writer, whose pid is told;\n"
    "or a frame is being written by this object. OSError ENOSPC: there is no\n"
    "room in /dev/shm. ValueError: longer than size; or it is closed.\n"
    "PermissionError: this process may only read it. OSError EBADMSG: it is\n"
    "damaged.");

static PyObject *
broadcast_put(PyObject *op, PyObject *data)
{
    Py_buffer view;
    shx_item item;
    shx_link *link = shx_handle_link(op);
    if (link == NULL || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF((PyObject *)link);
        return NULL;
    }
    int status = reserve(link, (size_t)view.len, &item);
    if (status == 0) {
        shx_link_copy(item.bytes, view.buf, item.length);
        shx_err err = shx_link_check(link, 0);
        shx_link_finish(link, &item, err == 0);
        if (err != 0) {
            (void)shx_link_raise(link, err);
            status = -1;
        }
    }
    PyBuffer_Release(&view);
    Py_DECREF((PyObject *)link);
    return status == 0 ? Py_NewRef(Py_None) : NULL;
}

PyDoc_STRVAR(
    reserve_doc,
    "reserve($self, nbytes=None, /)\n--\n\n"
    "Room for the next frame, which is written in place: no copy.\n\n"
    "    with cast.reserve() as view:\n"
    "        camera.readinto(view)\n\n"
    "view is a writable memoryview, which holds anything. At the end of the\n"
    "'with' it is the newest frame, whole; if that ends with an exception it\n"
    "is none. It never waits.\n\n"
    "nbytes: bytes of the view, size at most; None: size\n\n"
    "Errors are put()'s.");

/* None: -1. */
static int
parse_length(PyObject *arg, Py_ssize_t *length)
{
    *length = -1;
    if (arg == Py_None) {
        return 0;
    }
    *length = PyNumber_AsSsize_t(arg, PyExc_OverflowError);
    if (*length < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "'nbytes' must not be negative");
    }
    return *length < 0 ? -1 : 0;
}

static PyObject *
broadcast_reserve(PyObject *op, PyObject *args)
{
    shx_item item;
    Py_ssize_t length;
    PyObject *asked = Py_None, *result = NULL;
    if (!PyArg_ParseTuple(args, "|O:reserve", &asked) ||
        parse_length(asked, &length) < 0) {
        return NULL;
    }
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_handle_link(op);
    if (link != NULL) {
        size_t size = length < 0 ? (size_t)link->cast.broadcast.shape.size
                                 : (size_t)length;
        result = reserve(link, size, &item) < 0
                     ? NULL
                     : shx_reservation_new(state, link, &item);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

static shx_err
take(shx_link *link, shx_member *me, int64_t timeout, shx_frame *frame)
{
    shx_broadcast *cast = &link->cast.broadcast;
    shx_reader *reader = &link->cast.reader;
    shx_err err = shx_broadcast_receive(cast, me, reader, frame, NULL);
    if (err == EAGAIN && timeout != 0) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, me, timeout);
        err = shx_broadcast_receive(cast, me, reader, frame,
                                    &wait.wait.patience);
        err = shx_link_end(&wait, err);
    }
    return err;
}

static PyObject *
receive(shx_state *state, shx_link *link, int64_t timeout)
{
    shx_member me;
    shx_item item;
    if (shx_link_me(link, &me) < 0) {
        return NULL;
    }
    shx_err err = take(link, &me, timeout, &item.frame);
    if (err != 0) {
        return refuse_frame(link, shx_link_check(link, err));
    }
    item.bytes = shx_broadcast_bytes(&link->cast.broadcast, &item.frame);
    item.length = (size_t)item.frame.length;
    if (shx_link_check(link, 0) != 0) {
        shx_link_give(link, &item, false);
        return shx_link_raise(link, EFAULT);
    }
    return shx_message_new(state, state->frame_type, link, &item,
                           item.frame.seq);
}

PyDoc_STRVAR(
    receive_doc,
    "receive($self, /, timeout=None)\n--\n\n"
    "The newest frame, which is read in place: no copy.\n\n"
    "    with cast.receive() as frame:\n"
    "        show(frame)\n\n"
    "It waits for one that was not received here before. Nobody writes to it\n"
    "before the end of the 'with', nor while there are arrays over it.\n"
    "frame.seq is its number, and missed counts those that passed.\n\n"
    "timeout: seconds to wait for one; None: for ever\n\n"
    "queue.Empty: no frame within that time; see writer. OSError ENOBUFS: as\n"
    "many frames as readers= said are held. ValueError: it is closed.\n"
    "OSError EBADMSG: it is damaged.");

static PyObject *
broadcast_receive(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"timeout", NULL};
    PyObject *seconds = Py_None;
    int64_t timeout;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:receive", keywords,
                                     &seconds) ||
        shx_parse_timeout(seconds, &timeout) < 0) {
        return NULL;
    }
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : receive(state, link, timeout);
    Py_XDECREF((PyObject *)link);
    return result;
}

PyDoc_STRVAR(
    receive_async_doc,
    "receive_async($self, /)\n--\n\n"
    "receive(), as a coroutine that lets other tasks run. A task that is\n"
    "cancelled has received nothing. See asyncio.wait_for() for a\n"
    "timeout.\n\n"
    "Errors are receive()'s, but for queue.Empty.");

static PyObject *
broadcast_receive_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("receive", op);
}

/* For who watches in a thread: until there may be a frame. */
static PyObject *
broadcast_watch(PyObject *op, PyObject *seconds)
{
    int64_t timeout;
    shx_member me;
    if (shx_parse_timeout(seconds, &timeout) < 0) {
        return NULL;
    }
    shx_link *link = shx_handle_link(op);
    if (link == NULL || shx_link_me(link, &me) < 0) {
        Py_XDECREF((PyObject *)link);
        return NULL;
    }
    shx_link_wait wait;
    shx_link_begin(&wait, link, &me, timeout);
    shx_err err = shx_broadcast_await(&link->cast.broadcast,
                                      &link->cast.reader, &wait.wait.patience);
    /* What else there is to say, the next call says. */
    (void)shx_link_end(&wait, err);
    PyObject *result = PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    Py_DECREF((PyObject *)link);
    return result;
}

/* For shmemext.wait(). */
static PyObject *
broadcast_awaited(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_py_awaited *made = NULL;
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_handle_link(op);
    if (link != NULL) {
        made = shx_awaited_new(state, (PyObject *)link, link->mapping);
    }
    if (made != NULL) {
        shx_broadcast_await_beside(&link->cast.broadcast, &link->cast.reader,
                                   &made->core);
    }
    Py_XDECREF((PyObject *)link);
    return (PyObject *)made;
}

/* What the command shows. */
static PyObject *
broadcast_look(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *result = NULL;
    shx_link *link = shx_handle_link(op);
    if (link != NULL) {
        shx_broadcast_state state = shx_broadcast_look(&link->cast.broadcast);
        shx_err err = shx_link_check(link, 0);
        result = err != 0
                     ? shx_link_raise(link, err)
                     : Py_BuildValue("KII", (unsigned long long)state.newest,
                                     state.held, state.pinned);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

PyMethodDef shx_broadcast_frame_methods[] = {
    {"put", broadcast_put, METH_O, put_doc},
    {"reserve", broadcast_reserve, METH_VARARGS, reserve_doc},
    {"receive", (PyCFunction)(void (*)(void))broadcast_receive,
     METH_VARARGS | METH_KEYWORDS, receive_doc},
    {"receive_async", broadcast_receive_async, METH_NOARGS, receive_async_doc},
    {"_watch", broadcast_watch, METH_O, NULL},
    {"_awaited", broadcast_awaited, METH_NOARGS, NULL},
    {"_look", broadcast_look, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
