/* SPDX-License-Identifier: MIT */
/* The attributes of SharedMemory: name, size and buf for everybody, and the
 * stdlib's private ones, which programs in the wild read and set. */
#include "shared_memory.h"

#include <fcntl.h>  /* O_RDWR */
#include <string.h> /* strlen */

#include "field.h"

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
    shx_err err = shx_segment_name(text, bare);
    if (err != 0) {
        shx_raise(err, name);
        return -1;
    }
    return 0;
}

/* What `_name` holds, None if unset. New reference. */
static PyObject *
stored_name(PyObject *op)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    PyObject *name;
    Py_BEGIN_CRITICAL_SECTION(op);
    name = Py_NewRef(self->name == NULL ? Py_None : self->name);
    Py_END_CRITICAL_SECTION();
    return name;
}

/* `buf` is made when it is first asked for, and is the same object from then
 * on. Programs that put something else in `_mmap` get None. */
static PyObject *
get_buf(PyObject *op)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    shx_shared_memory *self = SHARED_MEMORY(op);
    PyObject *buf = NULL;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (self->buf == NULL && self->mmap != NULL &&
        Py_IS_TYPE(self->mmap, state->mapping_type)) {
        self->buf = PyMemoryView_FromObject(self->mmap);
        buf = Py_XNewRef(self->buf);
    }
    else {
        buf = Py_NewRef(self->buf == NULL ? Py_None : self->buf);
    }
    Py_END_CRITICAL_SECTION();
    return buf;
}

static int
set_buf(PyObject *op, PyObject *value)
{
    PyObject *old;
    Py_BEGIN_CRITICAL_SECTION(op);
    old = SHARED_MEMORY(op)->buf;
    SHARED_MEMORY(op)->buf = Py_XNewRef(value);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old);
    return 0;
}

/* Opens a descriptor the first time it is asked for: called with the lock
 * held. -1 without an exception where there is none. */
static int
fd_locked(shx_shared_memory *self)
{
    if (self->fd != SHX_FD_UNASKED) {
        return self->fd;
    }
    const char *bare;
    if (shx_bare_name(self->name == NULL ? Py_None : self->name, "shm_open",
                      &bare) < 0) {
        return -1;
    }
    int fd;
    shx_err err = shx_segment_open(bare, &self->identity, &fd);
    if (err != 0) {
        shx_raise(err, self->name);
        return -1;
    }
    return self->fd = fd;
}

static PyObject *
get_fd(PyObject *op)
{
    int fd;
    Py_BEGIN_CRITICAL_SECTION(op);
    fd = fd_locked(SHARED_MEMORY(op));
    Py_END_CRITICAL_SECTION();
    return fd == -1 && PyErr_Occurred() ? NULL : PyLong_FromLong(fd);
}

/* As in the stdlib, what was there is the program's own affair from now on:
 * it is how a descriptor is taken out of an object before it closes. */
static int
set_fd(PyObject *op, PyObject *value)
{
    int fd = SHX_FD_NONE;
    if (value != NULL) {
        fd = PyLong_AsInt(value);
        if (fd == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    Py_BEGIN_CRITICAL_SECTION(op);
    SHARED_MEMORY(op)->fd = fd < 0 ? SHX_FD_NONE : fd;
    Py_END_CRITICAL_SECTION();
    return 0;
}

#define SLOT(member) offsetof(shx_shared_memory, member), NULL, NULL

static const shx_field_def fields[] = {
    {"_name", SLOT(name)},      {"_mmap", SLOT(mmap)},
    {"_track", SLOT(track)},    {"_buf", 0, get_buf, set_buf},
    {"_fd", 0, get_fd, set_fd}, {"_flags", SLOT(flags)},
    {"_mode", SLOT(mode)},      {"_prepend_leading_slash", SLOT(prepend)},
    {"_size", SLOT(size)},
};

/* The defaults of the fields, in their order: NULL has none. */
int
shx_shared_memory_add_fields(shx_state *state, PyTypeObject *type)
{
    PyObject *numbers[] = {PyLong_FromLong(SHX_FD_NONE),
                           PyLong_FromLong(O_RDWR), PyLong_FromLong(0600)};
    PyObject *fallbacks[] = {
        Py_None,    Py_None,    Py_None, Py_None, numbers[0],
        numbers[1], numbers[2], Py_True, NULL,
    };
    int status = 0;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(numbers); i++) {
        status = numbers[i] == NULL ? -1 : status;
    }
    for (size_t i = 0; status == 0 && i < Py_ARRAY_LENGTH(fields); i++) {
        status = shx_field_add(state, type, &fields[i], fallbacks[i]);
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(numbers); i++) {
        Py_XDECREF(numbers[i]);
    }
    return status;
}

/* `_name` without the slash that was prepended to it. */
static PyObject *
get_name(PyObject *op, void *Py_UNUSED(closure))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    int prepend = shx_attribute_is_true(op, state->str._prepend_leading_slash);
    if (prepend < 0) {
        return NULL;
    }
    PyObject *name = stored_name(op);
    if (!prepend) {
        return name;
    }
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute 'startswith'",
                     Py_TYPE(name)->tp_name);
        Py_DECREF(name);
        return NULL;
    }
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    if (length == 0 || PyUnicode_READ_CHAR(name, 0) != '/') {
        return name;
    }
    PyObject *bare = PyUnicode_Substring(name, 1, length);
    Py_DECREF(name);
    return bare;
}

static PyObject *
get_size(PyObject *op, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(op, "_size");
}

static PyObject *
get_public_buf(PyObject *op, void *Py_UNUSED(closure))
{
    return get_buf(op);
}

/* A Python property's words. */
static int
refuse(PyObject *op, PyObject *value, void *name)
{
    PyErr_Format(PyExc_AttributeError,
                 "property '%s' of '%.100s' object has no %s", (char *)name,
                 Py_TYPE(op)->tp_name, value == NULL ? "deleter" : "setter");
    return -1;
}

PyGetSetDef shx_shared_memory_getset[] = {
    {"name", get_name, refuse,
     PyDoc_STR("Unique name that identifies the shared memory block, without\n"
               "a leading slash. Stays after close() and unlink()."),
     "name"},
    {"size", get_size, refuse,
     PyDoc_STR("Size in bytes. Stays after close()."), "size"},
    {"buf", get_public_buf, refuse,
     PyDoc_STR("The memory: a writable memoryview of size bytes, format 'B',\n"
               "the same object each time. None after close()."),
     "buf"},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
