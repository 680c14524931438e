/* SPDX-License-Identifier: MIT */
#include "py/sync/number.h"

const shx_number_type shx_number_types[4] = {
    {'q', true, true},
    {'Q', true, false},
    {'i', false, true},
    {'I', false, false},
};

const shx_number_type *
shx_number_find(PyObject *letter)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(shx_number_types); i++) {
        const char text[] = {shx_number_types[i].letter, '\0'};
        if (PyUnicode_Check(letter) &&
            PyUnicode_CompareWithASCIIString(letter, text) == 0) {
            return &shx_number_types[i];
        }
    }
    PyErr_Format(PyExc_ValueError,
                 "'type' is one of q Q i I, which are of 8, 8, 4, 4 bytes, "
                 "as in the struct module, not %R",
                 letter);
    return NULL;
}

PyObject *
shx_number_object(const shx_number_type *type, uint64_t bits)
{
    if (type->wide) {
        return type->is_signed ? PyLong_FromLongLong((int64_t)bits)
                               : PyLong_FromUnsignedLongLong(bits);
    }
    return PyLong_FromLongLong(type->is_signed ? (int32_t)(uint32_t)bits
                                               : (int64_t)bits);
}

static int
raise_range(const shx_number_type *type, PyObject *object)
{
    PyErr_Format(PyExc_OverflowError, "%R is out of the range of type '%c'",
                 object, type->letter);
    return -1;
}

/* An int of 64 bits, of either sign. 1: of more. -1 with an exception. */
static int
as_wide(PyObject *object, uint64_t *bits, bool *negative)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (value == -1 && overflow == 0 && PyErr_Occurred()) {
        return -1;
    }
    *negative = value < 0;
    *bits = (uint64_t)value;
    if (overflow > 0) {
        *negative = false;
        *bits = PyLong_AsUnsignedLongLong(object);
        if (*bits == UINT64_MAX && PyErr_Occurred()) {
            PyErr_Clear();
            return 1;
        }
    }
    return overflow < 0;
}

int
shx_number_bits_any(const shx_number_type *type, PyObject *object,
                    bool summand, uint64_t *bits)
{
    bool negative = false;
    PyObject *number = PyNumber_Index(object);
    int more = number == NULL ? -1 : as_wide(number, bits, &negative);
    Py_XDECREF(number);
    if (more != 0) {
        return more < 0 ? -1 : raise_range(type, object);
    }
    uint64_t most = type->wide ? UINT64_MAX : UINT32_MAX;
    uint64_t half = type->wide ? (uint64_t)INT64_MAX : (uint64_t)INT32_MAX;
    bool fits = negative
                    ? (type->is_signed || summand) && ~*bits <= half
                    : *bits <= (type->is_signed && !summand ? half : most);
    return fits ? 0 : raise_range(type, object);
}
