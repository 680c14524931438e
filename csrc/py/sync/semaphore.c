/* SPDX-License-Identifier: MIT */
#include "py/sync/semaphore.h"

#include "core/sync/semaphore.h"
#include "py/sync/counter.h"

#define SITE(op) (&SYNCHRONIZER(op)->site)

static size_t
size_of(uint32_t parameter)
{
    return parameter <= SHX_SEMAPHORE_MOST ? sizeof(shx_cell) : 0;
}

static bool
take(PyObject *op)
{
    return shx_semaphore_take(SITE(op));
}

static shx_err
acquire(PyObject *op, shx_waiting *waiting)
{
    return shx_semaphore_acquire(SITE(op), &waiting->patience);
}

static shx_err
release(PyObject *op, uint32_t units)
{
    return shx_semaphore_release(SITE(op), units);
}

static const shx_counter_kind kind = {
    .base = {.kind = SHX_CELL_SEMAPHORE,
             .size = size_of,
             .describe = shx_counter_describe},
    .take = take,
    .acquire = acquire,
    .release = release,
    .watch = shx_semaphore_watch,
    .count = shx_semaphore_count,
    .refuse = shx_synchronizer_raise,
};

static PyObject *
semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return shx_counter_new(type, args, kwargs, &kind, "|iOn$O:Semaphore",
                           shx_check_value);
}

static PyObject *
semaphore_rebuild(PyObject *type, PyObject *args)
{
    return shx_synchronizer_rebuild((PyTypeObject *)type, &kind.base, args);
}

PyDoc_STRVAR(semaphore_size_of_doc,
             "size_of()\n--\n\n"
             "Return how many bytes it takes in a memory: 64.");

static PyObject *
semaphore_size_of(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(size_of(0));
}

static PyMethodDef own_methods[] = {
    {"size_of", semaphore_size_of, METH_NOARGS | METH_STATIC,
     semaphore_size_of_doc},
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
    "Units belong to nobody: any process may give back what another took,\n"
    "and those of a process that dies are lost. Where each is given back by\n"
    "the process that took it, BoundedSemaphore loses none.\n\n"
    "value: how many, 0 to 2147483647, the same for all who use "
    "it\n" SHX_WHERE_DOC "\n\n" SHX_WHERE_ERRORS "\n"
    "OSError EINVAL: value is below 0. See multiprocessing.Semaphore.");

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_new, semaphore_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_methods, own_methods},
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
    return state->semaphore_type == NULL ||
                   shx_add_methods(state->semaphore_type,
                                   shx_counter_methods) < 0
               ? -1
               : 0;
}
