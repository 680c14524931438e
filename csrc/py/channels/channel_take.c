/* SPDX-License-Identifier: MIT */
/* What readers call. */
#include <errno.h>

#include "py/awaited.h"
#include "py/channels/channel.h"
#include "py/channels/message.h"

enum { MANY = 256 };

/* Takes as many as there are, `most` at most. */
static shx_err
take(shx_link *link, shx_member *me, shx_ring_record *records, size_t most,
     int64_t timeout, size_t *count)
{
    shx_ring *ring = &link->ring;
    shx_err err = shx_ring_take(ring, me, records, most, count, NULL);
    if (err == EBUSY || (err == EAGAIN && shx_link_blocks(timeout))) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, me, timeout);
        err = shx_ring_take(ring, me, records, most, count, &wait.wait);
        err = shx_link_end(&wait, err);
    }
    return err;
}

static PyObject *
copy(shx_link *link, const shx_ring_record *record)
{
    size_t length = (size_t)record->length;
    const void *from = shx_ring_bytes(&link->ring, record);
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (made == NULL) {
        return NULL;
    }
    shx_link_copy(PyBytes_AS_STRING(made), from, length);
    return made;
}

/* It was taken, and cannot be handed over. */
static void
put_back(shx_link *link, const shx_member *me, const shx_ring_record *records,
         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        shx_ring_return(&link->ring, me, &records[i]);
    }
}

/* `ends`: where there are no more for good, NULL without an exception. */
static PyObject *
get_one(shx_link *link, int64_t timeout, bool ends)
{
    shx_member me;
    shx_ring_record record;
    size_t count;
    if (shx_link_me(link, &me) < 0) {
        return NULL;
    }
    shx_err err = take(link, &me, &record, 1, timeout, &count);
    if (err != 0) {
        err = shx_link_check(link, err);
        return ends && err == SHX_SHUT_DOWN ? NULL
               : err == ETIMEDOUT && timeout == SHX_SOON
                   ? Py_NewRef(Py_None)
                   : shx_link_raise_or(link, err, "Empty");
    }
    PyObject *made = copy(link, &record);
    err = shx_link_check(link, 0);
    if (made == NULL || err != 0) {
        put_back(link, &me, &record, 1);
        Py_XDECREF(made);
        return made == NULL ? NULL : shx_link_raise(link, err);
    }
    shx_ring_give(&link->ring, &me, &record, 1);
    return made;
}

PyDoc_STRVAR(
    get_doc,
    "get($self, /, block=True, timeout=None)\n--\n\n"
    "Take the next message, as bytes. No message is given out twice.\n\n"
    "block: False: do not wait for one\n"
    "timeout: seconds to wait for one; None: for ever\n\n"
    "queue.Empty: none within that time, or at once without block.\n"
    "queue.ShutDown (EOFError before Python 3.13): shutdown() was called,\n"
    "and all messages are delivered. ValueError: it is closed.\n"
    "OSError EBADMSG: it is damaged.");

static PyObject *
channel_get(PyObject *op, PyObject *const *args, Py_ssize_t count,
            PyObject *names)
{
    int64_t timeout;
    if (shx_parse_waiting("get", args, count, names, &timeout) < 0) {
        return NULL;
    }
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : get_one(link, timeout, false);
    Py_XDECREF((PyObject *)link);
    return result;
}

PyDoc_STRVAR(get_nowait_doc, "get_nowait($self, /)\n--\n\n"
                             "get(block=False). Errors are get()'s.");

static PyObject *
channel_get_nowait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : get_one(link, 0, false);
    Py_XDECREF((PyObject *)link);
    return result;
}

/* For tasks: None, if somebody stops in it, and it cannot be said whether
 * there is a message. */
static PyObject *
channel_get_soon(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : get_one(link, SHX_SOON, false);
    Py_XDECREF((PyObject *)link);
    return result;
}

/* Copies all of them, or none: then they are back where they were. */
static int
hand_over(shx_link *link, const shx_member *me, const shx_ring_record *records,
          size_t count, PyObject *list)
{
    Py_ssize_t had = PyList_GET_SIZE(list);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        PyObject *made = copy(link, &records[i]);
        status = made == NULL ? -1 : PyList_Append(list, made);
        Py_XDECREF(made);
    }
    if (status == 0 && shx_link_check(link, 0) != 0) {
        (void)shx_link_raise(link, EFAULT);
        status = -1;
    }
    if (status == 0) {
        shx_ring_give(&link->ring, me, records, count);
        return 0;
    }
    put_back(link, me, records, count);
    PyObject *error = PyErr_GetRaisedException();
    if (PyList_SetSlice(list, had, PyList_GET_SIZE(list), NULL) < 0) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(error);
    return -1;
}

/* The first ones are waited for, and no more. */
static int
fill(shx_link *link, shx_member *me, size_t most, int64_t timeout,
     PyObject *list)
{
    shx_ring_record records[MANY];
    size_t count;
    shx_err err =
        take(link, me, records, most < MANY ? most : MANY, timeout, &count);
    if (err != 0) {
        (void)shx_link_raise_or(link, shx_link_check(link, err), "Empty");
        return -1;
    }
    while (hand_over(link, me, records, count, list) == 0) {
        most -= count;
        if (most == 0 ||
            shx_ring_take(&link->ring, me, records, most < MANY ? most : MANY,
                          &count, NULL) != 0) {
            return 0;
        }
    }
    if (PyList_GET_SIZE(list) == 0) {
        return -1;
    }
    PyErr_Clear(); /* those that are in the list are in nobody else's hand */
    return 0;
}

static PyObject *
get_many(shx_link *link, Py_ssize_t most, int64_t timeout)
{
    shx_member me;
    PyObject *list = PyList_New(0);
    if (list == NULL || shx_link_me(link, &me) < 0 ||
        fill(link, &me, (size_t)most, timeout, list) < 0) {
        Py_CLEAR(list);
    }
    return list;
}

PyDoc_STRVAR(get_many_doc,
             "get_many($self, /, max=1000, block=True, timeout=None)\n--\n\n"
             "Take as many messages as there are: a list of bytes.\n\n"
             "It waits for the first one as get() does, and for no more.\n\n"
             "max: how many at most\n"
             "Other arguments and the errors are get()'s.");

static int
parse_many(PyObject *asked, PyObject *block, PyObject *seconds,
           Py_ssize_t *most, int64_t *timeout)
{
    int blocks = PyObject_IsTrue(block);
    if (blocks < 0) {
        return -1;
    }
    if (asked != NULL) {
        *most = PyNumber_AsSsize_t(asked, PyExc_OverflowError);
        if (*most == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    if (*most < 1) {
        PyErr_SetString(PyExc_ValueError, "'max' must be at least 1");
        return -1;
    }
    if (shx_parse_timeout(seconds, timeout) < 0) {
        return -1;
    }
    *timeout = blocks ? *timeout : 0;
    return 0;
}

/* With references of its own: code that runs meanwhile may find the dict of
 * the keywords, and change it. */
static PyObject *
channel_get_many(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"max", "block", "timeout", NULL};
    PyObject *asked = NULL, *block = Py_True, *seconds = Py_None;
    Py_ssize_t most = 1000;
    int64_t timeout;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOO:get_many", keywords,
                                     &asked, &block, &seconds)) {
        return NULL;
    }
    Py_XINCREF(asked);
    Py_INCREF(block);
    Py_INCREF(seconds);
    int status = parse_many(asked, block, seconds, &most, &timeout);
    Py_XDECREF(asked);
    Py_DECREF(block);
    Py_DECREF(seconds);
    shx_link *link = status < 0 ? NULL : shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : get_many(link, most, timeout);
    Py_XDECREF((PyObject *)link);
    return result;
}

static PyObject *
in_hand(shx_state *state, shx_link *link, shx_item *item)
{
    item->bytes = shx_ring_bytes(&link->ring, &item->record);
    item->length = (size_t)item->record.length;
    return shx_message_new(state, state->message_type, link, item,
                           shx_ring_deliveries(&item->record) + 1);
}

static PyObject *
receive(PyObject *op, int64_t timeout)
{
    shx_member me;
    shx_item item;
    size_t count;
    PyObject *result = NULL;
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_handle_link(op);
    if (link != NULL && shx_link_me(link, &me) == 0) {
        shx_err err = take(link, &me, &item.record, 1, timeout, &count);
        err = shx_link_check(link, err);
        result = err == 0 ? in_hand(state, link, &item)
                          : shx_link_raise_or(link, err, "Empty");
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

PyDoc_STRVAR(
    receive_doc,
    "receive($self, /, block=True, timeout=None)\n--\n\n"
    "Take the next message, which is read in place: no copy.\n\n"
    "    with channel.receive() as message:\n"
    "        work_on(message)\n\n"
    "If the process is killed before the end of the 'with', another reader\n"
    "gets the message, with message.deliveries one more.\n\n"
    "Arguments and errors are get()'s.");

static PyObject *
channel_receive(PyObject *op, PyObject *const *args, Py_ssize_t count,
                PyObject *names)
{
    int64_t timeout;
    if (shx_parse_waiting("receive", args, count, names, &timeout) < 0) {
        return NULL;
    }
    return receive(op, timeout);
}

/* Of `for data in channel`. */
PyObject *
shx_channel_next(PyObject *op)
{
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : get_one(link, -1, true);
    Py_XDECREF((PyObject *)link);
    return result;
}

PyDoc_STRVAR(
    get_async_doc,
    "get_async($self, /)\n--\n\n"
    "get(), as a coroutine that lets other tasks run. A task that is\n"
    "cancelled has taken nothing. See asyncio.wait_for() for a\n"
    "timeout.\n\n"
    "Errors are get()'s, but for queue.Empty.");

static PyObject *
channel_get_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("get", op);
}

PyObject *
shx_channel_next_async(PyObject *op)
{
    return shx_call_waiting("following", op);
}

/* For who watches in a thread: until there may be a message, or, if data are
 * given, room for these. */
static PyObject *
channel_watch(PyObject *op, PyObject *args)
{
    PyObject *seconds, *data;
    int64_t timeout;
    shx_member me;
    Py_buffer view = {.len = 0};
    if (!PyArg_ParseTuple(args, "OO:_watch", &seconds, &data) ||
        shx_parse_timeout(seconds, &timeout) < 0) {
        return NULL;
    }
    if (data != Py_None) {
        if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
            return NULL;
        }
        PyBuffer_Release(&view);
    }
    shx_link *link = shx_handle_link(op);
    if (link == NULL || shx_link_me(link, &me) < 0) {
        Py_XDECREF((PyObject *)link);
        return NULL;
    }
    shx_link_wait wait;
    shx_link_begin(&wait, link, &me, timeout);
    shx_err err = data == Py_None
                      ? shx_ring_await_message(&link->ring, &me, &wait.wait)
                      : shx_ring_await_room(&link->ring, &me, (size_t)view.len,
                                            &wait.wait);
    /* What else there is to say, the next call says. */
    (void)shx_link_end(&wait, err);
    PyObject *result = PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    Py_DECREF((PyObject *)link);
    return result;
}

/* For shmemext.wait(). */
static PyObject *
channel_awaited(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    shx_py_awaited *made = NULL;
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_handle_link(op);
    if (link != NULL && shx_link_me(link, &me) == 0) {
        made = shx_awaited_new(state, (PyObject *)link, link->mapping);
    }
    if (made != NULL) {
        made->party = link->party;
        shx_ring_await(&link->ring, &me, &made->core);
    }
    Py_XDECREF((PyObject *)link);
    return (PyObject *)made;
}

PyMethodDef shx_channel_take_methods[] = {
    {"get", (PyCFunction)(void (*)(void))channel_get,
     METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"get_nowait", channel_get_nowait, METH_NOARGS, get_nowait_doc},
    {"_get_soon", channel_get_soon, METH_NOARGS, NULL},
    {"get_many", (PyCFunction)(void (*)(void))channel_get_many,
     METH_VARARGS | METH_KEYWORDS, get_many_doc},
    {"get_async", channel_get_async, METH_NOARGS, get_async_doc},
    {"_awaited", channel_awaited, METH_NOARGS, NULL},
    {"_watch", channel_watch, METH_VARARGS, NULL},
    {"receive", (PyCFunction)(void (*)(void))channel_receive,
     METH_FASTCALL | METH_KEYWORDS, receive_doc},
    {NULL, NULL, 0, NULL},
};
