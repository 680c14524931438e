/* SPDX-License-Identifier: MIT */
#include "py/sync/bounded_semaphore.h"

#include <errno.h>

#include "core/sync/bounded_semaphore.h"
#include "py/memory/memory.h"
#include "py/sync/semaphore.h"
#include "py/sync/waiting.h"

typedef struct {
    shx_synchronizer base;
    shx_word hint; /* where a permit was free the last time */
} bounded_semaphore;

#define SITE(op) (&SYNCHRONIZER(op)->site)
#define HINT(op) (&((bounded_semaphore *)(op))->hint)

static size_t
size_of(uint32_t parameter)
{
    return parameter <= SHX_PERMITS ? shx_permits_size(parameter) : 0;
}

static PyObject *
describe(uint32_t parameter)
{
    return PyUnicode_FromFormat("value=%u", parameter);
}

static const shx_synchronizer_kind bounded_kind = {
    .kind = SHX_CELL_BOUNDED_SEMAPHORE,
    .size = size_of,
    .describe = describe,
};

/* -1 with an exception. */
static int
check_permits(int value)
{
    if (shx_check_value(value) < 0) {
        return -1;
    }
    if (value > SHX_PERMITS) {
        PyErr_Format(PyExc_ValueError,
                     "a BoundedSemaphore has at most %d permits, not %d: each "
                     "is written down with the process that has it. A "
                     "Semaphore counts further",
                     SHX_PERMITS, value);
        return -1;
    }
    return 0;
}

static PyObject *
bounded_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"value", "where", "offset", "mode", NULL};
    shx_address address = {.where = Py_None};
    int value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iOn$O:BoundedSemaphore",
                                     keywords, &value, &address.where,
                                     &address.offset, &address.mode) ||
        check_permits(value) < 0) {
        return NULL;
    }
    return shx_synchronizer_make(type, &bounded_kind, &address,
                                 (uint32_t)value);
}

static PyObject *
bounded_rebuild(PyObject *type, PyObject *args)
{
    return shx_synchronizer_rebuild((PyTypeObject *)type, &bounded_kind, args);
}

/* Methods */

/* What lies in memory that was cut short is shared with nobody any more. */
static PyObject *
answer(PyObject *op, const shx_member *me, shx_err err)
{
    if (err == 0 && shx_synchronizer_is_torn(op)) {
        (void)shx_permits_release(SITE(op), me, HINT(op), 1);
        err = EFAULT;
    }
    return shx_synchronizer_answer(op, err);
}

/* Whether a holder is dead the system says, and that takes a moment. */
static shx_err
attempt(PyObject *op, const shx_member *me)
{
    bool taken;
    Py_BEGIN_ALLOW_THREADS
    taken = shx_permits_try(SITE(op), me, HINT(op));
    Py_END_ALLOW_THREADS
    return taken ? 0 : EAGAIN;
}

static shx_err
wait_for(PyObject *op, const shx_member *me, int64_t timeout)
{
    shx_waiting waiting;
    shx_waiting_begin_whole(&waiting, op, timeout);
    shx_err err =
        shx_permits_acquire(SITE(op), me, HINT(op), &waiting.patience);
    shx_waiting_end(&waiting);
    return err;
}

static PyObject *
acquire(PyObject *op, int64_t timeout)
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    if (shx_permits_take(SITE(op), &me, HINT(op))) {
        return answer(op, &me, 0);
    }
    return answer(
        op, &me, timeout == 0 ? attempt(op, &me) : wait_for(op, &me, timeout));
}

PyDoc_STRVAR(
    bounded_acquire_doc,
    "acquire($self, /, block=True, timeout=None)\n--\n\n"
    "Take a permit; return whether one was free within timeout seconds.\n\n"
    "None waits for ever, a negative timeout is 0, and without block "
    "nothing\n"
    "is waited for. blocking is another name of block.\n\n"
    "OSError: the memory was cut short.");

static PyObject *
bounded_acquire(PyObject *op, PyObject *const *args, Py_ssize_t count,
                PyObject *names)
{
    int64_t timeout;
    if (shx_parse_acquire(args, count, names, &timeout) < 0) {
        return NULL;
    }
    return acquire(op, timeout);
}

static PyObject *
bounded_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return acquire(op, -1);
}

static PyObject *
refuse(PyObject *op)
{
    PyObject *label = shx_synchronizer_label(op);
    if (label != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%s: this process has not as many permits of %U. Only "
                     "the process that took one may give it back, and a "
                     "forked child has none of its parent's. To signal to "
                     "another process use a Semaphore or an Event",
                     shx_error_text(SHX_TOO_MANY), label);
        Py_DECREF(label);
    }
    return NULL;
}

static PyObject *
release(PyObject *op, uint32_t permits)
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    shx_err err = shx_permits_release(SITE(op), &me, HINT(op), permits);
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    if (err != 0) {
        return refuse(op);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    bounded_release_doc,
    "release($self, /, n=1)\n--\n\n"
    "Give n permits back, and wake as many who wait.\n\n"
    "ValueError: this process has not as many, or n is below 1. OSError: the\n"
    "memory was cut short.");

static PyObject *
bounded_release(PyObject *op, PyObject *const *args, Py_ssize_t count,
                PyObject *names)
{
    uint32_t units;
    if (shx_parse_units(args, count, names, &units) < 0) {
        return NULL;
    }
    return release(op, units);
}

static PyObject *
bounded_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
             Py_ssize_t Py_UNUSED(count))
{
    return release(op, 1);
}

/* How many, or whether there are none: those of the dead are free. */
static PyObject *
get_permits(PyObject *op, bool none)
{
    uint32_t permits = shx_permits_count(SITE(op));
    if (permits < SITE(op)->parameter) {
        Py_BEGIN_ALLOW_THREADS
        shx_permits_reap(SITE(op));
        permits = shx_permits_count(SITE(op));
        Py_END_ALLOW_THREADS
    }
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    return none ? PyBool_FromLong(permits == 0)
                : PyLong_FromUnsignedLong(permits);
}

PyDoc_STRVAR(bounded_get_value_doc,
             "get_value($self, /)\n--\n\n"
             "Return how many permits are free, as it is at this moment. A\n"
             "dead process has none.");

static PyObject *
bounded_get_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return get_permits(op, false);
}

PyDoc_STRVAR(bounded_locked_doc,
             "locked($self, /)\n--\n\n"
             "Return whether no permit is free, as it is at this moment.");

static PyObject *
bounded_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return get_permits(op, true);
}

/* What these are for, _waiting.py says. */

static PyObject *
bounded_try(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return acquire(op, 0);
}

static PyObject *
bounded_watch(PyObject *op, PyObject *arg)
{
    int64_t timeout;
    shx_waiting waiting;
    if (shx_parse_timeout(arg, &timeout) < 0) {
        return NULL;
    }
    shx_waiting_begin_whole(&waiting, op, timeout);
    shx_err err = shx_permits_watch(SITE(op), &waiting.patience);
    shx_waiting_end(&waiting);
    if (err != 0 && err != SHX_SLICE_OVER && err != ETIMEDOUT) {
        return shx_synchronizer_raise(op, err);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(bounded_acquire_async_doc,
             "acquire_async($self, /)\n--\n\n"
             "Take a permit, as a coroutine that lets other tasks run: True.\n"
             "\nTasks of one loop are served in order. A task that is "
             "cancelled\nhas taken none. See asyncio.wait_for() for a "
             "timeout.");

static PyObject *
bounded_acquire_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("acquire", op);
}

static PyObject *
bounded_aexit(PyObject *op, PyObject *const *Py_UNUSED(args),
              Py_ssize_t Py_UNUSED(count))
{
    return shx_call_waiting("release", op);
}

PyDoc_STRVAR(
    bounded_size_of_doc,
    "size_of(value=1)\n--\n\n"
    "Return how many bytes one of so many permits takes in a memory:\n"
    "64, and 8 for each, rounded up to a multiple of 64.");

static PyObject *
bounded_size_of(PyObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"value", NULL};
    int value = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i:size_of", keywords,
                                     &value) ||
        check_permits(value) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(size_of((uint32_t)value));
}

static PyMethodDef bounded_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))bounded_acquire,
     METH_FASTCALL | METH_KEYWORDS, bounded_acquire_doc},
    {"release", (PyCFunction)(void (*)(void))bounded_release,
     METH_FASTCALL | METH_KEYWORDS, bounded_release_doc},
    {"get_value", bounded_get_value, METH_NOARGS, bounded_get_value_doc},
    {"locked", bounded_locked, METH_NOARGS, bounded_locked_doc},
    {"acquire_async", bounded_acquire_async, METH_NOARGS,
     bounded_acquire_async_doc},
    {"__enter__", bounded_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))bounded_exit, METH_FASTCALL,
     NULL},
    {"__aenter__", bounded_acquire_async, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))bounded_aexit, METH_FASTCALL,
     NULL},
    {"size_of", (PyCFunction)(void (*)(void))bounded_size_of,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, bounded_size_of_doc},
    {"_try", bounded_try, METH_NOARGS, NULL},
    {"_watch", bounded_watch, METH_O, NULL},
    {"_rebuild", bounded_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
bounded_repr(PyObject *op)
{
    return shx_synchronizer_repr(
        op, PyUnicode_FromFormat("value %u of %u", shx_permits_count(SITE(op)),
                                 SITE(op)->parameter));
}

PyDoc_STRVAR(
    bounded_doc,
    "BoundedSemaphore(value=1, where=None, offset=0, *, mode=None)\n--\n\n"
    "Gives out permits, value of them, each to one process at a time.\n\n"
    "where is a Memory, and offset, a multiple of 64, where in it\n"
    "size_of(value) bytes of zeros are, or such a semaphore; or a name, "
    "which\n"
    "any program may know and which goes with the last one that has it,\n"
    "created with the permission bits of mode, 0o600; or None: for threads,\n"
    "and for children, which it is passed to. All who use it say the same\n"
    "value, of at most 4096.\n\n"
    "A permit belongs to the process that took it, to any of its threads:\n"
    "only it may give it back, and when it dies another process may have it,\n"
    "within 0.1 seconds.\n\n"
    "OSError EINVAL: value is below 0. ValueError: it is too much, or these\n"
    "bytes are in use, too few, or another synchronizer. TypeError: the\n"
    "memory is readonly. OSError ENOTSUP: it is on a file system whose locks\n"
    "say nothing, a network's. See multiprocessing.BoundedSemaphore.");

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, (void *)bounded_doc},
    {Py_tp_new, bounded_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, bounded_repr},
    {Py_tp_methods, bounded_methods},
    {0, NULL},
};

static PyType_Spec bounded_spec = {
    .name = "shmemext.synchronize.BoundedSemaphore",
    .basicsize = sizeof(bounded_semaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = bounded_slots,
};

int
shx_bounded_semaphore_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->bounded_semaphore_type =
        shx_synchronizer_add_type(module, &bounded_spec, "BoundedSemaphore");
    return state->bounded_semaphore_type == NULL ? -1 : 0;
}
