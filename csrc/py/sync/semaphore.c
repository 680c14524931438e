/* SPDX-License-Identifier: MIT */
#include "py/sync/semaphore.h"

#include <errno.h>
#include <limits.h> /* INT_MAX */

#include "core/sync/semaphore.h"
#include "py/memory/memory.h"
#include "py/sync/waiting.h"

#define SITE(op) (&SYNCHRONIZER(op)->site)

static size_t
size_of(uint32_t parameter)
{
    return parameter <= SHX_SEMAPHORE_MOST ? sizeof(shx_cell) : 0;
}

static PyObject *
describe(uint32_t parameter)
{
    return PyUnicode_FromFormat("value=%u", parameter);
}

static const shx_synchronizer_kind semaphore_kind = {
    .kind = SHX_CELL_SEMAPHORE,
    .size = size_of,
    .describe = describe,
};

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

static PyObject *
semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"value", "where", "offset", "mode", NULL};
    shx_address address = {.where = Py_None};
    int value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iOn$O:Semaphore",
                                     keywords, &value, &address.where,
                                     &address.offset, &address.mode) ||
        shx_check_value(value) < 0) {
        return NULL;
    }
    return shx_synchronizer_make(type, &semaphore_kind, &address,
                                 (uint32_t)value);
}

static PyObject *
semaphore_rebuild(PyObject *type, PyObject *args)
{
    return shx_synchronizer_rebuild((PyTypeObject *)type, &semaphore_kind,
                                    args);
}

/* Methods */

/* What lies in memory that was cut short is shared with nobody any more. */
static PyObject *
answer(PyObject *op, shx_err err)
{
    if (err == 0 && shx_synchronizer_is_torn(op)) {
        (void)shx_semaphore_release(SITE(op), 1);
        err = EFAULT;
    }
    return shx_synchronizer_answer(op, err);
}

static PyObject *
acquire(PyObject *op, int64_t timeout)
{
    shx_err err = shx_semaphore_take(SITE(op)) ? 0 : EAGAIN;
    if (err != 0 && timeout != 0) {
        shx_waiting waiting;
        shx_waiting_begin_whole(&waiting, op, timeout);
        err = shx_semaphore_acquire(SITE(op), &waiting.patience);
        shx_waiting_end(&waiting);
    }
    return answer(op, err);
}

PyDoc_STRVAR(
    semaphore_acquire_doc,
    "acquire($self, /, block=True, timeout=None)\n--\n\n"
    "Take a unit; return whether there was one within timeout seconds.\n\n"
    "None waits for ever, a negative timeout is 0, and without block "
    "nothing\n"
    "is waited for. blocking is another name of block.\n\n"
    "OSError: the memory was cut short.");

static PyObject *
semaphore_acquire(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *names)
{
    int64_t timeout;
    if (shx_parse_acquire(args, count, names, &timeout) < 0) {
        return NULL;
    }
    return acquire(op, timeout);
}

static PyObject *
semaphore_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return acquire(op, -1);
}

static PyObject *
release(PyObject *op, uint32_t units)
{
    shx_err err = shx_semaphore_release(SITE(op), units);
    if (err == 0 && shx_synchronizer_is_torn(op)) {
        err = EFAULT;
    }
    if (err != 0) {
        return shx_synchronizer_raise(op, err);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    semaphore_release_doc,
    "release($self, /, n=1)\n--\n\n"
    "Give n units back, whoever took them, and wake as many who wait.\n\n"
    "ValueError: there would be more than 2147483647, or n is below 1.\n"
    "OSError: the memory was cut short.");

static PyObject *
semaphore_release(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *names)
{
    uint32_t units;
    if (shx_parse_units(args, count, names, &units) < 0) {
        return NULL;
    }
    return release(op, units);
}

static PyObject *
semaphore_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
               Py_ssize_t Py_UNUSED(count))
{
    return release(op, 1);
}

/* How many, or whether there are none. */
static PyObject *
get_units(PyObject *op, bool none)
{
    uint32_t units = shx_semaphore_count(SITE(op));
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    return none ? PyBool_FromLong(units == 0) : PyLong_FromUnsignedLong(units);
}

PyDoc_STRVAR(semaphore_get_value_doc,
             "get_value($self, /)\n--\n\n"
             "Return how many units there are, as it is at this moment.");

static PyObject *
semaphore_get_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return get_units(op, false);
}

PyDoc_STRVAR(semaphore_locked_doc,
             "locked($self, /)\n--\n\n"
             "Return whether there is no unit, as it is at this moment.");

static PyObject *
semaphore_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return get_units(op, true);
}

/* What these are for, _waiting.py says. */

static PyObject *
semaphore_try(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return acquire(op, 0);
}

static PyObject *
semaphore_watch(PyObject *op, PyObject *arg)
{
    int64_t timeout;
    shx_waiting waiting;
    if (shx_parse_timeout(arg, &timeout) < 0) {
        return NULL;
    }
    shx_waiting_begin_whole(&waiting, op, timeout);
    shx_err err = shx_semaphore_watch(SITE(op), &waiting.patience);
    shx_waiting_end(&waiting);
    if (err != 0 && err != SHX_SLICE_OVER && err != ETIMEDOUT) {
        return shx_synchronizer_raise(op, err);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(semaphore_acquire_async_doc,
             "acquire_async($self, /)\n--\n\n"
             "Take a unit, as a coroutine that lets other tasks run: True.\n"
             "\nTasks of one loop are served in order. A task that is "
             "cancelled\nhas taken none. See asyncio.wait_for() for a "
             "timeout.");

static PyObject *
semaphore_acquire_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("acquire", op);
}

static PyObject *
semaphore_aexit(PyObject *op, PyObject *const *Py_UNUSED(args),
                Py_ssize_t Py_UNUSED(count))
{
    return shx_call_waiting("release", op);
}

PyDoc_STRVAR(semaphore_size_of_doc,
             "size_of()\n--\n\n"
             "Return how many bytes it takes in a memory: 64.");

static PyObject *
semaphore_size_of(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(size_of(0));
}

int
shx_parse_units(PyObject *const *args, Py_ssize_t count, PyObject *names,
                uint32_t *units)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    *units = 1;
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
    *units = (uint32_t)value;
    return 0;
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))semaphore_acquire,
     METH_FASTCALL | METH_KEYWORDS, semaphore_acquire_doc},
    {"release", (PyCFunction)(void (*)(void))semaphore_release,
     METH_FASTCALL | METH_KEYWORDS, semaphore_release_doc},
    {"get_value", semaphore_get_value, METH_NOARGS, semaphore_get_value_doc},
    {"locked", semaphore_locked, METH_NOARGS, semaphore_locked_doc},
    {"acquire_async", semaphore_acquire_async, METH_NOARGS,
     semaphore_acquire_async_doc},
    {"__enter__", semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))semaphore_exit, METH_FASTCALL,
     NULL},
    {"__aenter__", semaphore_acquire_async, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))semaphore_aexit, METH_FASTCALL,
     NULL},
    {"size_of", semaphore_size_of, METH_NOARGS | METH_STATIC,
     semaphore_size_of_doc},
    {"_try", semaphore_try, METH_NOARGS, NULL},
    {"_watch", semaphore_watch, METH_O, NULL},
    {"_rebuild", semaphore_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
semaphore_repr(PyObject *op)
{
    return shx_synchronizer_repr(
        op, PyUnicode_FromFormat("value %u", shx_semaphore_count(SITE(op))));
}

PyDoc_STRVAR(
    semaphore_doc,
    "Semaphore(value=1, where=None, offset=0, *, mode=None)\n--\n\n"
    "Counts units that processes take and give back: value at first.\n\n"
    "where is a Memory, and offset, a multiple of 64, where in it 64 bytes\n"
    "of zeros are, or such a semaphore; or a name, which any program may\n"
    "know and which goes with the last one that has it, created with the\n"
    "permission bits of mode, 0o600; or None: for threads, and for children,\n"
    "which it is passed to. All who use it say the same value, of at most\n"
    "2147483647.\n\n"
    "Units belong to nobody: any process may give back what another took,\n"
    "and those of a process that dies are lost. Where each is given back by\n"
    "the process that took it, BoundedSemaphore loses none.\n\n"
    "OSError EINVAL: value is below 0. ValueError: these bytes are in use,\n"
    "too few, or another synchronizer. TypeError: the memory is readonly.\n"
    "OSError ENOTSUP: it is on a file system whose locks say nothing, a\n"
    "network's. See multiprocessing.Semaphore.");

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_new, semaphore_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_methods, semaphore_methods},
    {0, NULL},
};

static PyType_Spec semaphore_spec = {
    .name = "shmemext.synchronize.Semaphore",
    .basicsize = sizeof(shx_synchronizer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = semaphore_slots,
};

int
shx_semaphore_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->semaphore_type =
        shx_synchronizer_add_type(module, &semaphore_spec, "Semaphore");
    return state->semaphore_type == NULL ? -1 : 0;
}
