/* SPDX-License-Identifier: MIT */
/* What a wait is made of, one method a step, for tasks that cannot sleep in
 * one call: shmemext/_waiting.py is their only caller. */
#include <errno.h>

#include "py/sync/condition.h"

#define CORE(op) (&CONDITION(op)->core)

static int
get_me(PyObject *op, shx_waiter *me)
{
    shx_err err = shx_condition_me(CORE(op), me);
    if (err != 0) {
        (void)shx_condition_raise(op, err, "");
    }
    return err == 0 ? 0 : -1;
}

/* There is no slot but those that it has. */
static int
check_slot(PyObject *op, unsigned slot)
{
    if (slot < shx_condition_waiters(CORE(op)->at.parameter)) {
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, "no such slot");
    return -1;
}

/* (slot, how often the lock was held), without the lock. Or an exception, with
 * it: so what may fail comes before it is let go of. */
static PyObject *
condition_begin(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_waiter me;
    unsigned slot = 0;
    if (get_me(op, &me) < 0) {
        return NULL;
    }
    uint32_t depth = shx_condition_depth(CORE(op), &me);
    shx_err err =
        depth == 0 ? SHX_NOT_OWNER : shx_condition_enter(CORE(op), &me, &slot);
    PyObject *result = err == 0 ? Py_BuildValue("II", slot, depth) : NULL;
    if (err == 0) {
        if (result != NULL) {
            err = shx_condition_let_go(CORE(op), &me, &depth);
        }
        if (result == NULL || err != 0) {
            shx_condition_abandon(CORE(op), &me, slot);
        }
    }
    if (err != 0) {
        Py_XDECREF(result);
        return shx_condition_raise(
            op, err, "must acquire() condition before using wait_async()");
    }
    return result;
}

void
shx_condition_begin_waiting(shx_waiting *waiting, PyObject *op,
                            int64_t timeout, shx_waiter *me)
{
    shx_waiting_begin_whole(waiting, op, timeout);
    waiting->also = CONDITION(op)->lock;
    shx_waiting_as(waiting, op, &me->here);
    shx_waiting_as(waiting, waiting->also, &me->there);
}

/* Is it time to have the lock, and to leave? */
static PyObject *
condition_sleep(PyObject *op, PyObject *args)
{
    shx_waiter me;
    unsigned slot;
    double seconds;
    shx_waiting waiting;
    if (!PyArg_ParseTuple(args, "Id:_sleep", &slot, &seconds) ||
        check_slot(op, slot) < 0 || get_me(op, &me) < 0) {
        return NULL;
    }
    shx_condition_begin_waiting(&waiting, op, (int64_t)(seconds * 1e9), &me);
    shx_err err = shx_condition_sleep(CORE(op), &me, slot, &waiting.patience);
    err = shx_waiting_end(&waiting, err);
    if (err != 0 && err != ETIMEDOUT) {
        return shx_condition_raise(op, err, "");
    }
    return PyBool_FromLong(err == 0);
}

/* True: it has the lock again. None: and that is torn. False. */
static PyObject *
condition_retake(PyObject *op, PyObject *arg)
{
    shx_waiter me;
    unsigned long depth = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || get_me(op, &me) < 0) {
        return NULL;
    }
    shx_err err = shx_condition_retake(CORE(op), &me, (uint32_t)depth);
    switch (err) {
    case 0:
        Py_RETURN_TRUE;
    case SHX_OWNER_DIED:
        Py_RETURN_NONE;
    case EAGAIN:
        Py_RETURN_FALSE;
    default:
        return shx_condition_raise(op, err, "");
    }
}

/* Has it been notified? None: sleep on, if it is not to leave otherwise. */
static PyObject *
condition_leave(PyObject *op, PyObject *args)
{
    shx_waiter me;
    unsigned slot;
    int failed;
    bool notified;
    if (!PyArg_ParseTuple(args, "Ip:_leave", &slot, &failed) ||
        check_slot(op, slot) < 0 || get_me(op, &me) < 0) {
        return NULL;
    }
    shx_err err = shx_condition_leave(
        CORE(op), &me, slot, failed ? SHX_LEAVES_FAILED : SHX_LEAVES_NOTIFIED,
        &notified);
    if (err == 0 && shx_condition_is_torn(op)) {
        return shx_condition_raise(op, EFAULT, "");
    }
    if (err != 0) {
        Py_RETURN_NONE;
    }
    return PyBool_FromLong(notified);
}

static PyObject *
condition_let_go(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_waiter me;
    uint32_t depth;
    if (get_me(op, &me) < 0) {
        return NULL;
    }
    shx_err err = shx_condition_let_go(CORE(op), &me, &depth);
    if (err != 0) {
        return shx_condition_raise(op, err, "lock is not owned");
    }
    Py_RETURN_NONE;
}

static PyObject *
condition_abandon(PyObject *op, PyObject *arg)
{
    shx_waiter me;
    unsigned long slot = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || slot > SHX_CONDITION_MOST_WAITERS ||
        check_slot(op, (unsigned)slot) < 0 || get_me(op, &me) < 0) {
        return NULL;
    }
    shx_condition_abandon(CORE(op), &me, (unsigned)slot);
    Py_RETURN_NONE;
}

static PyObject *
condition_raise_died(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_condition_raise(op, SHX_OWNER_DIED, "");
}

PyMethodDef shx_condition_steps[] = {
    {"_begin", condition_begin, METH_NOARGS, NULL},
    {"_sleep", condition_sleep, METH_VARARGS, NULL},
    {"_retake", condition_retake, METH_O, NULL},
    {"_leave", condition_leave, METH_VARARGS, NULL},
    {"_let_go", condition_let_go, METH_NOARGS, NULL},
    {"_abandon", condition_abandon, METH_O, NULL},
    {"_raise_died", condition_raise_died, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
