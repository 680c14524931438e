/* SPDX-License-Identifier: MIT */
/* How it is, and which of its tasks are done. */
#include "core/channels/queue.h"
#include "py/awaited.h"
#include "py/channels/hand.h"
#include "py/channels/queue.h"

static int
count(PyObject *op, uint64_t *messages, bool *full)
{
    shx_member me;
    int status = -1;
    shx_link *link = shx_handle_link(op);
    if (link != NULL && shx_link_me(link, &me) == 0) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, &me, 0);
        shx_err err =
            shx_queue_count(&link->ring, &me, &wait.wait, messages, full);
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
             "meanwhile.\n\n"
             "ValueError: it is closed.");

static PyObject *
queue_qsize(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    uint64_t messages;
    bool full;
    return count(op, &messages, &full) < 0
               ? NULL
               : PyLong_FromUnsignedLongLong(messages);
}

PyDoc_STRVAR(full_doc,
             "full($self, /)\n--\n\n"
             "Return whether maxsize messages wait, more or less.\n\n"
             "ValueError: it is closed.");

static PyObject *
queue_full(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    uint64_t messages;
    bool full;
    return count(op, &messages, &full) < 0 ? NULL : PyBool_FromLong(full);
}

PyDoc_STRVAR(empty_doc, "empty($self, /)\n--\n\n"
                        "Return whether no message waits, more or less.\n\n"
                        "ValueError: it is closed.");

static PyObject *
queue_empty(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    PyObject *result = NULL;
    shx_link *link = shx_handle_link(op);
    if (link != NULL && shx_link_me(link, &me) == 0) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, &me, 0);
        shx_err err = shx_ring_await_message(&link->ring, &me, &wait.wait);
        err = shx_link_check(link, shx_link_end(&wait, err));
        bool none = err == EAGAIN || err == SHX_SHUT_DOWN;
        result = err == 0 || none ? PyBool_FromLong(none)
                                  : shx_link_raise(link, err);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

/* What this thread has in hand is done; else what this process has given back,
 * then what other threads of it have in hand, and then anybody's. */
static bool
settle(shx_hand *hand, shx_link *link, const shx_member *me)
{
    return shx_hand_empty(hand, link, true) ||
           shx_queue_settle(&link->ring, me, true) ||
           shx_hand_empty_any(link, true) ||
           shx_queue_settle(&link->ring, me, false);
}

PyDoc_STRVAR(task_done_doc,
             "task_done($self, /)\n--\n\n"
             "Say that the task is done which was got: see join().\n\n"
             "ValueError: all that were got are done; or it is closed.");

static PyObject *
queue_task_done(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    PyObject *result = NULL;
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_handle_link(op);
    shx_hand *hand = link == NULL ? NULL : shx_hand_of(state, link);
    if (hand != NULL && shx_link_me(link, &me) == 0) {
        if (settle(hand, link, &me)) {
            result = Py_NewRef(Py_None);
        }
        else {
            PyErr_SetString(PyExc_ValueError,
                            "task_done() called too many times");
        }
    }
    Py_XDECREF((PyObject *)hand);
    Py_XDECREF((PyObject *)link);
    return result;
}

PyDoc_STRVAR(join_doc,
             "join($self, /)\n--\n\n"
             "Wait until all tasks are done: as often as something was put "
             "task_done()\n"
             "was called. What a process had got and not said to be done when "
             "it ended\n"
             "is not waited for, but for what is given to another one.\n\n"
             "ValueError: it is closed.");

static PyObject *
queue_join(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    PyObject *result = NULL;
    shx_link *link = shx_handle_link(op);
    if (link != NULL && shx_link_me(link, &me) == 0) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, &me, -1);
        shx_err err = shx_queue_join(&link->ring, &me, &wait.wait);
        err = shx_link_check(link, shx_link_end(&wait, err));
        result = err == 0 ? Py_NewRef(Py_None) : shx_link_raise(link, err);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

/* At the end of the process: what it has in hand is not another's to have. */
static PyObject *
queue_give(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_link *link = shx_handle_link(op);
    if (link == NULL) {
        PyErr_Clear(); /* it has nothing */
        Py_RETURN_NONE;
    }
    shx_hand_empty_all(link);
    Py_DECREF((PyObject *)link);
    Py_RETURN_NONE;
}

/* Has anybody here ever got something from it? */
static PyObject *
queue_reads(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    bool reads;
    shx_link *link = shx_handle_link(op);
    if (link == NULL) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(link);
    reads = link->hands != NULL;
    Py_END_CRITICAL_SECTION();
    Py_DECREF((PyObject *)link);
    return PyBool_FromLong(reads);
}

/* Was anything put in that refers to a pool? Not if it is closed. */
static PyObject *
queue_has_referred(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_link *link = shx_handle_link(op);
    bool has = link != NULL && shx_queue_has_referred(&link->ring);
    PyErr_Clear();
    Py_XDECREF((PyObject *)link);
    return PyBool_FromLong(has);
}

/* For shmemext.wait(). */
static PyObject *
queue_awaited(PyObject *op, PyObject *Py_UNUSED(ignored))
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

PyMethodDef shx_queue_task_methods[] = {
    {"qsize", queue_qsize, METH_NOARGS, qsize_doc},
    {"full", queue_full, METH_NOARGS, full_doc},
    {"empty", queue_empty, METH_NOARGS, empty_doc},
    {"task_done", queue_task_done, METH_NOARGS, task_done_doc},
    {"join", queue_join, METH_NOARGS, join_doc},
    {"_give", queue_give, METH_NOARGS, NULL},
    {"_reads", queue_reads, METH_NOARGS, NULL},
    {"_has_referred", queue_has_referred, METH_NOARGS, NULL},
    {"_awaited", queue_awaited, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
