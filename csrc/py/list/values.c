/* SPDX-License-Identifier: MIT */
#include "py/list/values.h"

#include <string.h> /* memcpy, strncmp */

int
shx_copy_item(const shx_list *list, size_t index, shx_copy *out)
{
    shx_err err = shx_list_get(list, index, &out->value);
    out->text = NULL;
    if (err != 0) {
        shx_raise(err, NULL);
        return -1;
    }
    if (out->value.kind != SHX_STR && out->value.kind != SHX_BYTES) {
        return 0;
    }
    char *text = out->small;
    if (out->value.length > sizeof out->small) {
        text = out->text = PyMem_Malloc(out->value.length);
        if (text == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    memcpy(text, out->value.text, out->value.length);
    out->value.text = text;
    return 0;
}

PyObject *
shx_value_to_python(shx_copy *copy)
{
    const shx_value *value = &copy->value;
    PyObject *result = NULL;
    switch (value->kind) {
    case SHX_INT:
        return PyLong_FromLongLong(value->integer);
    case SHX_FLOAT:
        return PyFloat_FromDouble(value->number);
    case SHX_BOOL:
        return PyBool_FromLong(value->integer != 0);
    case SHX_NONE:
        return Py_NewRef(Py_None);
    case SHX_STR:
        result =
            PyUnicode_DecodeUTF8(value->text, (Py_ssize_t)value->length, NULL);
        break;
    case SHX_BYTES:
        result =
            PyBytes_FromStringAndSize(value->text, (Py_ssize_t)value->length);
        break;
    }
    PyMem_Free(copy->text);
    return result;
}

static PyObject *
type_error(PyObject *item)
{
    PyErr_Format(PyExc_TypeError,
                 "a ShareableList holds int, float, bool, str, bytes and "
                 "None, not '%.200s'",
                 Py_TYPE(item)->tp_name);
    return NULL;
}

/* An object that is a number in all but type: an int by __index__, else a
 * float by __float__ if it is equal to that. What calls itself a bool and is
 * equal to one is one: numpy's is no subclass of it. */
static PyObject *
plain_number(PyObject *item)
{
    const char *dot = strrchr(Py_TYPE(item)->tp_name, '.');
    if (dot != NULL && strncmp(dot, ".bool", 5) == 0) {
        int truth = PyObject_IsTrue(item);
        return truth < 0 ? NULL : PyBool_FromLong(truth);
    }
    if (PyIndex_Check(item)) {
        PyObject *index = PyNumber_Index(item);
        if (index != NULL || !PyErr_ExceptionMatches(PyExc_TypeError)) {
            return index;
        }
        PyErr_Clear(); /* an array of several, for example */
    }
    double number = PyFloat_AsDouble(item);
    if (number == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) {
            return NULL;
        }
        PyErr_Clear(); /* says nothing of the type */
        return type_error(item);
    }
    PyObject *plain = PyFloat_FromDouble(number);
    int equal =
        plain == NULL ? -1 : PyObject_RichCompareBool(item, plain, Py_EQ);
    if (equal == 0 && number == number) { /* NaN equals nothing */
        Py_CLEAR(plain);
        return type_error(item);
    }
    if (equal < 0) {
        Py_CLEAR(plain);
    }
    return plain;
}

PyObject *
shx_plain_item(PyObject *item)
{
    if (shx_is_plain(item)) {
        return Py_NewRef(item);
    }
    if (PyUnicode_Check(item)) {
        return PyUnicode_FromObject(item);
    }
    if (PyBytes_Check(item)) {
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(item),
                                         PyBytes_GET_SIZE(item));
    }
    if (PyLong_Check(item)) {
        return PyNumber_Index(item); /* an exact int since 3.10 */
    }
    if (PyFloat_Check(item)) {
        return PyFloat_FromDouble(PyFloat_AS_DOUBLE(item));
    }
    return plain_number(item);
}

/* struct.error, in the words of the interpreter that runs. */
static int
overflow(PyObject *number)
{
    PyErr_Clear();
    PyObject *module = PyImport_ImportModule("struct");
    PyObject *result = module == NULL ? NULL
                                      : PyObject_CallMethod(module, "pack",
                                                            "sO", "q", number);
    Py_XDECREF(module);
    Py_XDECREF(result);
    return -1;
}

static int
text_value(shx_kind kind, const char *text, Py_ssize_t length,
           Py_ssize_t characters, shx_value *out)
{
    if (text == NULL) {
        return -1;
    }
    if ((size_t)length > shx_value_text_max) {
        PyErr_Format(PyExc_AssertionError,
                     "a text of %zd bytes is too long for a ShareableList: "
                     "%zu is the most",
                     length, shx_value_text_max);
        return -1;
    }
    *out = (shx_value){.kind = kind};
    out->text = text;
    out->length = (size_t)length;
    out->characters = (size_t)characters;
    return 0;
}

int
shx_value_from_other(PyObject *plain, shx_value *out)
{
    Py_ssize_t length = 0;
    if (PyLong_CheckExact(plain)) {
        int beyond = 0;
        *out = (shx_value){.kind = SHX_INT};
        out->integer = PyLong_AsLongLongAndOverflow(plain, &beyond);
        return beyond == 0 ? 0 : overflow(plain);
    }
    if (plain == Py_None) {
        *out = (shx_value){.kind = SHX_NONE};
        return 0;
    }
    if (PyBool_Check(plain)) {
        *out = (shx_value){.kind = SHX_BOOL, .integer = plain == Py_True};
        return 0;
    }
    if (PyFloat_Check(plain)) {
        *out =
            (shx_value){.kind = SHX_FLOAT, .number = PyFloat_AS_DOUBLE(plain)};
        return 0;
    }
    if (PyUnicode_Check(plain)) {
        const char *text = PyUnicode_AsUTF8AndSize(plain, &length);
        return text_value(SHX_STR, text, length, PyUnicode_GET_LENGTH(plain),
                          out);
    }
    if (!PyBytes_Check(plain)) {
        type_error(plain);
        return -1;
    }
    length = PyBytes_GET_SIZE(plain);
    return text_value(SHX_BYTES, PyBytes_AS_STRING(plain), length, length,
                      out);
}
