/* SPDX-License-Identifier: MIT */
#include "py/sync/bounded_semaphore.h"

#include <errno.h>

#include "core/sync/bounded_semaphore.h"
#include "py/sync/counter.h"

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

static bool
take(PyObject *op)
{
    shx_member me;
    return shx_party_me(SITE(op)->party, &me) == 0 &&
           shx_permits_take(SITE(op), &me, HINT(op));
}

static shx_err
attempt(PyObject *op)
{
    shx_member me;
    shx_err err = shx_party_me(SITE(op)->party, &me);
    if (err == 0 && !shx_permits_try(SITE(op), &me, HINT(op))) {
        err = EAGAIN;
    }
    return err;
}

static shx_err
acquire(PyObject *op, shx_waiting *waiting)
{
    shx_member me;
    shx_err err = shx_party_me(SITE(op)->party, &me);
    if (err != 0) {
        return err;
    }
    shx_waiting_as(waiting, op, &me);
    return shx_permits_acquire(SITE(op), &me, HINT(op), &waiting->patience);
}

static shx_err
release(PyObject *op, uint32_t permits)
{
    shx_member me;
    shx_err err = shx_party_me(SITE(op)->party, &me);
    return err == 0 ? shx_permits_release(SITE(op), &me, HINT(op), permits)
                    : err;
}

static PyObject *
refuse(PyObject *op, shx_err err)
{
    if (err != SHX_NOT_OWNER) {
        return shx_synchronizer_raise(op, err);
    }
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

static const shx_counter_kind kind = {
    .base = {.kind = SHX_CELL_BOUNDED_SEMAPHORE,
             .size = size_of,
             .describe = shx_counter_describe},
    .take = take,
    .attempt = attempt,
    .acquire = acquire,
    .release = release,
    .watch = shx_permits_watch,
    .count = shx_permits_count,
    .reap = shx_permits_reap,
    .refuse = refuse,
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
    return shx_counter_new(type, args, kwargs, &kind,
                           "|iOn$O:BoundedSemaphore", check_permits);
}

static PyObject *
bounded_rebuild(PyObject *type, PyObject *args)
{
    return shx_synchronizer_rebuild((PyTypeObject *)type, &kind.base, args);
}

PyDoc_STRVAR(
    bounded_size_of_doc,
    "size_of(value=1)\n--\n\n"
    "Return how many bytes one of so many permits takes in a memory:\n"
    "64, and 8 for each, rounded up to a multiple of 64.\n\n"
    "Arguments are BoundedSemaphore's.\n\n"
    "OSError EINVAL: value is below 0. ValueError: it is above 4096.");

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

static PyMethodDef own_methods[] = {
    {"size_of", (PyCFunction)(void (*)(void))bounded_size_of,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, bounded_size_of_doc},
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
    "BoundedSemaphore(value=1, where=None, offset=0, *, mode=None)\n"
    "--\n\n"
    "Gives out permits, value of them, each to one process at a time.\n\n"
    "A permit belongs to the process that took it, to any of its threads:\n"
    "only it may give it back, and when it dies another process may have it,\n"
    "within 0.1 seconds.\n\n"
    "value: how many, 0 to 4096, the same for all who use it\n" SHX_WHERE_DOC
    "\n\n" SHX_WHERE_ERRORS "\n"
    "OSError EINVAL: value is below 0. See multiprocessing.BoundedSemaphore.");

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, (void *)bounded_doc},
    {Py_tp_new, bounded_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, bounded_repr},
    {Py_tp_methods, own_methods},
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
    return state->bounded_semaphore_type == NULL ||
                   shx_add_methods(state->bounded_semaphore_type,
                                   shx_counter_methods) < 0
               ? -1
               : 0;
}
