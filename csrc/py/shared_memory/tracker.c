/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/tracker.h"

int
shx_tracker_call(const char *function, PyObject *name)
{
    PyObject *tracker =
        PyImport_ImportModule("multiprocessing.resource_tracker");
    if (tracker == NULL) {
        return -1;
    }
    PyObject *result =
        PyObject_CallMethod(tracker, function, "Os", name, "shared_memory");
    Py_DECREF(tracker);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* register() as the module has it from the start. */
static bool
is_original(PyObject *function, PyObject *tracker)
{
    return PyMethod_Check(function) && PyMethod_GET_SELF(function) == tracker;
}

/* What it wraps. `function` is stolen. NULL if it says nothing of that. */
static PyObject *
unwrap(shx_state *state, PyObject *function)
{
    PyObject *inner = PyObject_GetAttr(function, state->str.__wrapped__);
    Py_DECREF(function);
    return inner;
}

int
shx_tracker_is_replaced(shx_state *state)
{
    PyObject *module = PyImport_GetModule(state->tracker_module);
    if (module == NULL) {
        return PyErr_Occurred() ? -1 : 0; /* nobody has patched it */
    }
    PyObject *tracker = PyObject_GetAttr(module, state->str._resource_tracker);
    PyObject *function = PyObject_GetAttr(module, state->register_name);
    Py_DECREF(module);
    bool known = tracker != NULL && function != NULL;
    bool original = known && is_original(function, tracker);
    for (int depth = 0; known && !original && function != NULL && depth < 8;
         depth++) {
        function = unwrap(state, function);
        original = function != NULL && is_original(function, tracker);
    }
    Py_XDECREF(tracker);
    Py_XDECREF(function);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return -1;
    }
    PyErr_Clear();
    return known && !original;
}
