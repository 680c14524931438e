/* SPDX-License-Identifier: MIT */
/* The attributes of SharedMemory: name, size and buf for everybody, and the
 * stdlib's private ones, which programs in the wild read and set. */
#include "py/shared_memory/fields.h"

#include <fcntl.h> /* O_RDWR */

#include "py/shared_memory/attributes.h"
#include "py/shared_memory/field.h"
#include "py/shared_memory/object.h"

static int
set_buf(PyObject *op, PyObject *value)
{
    PyObject *old;
    Py_BEGIN_CRITICAL_SECTION(op);
    old = MEMORY(op)->buf;
    MEMORY(op)->buf = Py_XNewRef(value);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old);
    return 0;
}

static PyObject *
get_fd(PyObject *op)
{
    int fd = shx_memory_fd(op);
    return fd == -1 && PyErr_Occurred() ? NULL : PyLong_FromLong(fd);
}

/* As in the stdlib, what was there is the program's own affair from now on:
 * it is how a descriptor is taken out of an object before it closes. What is
 * put there, close() closes. */
static int
set_fd(PyObject *op, PyObject *value)
{
    int fd = SHX_FD_NONE;
    shx_file file = {.size = 0};
    if (value != NULL) {
        fd = PyLong_AsInt(value);
        if (fd == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    if (fd >= 0) {
        (void)shx_os_inspect(fd, &file); /* nothing that is open: no file */
    }
    Py_BEGIN_CRITICAL_SECTION(op);
    MEMORY(op)->fd = fd < 0 ? SHX_FD_NONE : fd;
    MEMORY(op)->fd_identity = file.identity;
    Py_END_CRITICAL_SECTION();
    return 0;
}

#define SLOT(member) offsetof(shx_shared_memory, member), NULL, NULL
#define BASE(member) offsetof(shx_memory, member), NULL, NULL

static const shx_field_def fields[] = {
    {"_name", SLOT(name)},      {"_mmap", BASE(mmap)},
    {"_track", SLOT(track)},    {"_buf", 0, shx_memory_buf, set_buf},
    {"_fd", 0, get_fd, set_fd}, {"_flags", SLOT(flags)},
    {"_mode", SLOT(mode)},      {"_prepend_leading_slash", SLOT(prepend)},
    {"_size", BASE(size)},
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
    PyObject *name = PyObject_GetAttr(op, state->str._name);
    if (name == NULL || !prepend) {
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

/* What the field has, read without it. NULL without an exception: ask it. */
static PyObject *
plain_size(PyObject *op)
{
    PyObject *size = NULL;
    if (shx_memory_is_plain(Py_TYPE(op))) {
        Py_BEGIN_CRITICAL_SECTION(op);
        size = Py_XNewRef(MEMORY(op)->size);
        Py_END_CRITICAL_SECTION();
    }
    return size;
}

static PyObject *
get_size(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *size = plain_size(op);
    if (size != NULL) {
        return size;
    }
    shx_state *state = shx_state_of(Py_TYPE(op));
    return state == NULL ? NULL : PyObject_GetAttr(op, state->str._size);
}

static PyObject *
get_buf(PyObject *op, void *Py_UNUSED(closure))
{
    if (shx_memory_is_plain(Py_TYPE(op))) {
        return shx_memory_buf(op);
    }
    shx_state *state = shx_state_of(Py_TYPE(op));
    return state == NULL ? NULL : PyObject_GetAttr(op, state->str._buf);
}

static PyObject *
get_created(PyObject *op, void *Py_UNUSED(closure))
{
    bool created;
    Py_BEGIN_CRITICAL_SECTION(op);
    created = SHARED_MEMORY(op)->created;
    Py_END_CRITICAL_SECTION();
    return PyBool_FromLong(created);
}

PyGetSetDef shx_shared_memory_getset[] = {
    {"buf", get_buf, shx_memory_refuse,
     PyDoc_STR("The memory: a memoryview of size bytes, format 'B', the same\n"
               "object until grow() or refresh(). Writable unless readonly.\n"
               "None after close()."),
     "buf"},
    {"name", get_name, shx_memory_refuse,
     PyDoc_STR("Unique name that identifies the shared memory block, without\n"
               "a leading slash. Stays after close() and unlink()."),
     "name"},
    {"size", get_size, shx_memory_refuse,
     PyDoc_STR("Size in bytes. Stays after close()."), "size"},
    {"created", get_created, shx_memory_refuse,
     PyDoc_STR("Did this object create the segment, or attach to it?"),
     "created"},
    {NULL, NULL, NULL, NULL, NULL},
};
