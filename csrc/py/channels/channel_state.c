/* SPDX-License-Identifier: MIT */
/* How it is, and its end. */
#include "py/channels/channel.h"

PyDoc_STRVAR(
    shutdown_doc,
    "shutdown($self, /)\n--\n\n"
    "No more messages, for good.\n\n"
    "Every put() raises queue.ShutDown (EOFError before Python 3.13)\n"
    "from now on. Readers get what is left, and then that: also what\n"
    "comes back of a reader that is killed, so they wait for those\n"
    "who have messages in hand. See queue.Queue.shutdown().\n\n"
    "ValueError: it is closed.");

static PyObject *
channel_shutdown(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    PyObject *result = NULL;
    shx_link *link = shx_handle_link(op);
    if (link != NULL && shx_link_me(link, &me) == 0) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, &me, -1);
        shx_err err =
            shx_ring_shut_down(&link->ring, &me, &wait.wait.patience);
        err = shx_link_check(link, shx_link_end(&wait, err));
        result = err == 0 ? Py_NewRef(Py_None) : shx_link_raise(link, err);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

static int
look(PyObject *op, shx_ring_state *state)
{
    shx_member me;
    int status = -1;
    shx_link *link = shx_handle_link(op);
    if (link != NULL && shx_link_me(link, &me) == 0) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, &me, 0);
        shx_err err = shx_ring_look(&link->ring, &me, &wait.wait, state);
        err = shx_link_check(link, shx_link_end(&wait, err));
        if (err != 0) {
            (void)shx_link_raise(link, err);
        }
        status = err == 0 ? 0 : -1;
    }
    Py_XDECREF((PyObject *)link);
    return status;
}

PyDoc_STRVAR(qsize_doc,
             "qsize($self, /)\n--\n\n"
             "Return how many messages wait, more or less: others go on\n"
             "meanwhile. It looks at each of them.\n\n"
             "ValueError: it is closed.");

static PyObject *
channel_qsize(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_ring_state state;
    return look(op, &state) < 0 ? NULL
                                : PyLong_FromUnsignedLongLong(state.messages);
}

PyDoc_STRVAR(empty_doc, "empty($self, /)\n--\n\n"
                        "Return whether no message waits, more or less.\n\n"
                        "ValueError: it is closed.");

static PyObject *
channel_empty(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_ring_state state;
    return look(op, &state) < 0 ? NULL : PyBool_FromLong(state.messages == 0);
}

PyDoc_STRVAR(full_doc, "full($self, /)\n--\n\n"
                       "Return whether there is no room for one byte more.\n\n"
                       "ValueError: it is closed.");

static PyObject *
channel_full(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_ring_state state;
    return look(op, &state) < 0 ? NULL : PyBool_FromLong(state.full);
}

/* What `shmemext channels` shows. */
static PyObject *
channel_look(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_ring_state state;
    return look(op, &state) < 0
               ? NULL
               : Py_BuildValue("KKKKK", state.messages, state.bytes,
                               state.taken, state.discarded,
                               state.redelivered);
}

PyMethodDef shx_channel_state_methods[] = {
    {"shutdown", channel_shutdown, METH_NOARGS, shutdown_doc},
    {"qsize", channel_qsize, METH_NOARGS, qsize_doc},
    {"empty", channel_empty, METH_NOARGS, empty_doc},
    {"full", channel_full, METH_NOARGS, full_doc},
    {"_look", channel_look, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
