/* SPDX-License-Identifier: MIT */
#include "py/awaited.h"

#include <errno.h>

#include "py/waiting.h"

#define AWAITED(op) ((shx_py_awaited *)(op))

static void
awaited_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF((PyObject *)AWAITED(op)->mapping);
    Py_XDECREF(AWAITED(op)->owner);
    type->tp_free(op);
    Py_DECREF(type);
}

shx_py_awaited *
shx_awaited_new(shx_state *state, PyObject *owner, shx_mapping *mapping)
{
    PyObject *op = state->awaited_type->tp_alloc(state->awaited_type, 0);
    if (op != NULL) {
        AWAITED(op)->owner = Py_NewRef(owner);
        AWAITED(op)->mapping = (shx_mapping *)Py_NewRef((PyObject *)mapping);
    }
    return AWAITED(op);
}

/* One call: `items` are those of a tuple, which keeps them. */
typedef struct {
    PyObject *items;
    shx_awaited **things;
    size_t count;
    int *numbers;
    shx_readable readable;
    shx_err failed; /* to say who we are */
    PyThreadState *saved;
} call;

static bool
is_torn(const call *all, size_t i)
{
    PyObject *op = PyTuple_GET_ITEM(all->items, (Py_ssize_t)i);
    return shx_mapping_tears(AWAITED(op)->mapping) != 0;
}

/* What is read from a memory that was cut short says nothing, and nobody
 * wakes who sleeps there. A handler may fork, and return in the child, or
 * raise: then it is that one who looks from there on. */
static int
poll(void *context)
{
    call *all = context;
    for (size_t i = 0; i < all->count; i++) {
        if (is_torn(all, i)) {
            return 1;
        }
    }
    int status = shx_poll_signals(&all->saved);
    for (size_t i = 0; i < all->count; i++) {
        PyObject *op = PyTuple_GET_ITEM(all->items, (Py_ssize_t)i);
        shx_party *party = AWAITED(op)->party;
        shx_err err =
            party == NULL ? 0 : shx_party_me(party, &AWAITED(op)->core.me);
        if (err != 0) {
            all->failed = err;
            status = 1;
        }
    }
    return status;
}

static int
gather(call *all, shx_state *state, PyObject *fds)
{
    all->count = (size_t)PyTuple_GET_SIZE(all->items);
    all->readable.count = (size_t)PyTuple_GET_SIZE(fds);
    all->things = PyMem_Calloc(all->count + 1, sizeof *all->things);
    all->numbers = PyMem_Calloc(all->readable.count + 1, sizeof *all->numbers);
    if (all->things == NULL || all->numbers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    all->readable.numbers = all->numbers;
    for (size_t i = 0; i < all->count; i++) {
        PyObject *op = PyTuple_GET_ITEM(all->items, (Py_ssize_t)i);
        if (!Py_IS_TYPE(op, state->awaited_type)) {
            PyErr_SetString(PyExc_TypeError, "not an Awaited");
            return -1;
        }
        all->things[i] = &AWAITED(op)->core;
    }
    for (size_t i = 0; i < all->readable.count; i++) {
        PyObject *number = PyTuple_GET_ITEM(fds, (Py_ssize_t)i);
        all->numbers[i] = (int)PyLong_AsLong(number);
        if (all->numbers[i] == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

/* Of a memory that was cut short the next call will say so. */
static PyObject *
answer(const call *all, shx_err err)
{
    bool torn = false;
    for (size_t i = 0; i < all->count; i++) {
        all->things[i]->is_there |= is_torn(all, i);
        torn |= is_torn(all, i);
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    err = all->failed != 0 ? all->failed : err;
    if (err != 0 && err != ETIMEDOUT && err != EAGAIN && !torn) {
        return shx_raise(err, NULL);
    }
    PyObject *list = PyList_New((Py_ssize_t)all->count);
    for (size_t i = 0; list != NULL && i < all->count; i++) {
        PyList_SET_ITEM(list, (Py_ssize_t)i,
                        PyBool_FromLong(all->things[i]->is_there));
    }
    return list;
}

/* _await_any(things, descriptors, timeout): of each thing whether it is there,
 * when one is, or a descriptor can be read, or the time is over. */
static PyObject *
await_any(PyObject *module, PyObject *args)
{
    call all = {.items = NULL};
    PyObject *fds, *seconds, *result = NULL;
    int64_t timeout;
    if (!PyArg_ParseTuple(args, "O!O!O:_await_any", &PyTuple_Type, &all.items,
                          &PyTuple_Type, &fds, &seconds) ||
        shx_parse_timeout(seconds, &timeout) < 0) {
        return NULL;
    }
    if (gather(&all, shx_state_of_module(module), fds) == 0) {
        shx_patience patience = shx_patience_for(timeout, poll, &all);
        all.saved = PyEval_SaveThread();
        shx_err err = shx_await_any(all.things, all.count, &all.readable,
                                    &patience, timeout != 0);
        PyEval_RestoreThread(all.saved);
        result = answer(&all, err);
    }
    PyMem_Free(all.things);
    PyMem_Free(all.numbers);
    return result;
}

static PyType_Slot awaited_slots[] = {
    {Py_tp_dealloc, awaited_dealloc},
    {0, NULL},
};

static PyType_Spec awaited_spec = {
    .name = "shmemext._shmemext.Awaited",
    .basicsize = sizeof(shx_py_awaited),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = awaited_slots,
};

static PyMethodDef functions[] = {
    {"_await_any", await_any, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
shx_awaited_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->awaited_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &awaited_spec, NULL);
    return state->awaited_type == NULL
               ? -1
               : PyModule_AddFunctions(module, functions);
}
