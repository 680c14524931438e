/* SPDX-License-Identifier: MIT */
#include "py/waiting.h"

#include <math.h> /* isnan */

int
shx_parse_timeout(PyObject *timeout, int64_t *out)
{
    if (timeout == NULL || timeout == Py_None) {
        *out = -1;
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError,
                        "a timeout is a number of seconds, not NaN");
        return -1;
    }
    /* Centuries are for ever. */
    *out = seconds <= 0 ? 0 : seconds >= 9e9 ? -1 : (int64_t)(seconds * 1e9);
    return 0;
}

/* -1: there is no such argument. */
static int
position_of(const char *function, PyObject *name)
{
    static const struct {
        const char *name;
        int position;
    } known[] = {{"block", 0}, {"blocking", 0}, {"timeout", 1}};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(known); i++) {
        if (PyUnicode_CompareWithASCIIString(name, known[i].name) == 0) {
            return known[i].position;
        }
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R",
                 function, name);
    return -1;
}

static int
sort(const char *function, PyObject *const *args, Py_ssize_t count,
     PyObject *names, PyObject *sorted[2])
{
    if (count > 2) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes at most 2 arguments (%zd given)", function,
                     count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        sorted[i] = args[i];
    }
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int position = position_of(function, name);
        if (position < 0) {
            return -1;
        }
        if (sorted[position] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got multiple values for argument %R", function,
                         name);
            return -1;
        }
        sorted[position] = args[count + i];
    }
    return 0;
}

int
shx_parse_waiting(const char *function, PyObject *const *args,
                  Py_ssize_t count, PyObject *names, int64_t *timeout)
{
    PyObject *sorted[2] = {NULL, NULL};
    *timeout = -1;
    if (count == 0 && names == NULL) {
        return 0;
    }
    if (sort(function, args, count, names, sorted) < 0) {
        return -1;
    }
    int blocks = sorted[0] == NULL ? 1 : PyObject_IsTrue(sorted[0]);
    if (blocks < 0 || shx_parse_timeout(sorted[1], timeout) < 0) {
        return -1;
    }
    if (!blocks) {
        *timeout = 0;
    }
    return 0;
}

int
shx_poll_signals(void *context)
{
    PyThreadState **saved = context;
    PyEval_RestoreThread(*saved);
    int status = PyErr_CheckSignals();
    *saved = PyEval_SaveThread();
    return status;
}

void
shx_wait_begin(shx_wait *wait)
{
    wait->failed = 0;
    wait->count = 0;
    wait->saved = PyEval_SaveThread();
}

void
shx_wait_as(shx_wait *wait, shx_party *party, shx_member *me)
{
    unsigned i = wait->count++;
    wait->as[i].party = party;
    wait->as[i].me = me;
    wait->as[i].known = (shx_member){0};
    (void)shx_party_me(party, &wait->as[i].known);
}

/* Also where to stop: nobody is to take back what is its parent's. */
static shx_err
ask_who(shx_wait *wait)
{
    shx_err failed = 0;
    for (unsigned i = 0; i < wait->count; i++) {
        shx_member now;
        shx_err err = shx_party_me(wait->as[i].party, &now);
        if (err != 0) {
            now = (shx_member){0};
            failed = err;
        }
        if (!shx_is_same_member(&now, &wait->as[i].known)) {
            *wait->as[i].me = wait->as[i].known = now;
        }
    }
    return failed;
}

int
shx_wait_ask(shx_wait *wait)
{
    int status = shx_poll_signals(&wait->saved);
    wait->failed = ask_who(wait);
    return status != 0 || wait->failed != 0 ? -1 : 0;
}

shx_err
shx_wait_end(shx_wait *wait, shx_err err)
{
    PyEval_RestoreThread(wait->saved);
    return wait->failed != 0 && !PyErr_Occurred() ? wait->failed : err;
}

PyObject *
shx_call_waiting(const char *function, PyObject *op)
{
    PyObject *module = PyImport_ImportModule("shmemext._waiting");
    PyObject *result =
        module == NULL ? NULL : PyObject_CallMethod(module, function, "O", op);
    Py_XDECREF(module);
    return result;
}
