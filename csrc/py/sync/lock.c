/* SPDX-License-Identifier: MIT */
/* The type shmemext.Lock. */
#include "py/sync/lock.h"

/* Construction */

int
shx_parse_on_death(PyObject *on_death, uint32_t *parameter)
{
    *parameter = 0;
    if (on_death == NULL) {
        return 0;
    }
    if (PyUnicode_Check(on_death)) {
        if (PyUnicode_CompareWithASCIIString(on_death, "raise") == 0) {
            return 0;
        }
        if (PyUnicode_CompareWithASCIIString(on_death, "ignore") == 0) {
            *parameter = SHX_IGNORES_DEATH;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError,
                 "'on_death' is \"raise\" or \"ignore\", not %R", on_death);
    return -1;
}

size_t
shx_lock_size(uint32_t parameter)
{
    return (parameter & ~SHX_IGNORES_DEATH) == 0 ? sizeof(shx_cell) : 0;
}

PyObject *
shx_lock_describe_parameter(uint32_t parameter)
{
    return PyUnicode_FromFormat(
        "on_death='%s'",
        (parameter & SHX_IGNORES_DEATH) != 0 ? "ignore" : "raise");
}

PyObject *
shx_lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs,
             const shx_lock_kind *kind, const char *format)
{
    static char *keywords[] = {"where", "offset", "on_death", "mode", NULL};
    shx_address address = {.where = Py_None};
    PyObject *on_death = NULL;
    uint32_t parameter;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords,
                                     &address.where, &address.offset,
                                     &on_death, &address.mode) ||
        shx_parse_on_death(on_death, &parameter) < 0) {
        return NULL;
    }
    return shx_synchronizer_make(type, &kind->base, &address, parameter);
}

/* The type Lock */

static bool
quick(const shx_site *at, const shx_member *me)
{
    return shx_lock_take(at, me);
}

static shx_err
release(const shx_site *at, const shx_member *me)
{
    return shx_lock_release(at, me);
}

static PyObject *
refuse(PyObject *op)
{
    const shx_lock_state state = shx_lock_look(&SYNCHRONIZER(op)->site);
    if (!state.held) {
        return shx_synchronizer_raise(op, SHX_TOO_MANY);
    }
    PyObject *label = shx_synchronizer_label(op);
    if (label != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%U is held by process %u: only the process that "
                     "acquired it may release it, and a forked child does not "
                     "own what its parent holds. To signal to another process "
                     "use a Semaphore or an Event",
                     label, state.pid);
        Py_DECREF(label);
    }
    return NULL;
}

static const shx_lock_kind kind = {
    .base = {.kind = SHX_CELL_LOCK,
             .size = shx_lock_size,
             .describe = shx_lock_describe_parameter},
    .quick = quick,
    .acquire = shx_lock_acquire,
    .attempt = shx_lock_try,
    .release = release,
    .release_torn = shx_lock_release_torn,
    .refuse = refuse,
};

static PyObject *
lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return shx_lock_new(type, args, kwargs, &kind, "|On$OO:Lock");
}

static PyObject *
lock_rebuild(PyObject *type, PyObject *args)
{
    return shx_synchronizer_rebuild((PyTypeObject *)type, &kind.base, args);
}

PyDoc_STRVAR(lock_size_of_doc,
             "size_of()\n--\n\n"
             "Return how many bytes it takes in a memory: 64.");

static PyObject *
lock_size_of(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(shx_lock_size(0));
}

static PyMethodDef own_methods[] = {
    {"size_of", lock_size_of, METH_NOARGS | METH_STATIC, lock_size_of_doc},
    {"_rebuild", lock_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    lock_doc,
    "Lock(where=None, offset=0, *, on_death='raise', mode=None)\n--\n\n"
    "A lock that processes share, and that survives whoever holds it.\n\n"
    "A holder's death is proven by the kernel, within 0.1 seconds.\n\n"
    "on_death: if its holder dies, \"raise\": every acquire raises OwnerDied\n"
    "    until somebody has it repaired; \"ignore\": the next one has it, as "
    "if\n"
    "    it had been released; the same for all who use it\n" SHX_WHERE_DOC
    "\n\n" SHX_WHERE_ERRORS "\n"
    "See multiprocessing.Lock.");

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc},
    {Py_tp_new, lock_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, shx_lock_repr},
    {Py_tp_methods, own_methods},
    {Py_tp_getset, shx_lock_getset},
    {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "shmemext.synchronize.Lock",
    .basicsize = sizeof(shx_synchronizer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = lock_slots,
};

int
shx_lock_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->lock_type = shx_synchronizer_add_type(module, &lock_spec, "Lock");
    return state->lock_type == NULL ||
                   shx_add_methods(state->lock_type, shx_lock_methods) < 0 ||
                   shx_add_methods(state->lock_type, shx_lock_word_methods) < 0
               ? -1
               : 0;
}
