/* SPDX-License-Identifier: MIT */
/* The type shmemext.Barrier. */
#include "py/sync/barrier.h"

#include <errno.h>

#include "py/memory/memory.h"
#include "py/sync/waiting.h"

#define SITE(op) (&SYNCHRONIZER(op)->site)

static int
barrier_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(BARRIER(op)->action);
    Py_VISIT(BARRIER(op)->timeout);
    return shx_synchronizer_traverse(op, visit, arg);
}

static int
barrier_clear(PyObject *op)
{
    Py_CLEAR(BARRIER(op)->action);
    Py_CLEAR(BARRIER(op)->timeout);
    return shx_synchronizer_clear(op);
}

static void
barrier_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    if (SITE(op)->party != NULL) {
        shx_barrier_give_up(op);
    }
    (void)barrier_clear(op);
    shx_synchronizer_dealloc(op);
}

/* What lies in memory that was cut short nobody else sees any more. */
static PyObject *
changed(PyObject *op, shx_err err)
{
    if (err == 0 && shx_synchronizer_is_torn(op)) {
        err = EFAULT;
    }
    return err == 0 ? Py_NewRef(Py_None) : shx_synchronizer_raise(op, err);
}

PyDoc_STRVAR(barrier_abort_doc,
             "abort($self, /)\n--\n\n"
             "Break the barrier: whoever waits, or comes to wait, gets\n"
             "BrokenBarrierError until somebody resets it.");

static PyObject *
barrier_abort(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_barrier_abort(SITE(op));
    return changed(op, 0);
}

PyDoc_STRVAR(barrier_reset_doc,
             "reset($self, /)\n--\n\n"
             "Make the barrier as it was at first: nobody has come, and\n"
             "nobody is counted on. Whoever waits gets BrokenBarrierError.");

static PyObject *
barrier_reset(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    shx_waiting waiting;
    shx_waiting_begin(&waiting, -1);
    shx_waiting_as(&waiting, op, &me);
    shx_err err = shx_barrier_reset(SITE(op), &me, &waiting.patience);
    return changed(op, shx_waiting_end(&waiting, err));
}

static PyObject *
barrier_leave(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_barrier_give_up(op);
    Py_RETURN_NONE;
}

/* The action and the timeout are the object's own, and go with it. */
static PyObject *
rebuilder(PyObject *op)
{
    PyObject *plain =
        PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_rebuild");
    const shx_barrier *self = BARRIER(op);
    if (plain == NULL || self->action == NULL || self->timeout == NULL ||
        (self->action == Py_None && self->timeout == Py_None)) {
        return plain;
    }
    PyObject *functools = PyImport_ImportModule("functools");
    PyObject *rebuild =
        functools == NULL
            ? NULL
            : PyObject_CallMethod(functools, "partial", "OOO", plain,
                                  self->action, self->timeout);
    Py_XDECREF(functools);
    Py_DECREF(plain);
    return rebuild;
}

PyDoc_STRVAR(barrier_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Pickle by reference, but for the action and the timeout.");

static PyObject *
barrier_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_synchronizer_reduced(op, rebuilder(op));
}

static PyObject *
barrier_repr(PyObject *op)
{
    return shx_synchronizer_repr(
        op, shx_barrier_is_broken(SITE(op))
                ? PyUnicode_FromString("broken")
                : PyUnicode_FromFormat("waiters=%u/%u",
                                       shx_barrier_waiting(SITE(op)),
                                       SITE(op)->parameter));
}

static PyObject *
get_parties(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(SITE(op)->parameter);
}

static PyObject *
get_n_waiting(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned waiting = shx_barrier_waiting(SITE(op));
    return shx_synchronizer_is_torn(op) ? shx_synchronizer_raise(op, EFAULT)
                                        : PyLong_FromUnsignedLong(waiting);
}

static PyObject *
get_broken(PyObject *op, void *Py_UNUSED(closure))
{
    bool broken = shx_barrier_is_broken(SITE(op));
    return shx_synchronizer_is_torn(op) ? shx_synchronizer_raise(op, EFAULT)
                                        : PyBool_FromLong(broken);
}

/* Construction */

static PyObject *
describe(uint32_t parameter)
{
    return PyUnicode_FromFormat("parties=%u", parameter);
}

static const shx_synchronizer_kind kind = {
    .kind = SHX_CELL_BARRIER, .size = shx_barrier_size, .describe = describe};

static int
check_parties(Py_ssize_t parties)
{
    if (parties < 1) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0");
    }
    else if (parties > SHX_BARRIER_PARTIES) {
        PyErr_Format(PyExc_ValueError, "parties must be at most %d",
                     SHX_BARRIER_PARTIES);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* `op` is stolen; NULL: with an exception. */
static PyObject *
fill_in(PyObject *op, PyObject *action, PyObject *timeout)
{
    if (op != NULL) {
        BARRIER(op)->action = Py_NewRef(action);
        BARRIER(op)->timeout = Py_NewRef(timeout);
    }
    return op;
}

static PyObject *
barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"parties", "action", "timeout", "where",
                               "offset",  "mode",   NULL};
    shx_address address = {.where = Py_None};
    PyObject *action = Py_None, *timeout = Py_None;
    Py_ssize_t parties;
    int64_t parsed;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "n|OOOn$O:Barrier", keywords, &parties, &action,
            &timeout, &address.where, &address.offset, &address.mode) ||
        check_parties(parties) < 0 ||
        shx_parse_timeout(timeout, &parsed) < 0) {
        return NULL;
    }
    return fill_in(
        shx_synchronizer_make(type, &kind, &address, (uint32_t)parties),
        action, timeout);
}

/* (place...), or (action, timeout, place...) */
static PyObject *
barrier_rebuild(PyObject *type, PyObject *args)
{
    PyObject *action = Py_None, *timeout = Py_None;
    Py_ssize_t size = PyTuple_GET_SIZE(args);
    if (size == 4) {
        action = PyTuple_GET_ITEM(args, 0);
        timeout = PyTuple_GET_ITEM(args, 1);
    }
    PyObject *place = PyTuple_GetSlice(args, size == 4 ? 2 : 0, size);
    PyObject *op =
        place == NULL
            ? NULL
            : shx_synchronizer_rebuild((PyTypeObject *)type, &kind, place);
    Py_XDECREF(place);
    return fill_in(op, action, timeout);
}

PyDoc_STRVAR(barrier_size_of_doc,
             "size_of(parties)\n--\n\n"
             "Return how many bytes it takes in a memory.\n\n"
             "Arguments are Barrier's.\n\n"
             "ValueError: parties is below 1, or above 65536.");

static PyObject *
barrier_size_of(PyObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"parties", NULL};
    Py_ssize_t parties;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:size_of", keywords,
                                     &parties) ||
        check_parties(parties) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(shx_barrier_size((uint32_t)parties));
}

static PyMethodDef barrier_methods[] = {
    {"abort", barrier_abort, METH_NOARGS, barrier_abort_doc},
    {"reset", barrier_reset, METH_NOARGS, barrier_reset_doc},
    {"size_of", (PyCFunction)(void (*)(void))barrier_size_of,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, barrier_size_of_doc},
    {"__reduce__", barrier_reduce, METH_NOARGS, barrier_reduce_doc},
    {"_leave", barrier_leave, METH_NOARGS, NULL},
    {"_rebuild", barrier_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"parties", get_parties, shx_memory_refuse,
     PyDoc_STR("How many are waited for."), "parties"},
    {"n_waiting", get_n_waiting, shx_memory_refuse,
     PyDoc_STR("How many wait, as it is at this moment."), "n_waiting"},
    {"broken", get_broken, shx_memory_refuse,
     PyDoc_STR("Is it broken, and has nobody reset it?"), "broken"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    barrier_doc,
    "Barrier(parties, action=None, timeout=None, where=None, offset=0, *,\n"
    "        mode=None)\n--\n\n"
    "Where a number of threads, of any processes, wait for each other.\n\n"
    "When all of them have come, one runs action, if there is one, and then\n"
    "all go on.\n\n"
    "Whoever has come once is counted on, until its process ends normally\n"
    "or its object is gone: if the process is killed, os._exit() too, the\n"
    "others get BrokenBarrierError, and nobody waits for the dead.\n\n"
    "parties: how many, 1 to 65536\n"
    "action: a callable, of this very object\n"
    "timeout: seconds, what wait() has by default; None: for "
    "ever\n" SHX_WHERE_DOC "\n\n" SHX_WHERE_ERRORS "\n"
    "See multiprocessing.Barrier.");

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc, (void *)barrier_doc},
    {Py_tp_new, barrier_new},
    {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},
    {Py_tp_dealloc, barrier_dealloc},
    {Py_tp_repr, barrier_repr},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {0, NULL},
};

static PyType_Spec barrier_spec = {
    .name = "shmemext.synchronize.Barrier",
    .basicsize = sizeof(shx_barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = barrier_slots,
};

int
shx_barrier_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->barrier_type =
        shx_synchronizer_add_type(module, &barrier_spec, "Barrier");
    return state->barrier_type == NULL ||
                   shx_add_methods(state->barrier_type,
                                   shx_barrier_wait_methods) < 0
               ? -1
               : 0;
}
