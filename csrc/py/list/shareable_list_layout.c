/* SPDX-License-Identifier: MIT */
/* How a ShareableList is made, and what the stdlib's private methods show of
 * its sections. The Python class puts the pieces together. */
#include "py/list/shareable_list.h"

#include <string.h> /* memcpy */

#include "py/list/values.h"

/* The items of a list to be made. What runs between _measure() and _fill(),
 * other threads among it, must not change them: so they are a copy, of plain
 * objects, that neither Python nor the garbage collector can get at. */
static const char items_name[] = "shmemext.items";

static void
items_free(PyObject *capsule)
{
    Py_XDECREF((PyObject *)PyCapsule_GetPointer(capsule, items_name));
}

static int
make_plain(PyObject *items, Py_ssize_t i)
{
    PyObject *item = PyList_GET_ITEM(items, i);
    PyObject *plain = shx_plain_item(item);
    if (plain == NULL) {
        return -1;
    }
    PyList_SET_ITEM(items, i, plain);
    Py_DECREF(item);
    return 0;
}

/* gc.get_objects() hands out lists, one that is being made of an iterator for
 * example: a copy is taken of such a one, until nobody else has it. */
static PyObject *
own_list(PyObject *sequence)
{
    PyObject *items = PySequence_List(sequence);
    while (items != NULL) {
        PyObject_GC_UnTrack(items);
        if (Py_REFCNT(items) == 1) {
            break;
        }
        PyObject_GC_Track(items);
        Py_SETREF(items, PySequence_List(items));
    }
    return items;
}

/* The copy, and the bytes of its slots. */
static PyObject *
plain_items(PyObject *sequence, uint64_t *data)
{
    PyObject *items = own_list(sequence);
    if (items == NULL) {
        return NULL;
    }
    uint64_t sum = 0;
    Py_ssize_t length = PyList_GET_SIZE(items);
    for (Py_ssize_t i = 0; i < length; i++) {
        shx_value value;
        PyObject *item = PyList_GET_ITEM(items, i);
        if (shx_is_short_number(item)) {
            sum += 8;
            continue;
        }
        if ((!shx_is_plain(item) && make_plain(items, i) < 0) ||
            shx_value_from_python(PyList_GET_ITEM(items, i), &value) < 0) {
            Py_DECREF(items);
            return NULL;
        }
        sum += shx_value_slot(&value);
    }
    *data = sum;
    return items;
}

/* Return (items, length, bytes of data, bytes of segment) for the list of
 * these items, which nobody but _fill() can get at. */
PyDoc_STRVAR(measure_doc, "_measure($self, sequence, /)\n--\n\n");

static PyObject *
list_measure(PyObject *Py_UNUSED(op), PyObject *sequence)
{
    uint64_t data;
    size_t size;
    PyObject *items = plain_items(sequence, &data);
    if (items == NULL) {
        return NULL;
    }
    Py_ssize_t length = PyList_GET_SIZE(items);
    shx_err err = shx_list_size((size_t)length, data, &size);
    if (err != 0) {
        Py_DECREF(items);
        return shx_raise(err, NULL);
    }
    PyObject *capsule = PyCapsule_New(items, items_name, items_free);
    if (capsule == NULL) {
        Py_DECREF(items);
        return NULL;
    }
    return Py_BuildValue("(Nnnn)", capsule, length, (Py_ssize_t)data,
                         (Py_ssize_t)size);
}

/* The items of _measure() into the list's memory, which nobody knows yet. */
static int
fill_locked(PyObject *op, shx_mapping *mapping, PyObject *items,
            Py_ssize_t data)
{
    shx_list *list = &LIST(op)->list;
    Py_ssize_t length = PyList_GET_SIZE(items);
    size_t size, offset = 0;
    if (data < 0 || shx_list_size((size_t)length, (size_t)data, &size) != 0 ||
        size > mapping->segment.size) {
        shx_raise(SHX_CORRUPT, NULL);
        return -1;
    }
    shx_list_create(mapping->segment.address, (size_t)length, (size_t)data,
                    list);
    LIST(op)->segment = mapping->segment;
    if (list->marks > shx_os_page_size()) { /* marks are seldom written */
        (void)shx_os_populate(list->memory, list->marks, true);
    }
    Py_ssize_t i = 0;
    for (; i < length; i++) {
        shx_value value;
        if (shx_value_from_python(PyList_GET_ITEM(items, i), &value) < 0) {
            return -1;
        }
        if (shx_value_slot(&value) > (size_t)data - offset) {
            break;
        }
        shx_list_append(list, (size_t)i, &offset, &value);
    }
    if (i < length || offset != (size_t)data) {
        shx_raise(SHX_CORRUPT, NULL);
        return -1;
    }
    return 0;
}

/* Lay out what _measure() returned in self.shm. */
PyDoc_STRVAR(fill_doc, "_fill($self, items, data, /)\n--\n\n");

static PyObject *
list_fill(PyObject *op, PyObject *args)
{
    PyObject *capsule;
    Py_ssize_t data;
    if (!PyArg_ParseTuple(args, "On:_fill", &capsule, &data)) {
        return NULL;
    }
    PyObject *items = PyCapsule_GetPointer(capsule, items_name);
    if (items == NULL) {
        return NULL;
    }
    shx_mapping *mapping = shx_list_acquire_writable(op);
    if (mapping == NULL) {
        return NULL;
    }
    int status;
    Py_BEGIN_CRITICAL_SECTION(op);
    status = fill_locked(op, mapping, items, data);
    Py_END_CRITICAL_SECTION();
    Py_DECREF(mapping);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Find the sections of the list in self.shm. */
PyDoc_STRVAR(open_doc, "_open($self, /)\n--\n\n");

static PyObject *
list_open(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping == NULL) {
        return NULL;
    }
    int status;
    Py_BEGIN_CRITICAL_SECTION(op);
    status = shx_list_open_locked(op, mapping);
    Py_END_CRITICAL_SECTION();
    Py_DECREF(mapping);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* What a private method looks at: one position of one section. */
typedef enum { OFFSET, FORMAT, CODE } section;

static PyObject *
peek_locked(PyObject *op, shx_mapping *mapping, section what,
            Py_ssize_t position)
{
    shx_list *list = &LIST(op)->list;
    if (shx_list_open_locked(op, mapping) < 0) {
        return NULL;
    }
    size_t length = list->length + (what == OFFSET);
    if (position < 0 || (size_t)position >= length) {
        PyErr_SetString(PyExc_IndexError, "Requested position out of range.");
        return NULL;
    }
    char format[SHX_FORMAT];
    switch (what) {
    case OFFSET:
        return PyLong_FromUnsignedLongLong(
            shx_list_offset(list, (size_t)position));
    case CODE:
        return PyLong_FromLong(shx_list_code(list, (size_t)position));
    default:
        return PyUnicode_DecodeUTF8(
            format,
            (Py_ssize_t)shx_list_format(list, (size_t)position, format), NULL);
    }
}

static PyObject *
peek(PyObject *op, PyObject *argument, section what)
{
    Py_ssize_t position = PyNumber_AsSsize_t(argument, PyExc_IndexError);
    if (position == -1 && PyErr_Occurred()) {
        return NULL;
    }
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping == NULL) {
        return NULL;
    }
    PyObject *result;
    Py_BEGIN_CRITICAL_SECTION(op);
    result = peek_locked(op, mapping, what, position);
    Py_END_CRITICAL_SECTION();
    Py_DECREF(mapping);
    return result;
}

/* Where a slot begins in the data. */
PyDoc_STRVAR(offset_at_doc, "_offset_at($self, position, /)\n--\n\n");

static PyObject *
list_offset_at(PyObject *op, PyObject *position)
{
    return peek(op, position, OFFSET);
}

/* The struct format of one item. */
PyDoc_STRVAR(format_at_doc, "_format_at($self, position, /)\n--\n\n");

static PyObject *
list_format_at(PyObject *op, PyObject *position)
{
    return peek(op, position, FORMAT);
}

/* 0 a number, 1 str, 2 bytes, 3 None. */
PyDoc_STRVAR(code_at_doc, "_code_at($self, position, /)\n--\n\n");

static PyObject *
list_code_at(PyObject *op, PyObject *position)
{
    return peek(op, position, CODE);
}

/* Write the format and the code of one item. */
PyDoc_STRVAR(describe_doc,
             "_describe($self, position, format, code, /)\n--\n\n");

static PyObject *
list_describe(PyObject *op, PyObject *args)
{
    Py_ssize_t position, length;
    const char *text;
    int code, status;
    if (!PyArg_ParseTuple(args, "ns#i:_describe", &position, &text, &length,
                          &code)) {
        return NULL;
    }
    char format[SHX_FORMAT] = {0};
    memcpy(format, text, (size_t)(length < SHX_FORMAT ? length : SHX_FORMAT));
    shx_mapping *mapping = shx_list_acquire_writable(op);
    if (mapping == NULL) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(op);
    shx_list *list = &LIST(op)->list;
    status = shx_list_open_locked(op, mapping);
    if (status == 0 && (position < 0 || (size_t)position >= list->length)) {
        PyErr_SetString(PyExc_IndexError, "Requested position out of range.");
        status = -1;
    }
    if (status == 0) {
        shx_list_set_format(list, (size_t)position, format);
        shx_list_set_code(list, (size_t)position, code);
    }
    Py_END_CRITICAL_SECTION();
    Py_DECREF(mapping);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef shx_list_layout_methods[] = {
    {"_measure", list_measure, METH_O, measure_doc},
    {"_fill", list_fill, METH_VARARGS, fill_doc},
    {"_open", list_open, METH_NOARGS, open_doc},
    {"_offset_at", list_offset_at, METH_O, offset_at_doc},
    {"_format_at", list_format_at, METH_O, format_at_doc},
    {"_code_at", list_code_at, METH_O, code_at_doc},
    {"_describe", list_describe, METH_VARARGS, describe_doc},
    {NULL, NULL, 0, NULL},
};

/* All formats, one after the other. */
PyObject *
shx_list_get_format(PyObject *op, void *Py_UNUSED(closure))
{
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    char *text = NULL;
    size_t length = 0;
    int status;
    Py_BEGIN_CRITICAL_SECTION(op);
    const shx_list *list = &LIST(op)->list;
    status = shx_list_open_locked(op, mapping);
    if (status == 0) {
        text = PyMem_Malloc(SHX_FORMAT * list->length + 1);
    }
    for (size_t i = 0; text != NULL && i < list->length; i++) {
        length += shx_list_format(list, i, text + length);
    }
    Py_END_CRITICAL_SECTION();
    if (text != NULL) {
        result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, NULL);
    }
    else if (status == 0) {
        PyErr_NoMemory();
    }
    PyMem_Free(text);
    Py_DECREF(mapping);
    return result;
}
