/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/hidden.h"

#include <fcntl.h> /* O_RDWR, O_RDONLY */

#include "py/shared_memory/object.h"

/* Does a class before ours, in the order of lookup, have the name? */
static int
hides(shx_state *state, PyObject *op, PyObject *name)
{
    /* Not __mro__, which a metaclass may have an own idea of. */
    PyObject *mro = Py_NewRef(Py_TYPE(op)->tp_mro);
    int found = 0;
    for (Py_ssize_t i = 0; found == 0 && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (type == state->shared_memory_type) {
            break;
        }
        if (type->tp_dict != NULL) {
            found = PyDict_Contains(type->tp_dict, name);
        }
    }
    Py_DECREF(mro);
    return found;
}

/* The attribute, if it hides a field: it is `empty` from now on. NULL without
 * an exception if it does not, or was empty. */
static PyObject *
take_object(shx_state *state, PyObject *op, PyObject *name)
{
    if (hides(state, op, name) <= 0) {
        return NULL;
    }
    PyObject *value = PyObject_GetAttr(op, name);
    if (value == NULL || value == Py_None ||
        PyObject_SetAttr(op, name, Py_None) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

/* The same of a descriptor: of two threads that close, one gets it. */
static int
take_fd(shx_state *state, PyObject *op)
{
    int fd = SHX_FD_NONE;
    if (hides(state, op, state->str._fd) <= 0) {
        return fd;
    }
    PyObject *none = PyLong_FromLong(SHX_FD_NONE);
    if (none == NULL) {
        return fd;
    }
    Py_BEGIN_CRITICAL_SECTION(op);
    PyObject *value = PyObject_GetAttr(op, state->str._fd);
    if (value != NULL) {
        fd = PyLong_AsInt(value);
        Py_DECREF(value);
    }
    if (fd >= 0 && PyObject_SetAttr(op, state->str._fd, none) < 0) {
        fd = SHX_FD_NONE;
    }
    Py_END_CRITICAL_SECTION();
    Py_DECREF(none);
    return fd;
}

int
shx_hidden_take(PyObject *op, shx_leftovers *out)
{
    *out = (shx_leftovers){.fd = SHX_FD_NONE};
    if (shx_memory_is_plain(Py_TYPE(op))) {
        return 0;
    }
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return -1;
    }
    out->buf = take_object(state, op, state->str._buf);
    if (!PyErr_Occurred()) {
        out->mmap = take_object(state, op, state->str._mmap);
    }
    if (!PyErr_Occurred()) {
        out->fd = take_fd(state, op);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* A descriptor of the attribute's own: the struct's is another one. */
static PyObject *
open_fd(PyObject *op)
{
    shx_place place;
    shx_identity identity;
    int flags, fd = SHX_FD_NONE;
    Py_BEGIN_CRITICAL_SECTION(op);
    shx_place_take_to_open_locked(op, &place);
    identity = MEMORY(op)->identity;
    flags = MEMORY(op)->readonly ? O_RDONLY : O_RDWR;
    Py_END_CRITICAL_SECTION();
    shx_err err = shx_place_open(&place, &identity, flags, &fd);
    shx_place_leave(&place);
    if (err != 0) {
        shx_memory_raise(op, err);
    }
    PyObject *value = err == 0 ? PyLong_FromLong(fd) : NULL;
    if (value == NULL && err == 0) {
        shx_os_close(fd);
    }
    return value;
}

static PyObject *
member_of(PyObject *op, PyObject **member)
{
    PyObject *value;
    (void)op; /* a lock where there is no GIL */
    Py_BEGIN_CRITICAL_SECTION(op);
    value = Py_NewRef(*member == NULL ? Py_None : *member);
    Py_END_CRITICAL_SECTION();
    return value;
}

/* `value` is stolen, and may be NULL with an exception. */
static int
fill(PyObject *op, PyObject *name, PyObject *value)
{
    int status = value == NULL ? -1 : PyObject_SetAttr(op, name, value);
    Py_XDECREF(value);
    return status;
}

static int
fill_fd(PyObject *op, PyObject *name)
{
    PyObject *value = open_fd(op);
    if (value != NULL && PyObject_SetAttr(op, name, value) < 0) {
        shx_os_close(PyLong_AsInt(value));
        Py_CLEAR(value);
    }
    Py_XDECREF(value);
    return value == NULL ? -1 : 0;
}

int
shx_hidden_fill(shx_state *state, PyObject *op)
{
    if (shx_memory_is_plain(Py_TYPE(op))) {
        return 0;
    }
    shx_leftovers old; /* of an __init__ before this one */
    int status = shx_hidden_take(op, &old);
    shx_drop(&old);
    PyObject *const names[] = {state->str._name, state->str._size,
                               state->str._mmap, state->str._buf,
                               state->str._fd};
    PyObject **const members[] = {&SHARED_MEMORY(op)->name, &MEMORY(op)->size,
                                  &MEMORY(op)->mmap, NULL, NULL};
    for (size_t i = 0; status == 0 && i < Py_ARRAY_LENGTH(names); i++) {
        status = hides(state, op, names[i]);
        if (status <= 0) {
            continue;
        }
        status = members[i] != NULL
                     ? fill(op, names[i], member_of(op, members[i]))
                 : names[i] == state->str._buf
                     ? fill(op, names[i], shx_memory_buf(op))
                     : fill_fd(op, names[i]);
    }
    return status;
}
