/* SPDX-License-Identifier: MIT */
#include "py/sync/counter.h"

#include <errno.h>
#include <limits.h> /* INT_MAX */

#include "py/memory/memory.h"

#define KIND(op) ((const shx_counter_kind *)(SYNCHRONIZER(op)->kind))
#define SITE(op) (&SYNCHRONIZER(op)->site)

/* What lies in memory that was cut short is shared with nobody any more. */
static PyObject *
answer(PyObject *op, shx_err err)
{
    if (err == 0 && shx_synchronizer_is_torn(op)) {
        (void)KIND(op)->release(op, 1);
        err = EFAULT;
    }
    return shx_synchronizer_answer(op, err);
}

/* Whether a holder is dead the system says, and that takes a moment. */
static shx_err
attempt(PyObject *op)
{
    shx_err err = EAGAIN;
    if (KIND(op)->attempt != NULL) {
        Py_BEGIN_ALLOW_THREADS
        err = KIND(op)->attempt(op);
        Py_END_ALLOW_THREADS
    }
    return err;
}

static shx_err
wait_for(PyObject *op, int64_t timeout)
{
    shx_waiting waiting;
    shx_waiting_begin_whole(&waiting, op, timeout);
    shx_err err = KIND(op)->acquire(op, &waiting);
    return shx_waiting_end(&waiting, err);
}

static PyObject *
acquire(PyObject *op, int64_t timeout)
{
    if (KIND(op)->take(op)) {
        return answer(op, 0);
    }
    return answer(op, timeout == 0 ? attempt(op) : wait_for(op, timeout));
}

PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, /, block=True, timeout=None)\n--\n\n"
    "Take one; return whether one was to be had in time.\n\n" SHX_ACQUIRE_DOC
    "\n\n"
    "OSError: the memory was cut short.");

static PyObject *
counter_acquire(PyObject *op, PyObject *const *args, Py_ssize_t count,
                PyObject *names)
{
    int64_t timeout;
    if (shx_parse_waiting("acquire", args, count, names, &timeout) < 0) {
        return NULL;
    }
    return acquire(op, timeout);
}

static PyObject *
counter_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return acquire(op, -1);
}

static PyObject *
release(PyObject *op, uint32_t count)
{
    shx_err err = KIND(op)->release(op, count);
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    if (err != 0) {
        return KIND(op)->refuse(op, err);
    }
    Py_RETURN_NONE;
}

/* The arguments of release(n=1): -1 with an exception. */
static int
parse_count(PyObject *const *args, Py_ssize_t count, PyObject *names,
            uint32_t *out)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    *out = 1;
    if (count + named == 0) {
        return 0;
    }
    if (count + named > 1) {
        PyErr_Format(PyExc_TypeError,
                     "release() takes at most 1 argument (%zd given)",
                     count + named);
        return -1;
    }
    if (named != 0 && PyUnicode_CompareWithASCIIString(
                          PyTuple_GET_ITEM(names, 0), "n") != 0) {
        PyErr_Format(PyExc_TypeError,
                     "release() got an unexpected keyword argument %R",
                     PyTuple_GET_ITEM(names, 0));
        return -1;
    }
    int value = PyLong_AsInt(args[0]);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (value < 1) {
        PyErr_SetString(PyExc_ValueError, "n must be one or more");
        return -1;
    }
    *out = (uint32_t)value;
    return 0;
}

PyDoc_STRVAR(
    release_doc,
    "release($self, /, n=1)\n--\n\n"
    "Give some back, and wake as many who wait. What a BoundedSemaphore "
    "gives\n"
    "out, only the process that took it may.\n\n"
    "n: how many\n\n"
    "ValueError: these are more than were taken, or n is below 1. OSError:\n"
    "the memory was cut short.");

static PyObject *
counter_release(PyObject *op, PyObject *const *args, Py_ssize_t count,
                PyObject *names)
{
    uint32_t given;
    if (parse_count(args, count, names, &given) < 0) {
        return NULL;
    }
    return release(op, given);
}

static PyObject *
counter_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
             Py_ssize_t Py_UNUSED(count))
{
    return release(op, 1);
}

/* How many, or whether there are none. */
static PyObject *
get_count(PyObject *op, bool none)
{
    uint32_t count = KIND(op)->count(SITE(op));
    if (count < SITE(op)->parameter && KIND(op)->reap != NULL) {
        Py_BEGIN_ALLOW_THREADS
        KIND(op)->reap(SITE(op));
        count = KIND(op)->count(SITE(op));
        Py_END_ALLOW_THREADS
    }
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    return none ? PyBool_FromLong(count == 0) : PyLong_FromUnsignedLong(count);
}

PyDoc_STRVAR(get_value_doc,
             "get_value($self, /)\n--\n\n"
             "Return how many are to be had, as it is at this moment.");

static PyObject *
counter_get_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return get_count(op, false);
}

PyDoc_STRVAR(locked_doc,
             "locked($self, /)\n--\n\n"
             "Return whether none is to be had, as it is at this moment.");

static PyObject *
counter_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return get_count(op, true);
}

/* What these are for, _waiting.py says. */

static PyObject *
counter_try(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return acquire(op, 0);
}

static PyObject *
counter_watch(PyObject *op, PyObject *arg)
{
    int64_t timeout;
    shx_waiting waiting;
    if (shx_parse_timeout(arg, &timeout) < 0) {
        return NULL;
    }
    shx_waiting_begin_whole(&waiting, op, timeout);
    shx_err err = KIND(op)->watch(SITE(op), &waiting.patience);
    err = shx_waiting_end(&waiting, err);
    if (err != 0 && err != SHX_SLICE_OVER && err != ETIMEDOUT) {
        return shx_synchronizer_raise(op, err);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    acquire_async_doc,
    "acquire_async($self, /)\n--\n\n"
    "Take one, as a coroutine that lets other tasks run: True.\n\n"
    "Tasks of one loop are served in order. A task that is cancelled\n"
    "has taken none. See asyncio.wait_for() for a timeout.\n\n"
    "Errors are acquire()'s.");

static PyObject *
counter_acquire_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("acquire", op);
}

static PyObject *
counter_aexit(PyObject *op, PyObject *const *Py_UNUSED(args),
              Py_ssize_t Py_UNUSED(count))
{
    return shx_call_waiting("release", op);
}

PyMethodDef shx_counter_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))counter_acquire,
     METH_FASTCALL | METH_KEYWORDS, acquire_doc},
    {"release", (PyCFunction)(void (*)(void))counter_release,
     METH_FASTCALL | METH_KEYWORDS, release_doc},
    {"get_value", counter_get_value, METH_NOARGS, get_value_doc},
    {"locked", counter_locked, METH_NOARGS, locked_doc},
    {"acquire_async", counter_acquire_async, METH_NOARGS, acquire_async_doc},
    {"__enter__", counter_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))counter_exit, METH_FASTCALL,
     NULL},
    {"__aenter__", counter_acquire_async, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))counter_aexit, METH_FASTCALL,
     NULL},
    {"_try", counter_try, METH_NOARGS, NULL},
    {"_watch", counter_watch, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

/* Construction */

PyObject *
shx_counter_describe(uint32_t parameter)
{
    return PyUnicode_FromFormat("value=%u", parameter);
}

int
shx_check_value(int value)
{
    if (value >= 0) {
        return 0;
    }
    (void)shx_raise_text(
        EINVAL,
        PyUnicode_FromFormat("a semaphore begins with 0 to %d, not %d",
                             INT_MAX, value),
        NULL);
    return -1;
}

PyObject *
shx_counter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs,
                const shx_counter_kind *kind, const char *format,
                int (*check)(int value))
{
    static char *keywords[] = {"value", "where", "offset", "mode", NULL};
    shx_address address = {.where = Py_None};
    int value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &value,
                                     &address.where, &address.offset,
                                     &address.mode) ||
        check(value) < 0) {
        return NULL;
    }
    return shx_synchronizer_make(type, &kind->base, &address, (uint32_t)value);
}
