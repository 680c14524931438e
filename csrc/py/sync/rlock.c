/* SPDX-License-Identifier: MIT */
/* The type shmemext.RLock: a Lock that its holder, a thread, may have again.
 */
#include "core/sync/rlock.h"

#include "py/sync/rlock.h"

static bool
quick(const shx_site *at, const shx_member *me)
{
    if (shx_lock_take(at, me)) {
        shx_rlock_own(at, me, 1);
        return true;
    }
    return shx_rlock_depth(at, me) != 0 &&
           shx_rlock_try(at, me, SHX_TORN_TELLS) == 0;
}

static PyObject *
refuse(PyObject *Py_UNUSED(op))
{
    PyErr_SetString(PyExc_AssertionError,
                    "attempt to release recursive lock not owned by thread");
    return NULL;
}

#define KIND(...)                                                             \
    {                                                                         \
        .base = {.kind = SHX_CELL_RLOCK,                                      \
                 .size = shx_lock_size,                                       \
                 .describe = shx_lock_describe_parameter,                     \
                 __VA_ARGS__},                                                \
        .quick = quick, .acquire = shx_rlock_acquire,                         \
        .attempt = shx_rlock_try, .release = shx_rlock_release,               \
        .release_torn = shx_rlock_release, /* it is, and stays so */          \
            .refuse = refuse,                                                 \
    }

static const shx_lock_kind kind = KIND(.called = NULL);
static const shx_lock_kind kind_of_part =
    KIND(.called = "Condition's RLock", .way = "condition.lock.repair()");

static PyObject *
rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return shx_lock_new(type, args, kwargs, &kind, "|On$OO:RLock");
}

PyObject *
shx_rlock_part(PyObject *whole, Py_ssize_t skip, uint32_t parameter)
{
    shx_state *state = shx_state_of(Py_TYPE(whole));
    return state == NULL ? NULL
                         : shx_synchronizer_make_part(state->rlock_type,
                                                      &kind_of_part.base,
                                                      whole, skip, parameter);
}

static PyObject *
rlock_rebuild(PyObject *type, PyObject *args)
{
    return shx_synchronizer_rebuild((PyTypeObject *)type, &kind.base, args);
}

PyDoc_STRVAR(rlock_size_of_doc,
             "size_of()\n--\n\n"
             "Return how many bytes it takes in a memory: 64.");

static PyObject *
rlock_size_of(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(shx_lock_size(0));
}

static PyMethodDef own_methods[] = {
    {"size_of", rlock_size_of, METH_NOARGS | METH_STATIC, rlock_size_of_doc},
    {"_rebuild", rlock_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    rlock_doc,
    "RLock(where=None, offset=0, *, on_death='raise', mode=None)\n--\n\n"
    "A Lock that the thread which holds it may acquire again; it is free\n"
    "when it has been released as often.\n\n"
    "Only the thread that holds it may release it. To asyncio's tasks, which\n"
    "are one thread, it is a Lock: acquire_async() waits for whichever has\n"
    "it. See multiprocessing.RLock.\n\n"
    "Arguments and errors are Lock's.");

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, (void *)rlock_doc},
    {Py_tp_new, rlock_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, shx_lock_repr},
    {Py_tp_methods, own_methods},
    {Py_tp_getset, shx_lock_getset},
    {0, NULL},
};

static PyType_Spec rlock_spec = {
    .name = "shmemext.synchronize.RLock",
    .basicsize = sizeof(shx_synchronizer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = rlock_slots,
};

int
shx_rlock_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->rlock_type =
        shx_synchronizer_add_type(module, &rlock_spec, "RLock");
    return state->rlock_type == NULL ||
                   shx_add_methods(state->rlock_type, shx_lock_methods) < 0 ||
                   shx_add_methods(state->rlock_type, shx_lock_word_methods) <
                       0
               ? -1
               : 0;
}
