/* SPDX-License-Identifier: MIT */
/* Generated names. Programs and CPython's tests patch the module's
 * _make_filename, so it is looked up at each try; as long as it is our own,
 * nothing needs to be called for it. */
#include "py/shared_memory/filename.h"

#include "core/os/os.h"
#include "py/errors.h"
#include "py/shared_memory/attributes.h"

enum { MOST_BYTES = 120 }; /* a name has 255 characters at most */

/* The prefix, and as many random digits as fit into the safe length. */
static PyObject *
make_filename(shx_state *state, PyObject *module)
{
    int safe_length;
    PyObject *prefix = PyObject_GetAttr(module, state->str._SHM_NAME_PREFIX);
    if (prefix == NULL ||
        shx_int_attribute(module, state->str._SHM_SAFE_NAME_LENGTH,
                          &safe_length) < 0) {
        Py_XDECREF(prefix);
        return NULL;
    }
    Py_ssize_t bytes = PyUnicode_Check(prefix)
                           ? (safe_length - PyUnicode_GET_LENGTH(prefix)) / 2
                           : 0;
    bytes = bytes > MOST_BYTES ? MOST_BYTES : bytes;
    unsigned char random[MOST_BYTES];
    char digits[2 * MOST_BYTES + 1] = "";
    PyObject *name = NULL;
    shx_err err;
    if (bytes < 2) {
        PyErr_SetString(PyExc_AssertionError, "_SHM_NAME_PREFIX too long");
    }
    else if ((err = shx_os_random(random, (size_t)bytes)) != 0) {
        shx_raise(err, NULL);
    }
    else {
        for (Py_ssize_t i = 0; i < bytes; i++) {
            digits[2 * i] = "0123456789abcdef"[random[i] >> 4];
            digits[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
        }
        PyObject *end = PyUnicode_FromStringAndSize(digits, 2 * bytes);
        name = end == NULL ? NULL : PyUnicode_Concat(prefix, end);
        Py_XDECREF(end);
    }
    Py_DECREF(prefix);
    return name;
}

static PyObject *
public_module(shx_state *state)
{
    PyObject *module = PyImport_GetModule(state->public_module);
    if (module == NULL && !PyErr_Occurred()) {
        module = PyImport_Import(state->public_module);
    }
    return module;
}

PyObject *
shx_make_filename(shx_state *state, bool *drawn)
{
    PyObject *module = public_module(state);
    if (module == NULL) {
        return NULL;
    }
    PyObject *name = NULL;
    PyObject *function = PyObject_GetAttr(module, state->str._make_filename);
    *drawn = function == state->make_filename;
    if (*drawn) {
        name = make_filename(state, module);
    }
    else if (function != NULL) {
        name = PyObject_CallNoArgs(function);
    }
    Py_XDECREF(function);
    Py_DECREF(module);
    return name;
}

PyDoc_STRVAR(make_filename_doc,
             "_make_filename($module, /)\n--\n\n"
             "Create a random filename for the shared memory object.");

static PyObject *
make_filename_function(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of_module(module);
    PyObject *where = public_module(state);
    PyObject *name = where == NULL ? NULL : make_filename(state, where);
    Py_XDECREF(where);
    return name;
}

static PyMethodDef make_filename_method = {
    "_make_filename", make_filename_function, METH_NOARGS, make_filename_doc};

int
shx_filename_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->make_filename = PyCFunction_New(&make_filename_method, module);
    return state->make_filename == NULL
               ? -1
               : PyModule_AddObjectRef(module, "_make_filename",
                                       state->make_filename);
}
