/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/attributes.h"

#include <string.h> /* strlen */

#include "core/name.h"
#include "py/errors.h"

int
shx_attribute_is_true(PyObject *op, PyObject *attribute)
{
    PyObject *value = PyObject_GetAttr(op, attribute);
    if (value == NULL) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    Py_DECREF(value);
    return truth;
}

int
shx_int_attribute(PyObject *op, PyObject *attribute, int *out)
{
    PyObject *value = PyObject_GetAttr(op, attribute);
    if (value == NULL) {
        return -1;
    }
    *out = PyLong_AsInt(value);
    Py_DECREF(value);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

int
shx_bare_name(PyObject *name, const char *function, const char **bare)
{
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError,
                     "%s() argument 'path' must be str, not %.50s", function,
                     name == Py_None ? "None" : Py_TYPE(name)->tp_name);
        return -1;
    }
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(name, &length);
    if (text == NULL) {
        return -1;
    }
    if (strlen(text) != (size_t)length) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return -1;
    }
    shx_err err = shx_name_bare(text, bare);
    if (err != 0) {
        shx_raise(err, name);
        return -1;
    }
    return 0;
}
