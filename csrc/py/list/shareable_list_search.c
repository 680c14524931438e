/* SPDX-License-Identifier: MIT */
/* count() and index(): looking through a list without making an object of
 * every item. */
#include "py/list/shareable_list.h"

/* Is the item equal to `wanted`? Ints are compared without making objects. */
static int
equals(PyObject *op, shx_mapping *mapping, Py_ssize_t position,
       PyObject *wanted, bool is_int, long long number)
{
    if (is_int) {
        shx_value value = {.kind = SHX_NONE};
        shx_err err = 0;
        int status;
        Py_BEGIN_CRITICAL_SECTION(op);
        status = shx_list_open_locked(op, mapping);
        if (status == 0 && position < (Py_ssize_t)LIST(op)->list.length) {
            err = shx_list_get(&LIST(op)->list, (size_t)position, &value);
        }
        Py_END_CRITICAL_SECTION();
        if (status < 0) {
            return -1;
        }
        if (err == 0 && value.kind != SHX_FLOAT) {
            return (value.kind == SHX_INT || value.kind == SHX_BOOL) &&
                   value.integer == number;
        }
    }
    PyObject *item = shx_list_item_at(op, position);
    if (item == NULL) {
        return -1;
    }
    int equal = PyObject_RichCompareBool(wanted, item, Py_EQ);
    Py_DECREF(item);
    return equal;
}

/* Counts what is equal to `wanted`, or stops at the first and says where. */
static int
search(PyObject *op, PyObject *wanted, bool first, Py_ssize_t *found)
{
    int overflow = 0;
    bool is_int = PyLong_CheckExact(wanted);
    long long number =
        is_int ? PyLong_AsLongLongAndOverflow(wanted, &overflow) : 0;
    is_int = is_int && overflow == 0;
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping == NULL) {
        return -1;
    }
    Py_ssize_t length = 0;
    int status;
    Py_BEGIN_CRITICAL_SECTION(op);
    status = shx_list_open_locked(op, mapping);
    length = (Py_ssize_t)LIST(op)->list.length;
    Py_END_CRITICAL_SECTION();
    *found = first ? -1 : 0;
    for (Py_ssize_t i = 0; status >= 0 && i < length; i++) {
        status = equals(op, mapping, i, wanted, is_int, number);
        if (status > 0 && first) {
            *found = i;
            break;
        }
        *found += status > 0;
    }
    Py_DECREF(mapping);
    return status < 0 ? -1 : 0;
}

PyDoc_STRVAR(list_count_doc, "count($self, value, /)\n--\n\n"
                             "Return how many items are equal to value.\n\n"
                             "value: anything");

static PyObject *
list_count(PyObject *op, PyObject *value)
{
    Py_ssize_t found;
    return search(op, value, false, &found) < 0 ? NULL
                                                : PyLong_FromSsize_t(found);
}

PyDoc_STRVAR(list_index_doc,
             "index($self, value, /)\n--\n\n"
             "Return the index of the first item that is equal to value.\n\n"
             "value: anything\n\n"
             "ValueError: the value is not present.");

static PyObject *
list_index(PyObject *op, PyObject *value)
{
    Py_ssize_t found;
    if (search(op, value, true, &found) < 0) {
        return NULL;
    }
    if (found < 0) {
        PyErr_Format(PyExc_ValueError, SHX_NOT_IN_LIST, value);
        return NULL;
    }
    return PyLong_FromSsize_t(found);
}

PyMethodDef shx_list_search_methods[] = {
    {"count", list_count, METH_O, list_count_doc},
    {"index", list_index, METH_O, list_index_doc},
    {NULL, NULL, 0, NULL},
};
