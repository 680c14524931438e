/* SPDX-License-Identifier: MIT */
/* The arguments of SharedMemory(...), as a Python function would take them. */
#include "shared_memory.h"

/* The complaint about a call that does not fit is left to the interpreter: a
 * Python function with the same signature is called in the same way. */
static int
complain(shx_state *state, PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *module = PyImport_Import(state->public_module);
    if (module == NULL) {
        return -1;
    }
    PyObject *function = PyObject_GetAttrString(module, "_signature");
    Py_DECREF(module);
    PyObject *self_tuple = PyTuple_Pack(1, op);
    PyObject *all =
        self_tuple == NULL ? NULL : PySequence_Concat(self_tuple, args);
    PyObject *result = NULL;
    if (function != NULL && all != NULL) {
        result = PyObject_Call(function, all, kwargs);
    }
    Py_XDECREF(function);
    Py_XDECREF(self_tuple);
    Py_XDECREF(all);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_SystemError, "arguments fit after all");
    }
    return -1;
}

/* Which argument a keyword means; NULL if none. */
static PyObject **
argument_of(shx_state *state, shx_call *call, PyObject *keyword)
{
    struct {
        PyObject *name;
        PyObject **value;
    } const known[] = {
        {state->str.name, &call->name},
        {state->str.create, &call->create},
        {state->str.size, &call->size},
        {state->str.track, &call->track},
        {state->str.reserve, &call->reserve},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known); i++) {
        if (keyword == known[i].name) {
            return known[i].value;
        }
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known); i++) {
        if (PyUnicode_Compare(keyword, known[i].name) == 0) {
            return known[i].value;
        }
    }
    return NULL;
}

int
shx_parse_call(shx_state *state, PyObject *op, PyObject *args,
               PyObject *kwargs, shx_call *call)
{
    PyObject **const positional[] = {&call->name, &call->create, &call->size};
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > (Py_ssize_t)Py_ARRAY_LENGTH(positional)) {
        return complain(state, op, args, kwargs);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        *positional[i] = PyTuple_GET_ITEM(args, i);
    }
    PyObject *keyword, *value;
    Py_ssize_t at = 0;
    while (kwargs != NULL && PyDict_Next(kwargs, &at, &keyword, &value)) {
        PyObject **target = argument_of(state, call, keyword);
        if (target == NULL || *target != NULL) {
            return complain(state, op, args, kwargs);
        }
        *target = value;
    }
    call->name = call->name == NULL ? Py_None : call->name;
    call->create = call->create == NULL ? Py_False : call->create;
    call->size = call->size == NULL ? state->zero : call->size;
    call->track = call->track == NULL ? Py_None : call->track;
    call->reserve = call->reserve == NULL ? Py_True : call->reserve;
    return 0;
}
