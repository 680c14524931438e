/* SPDX-License-Identifier: MIT */
#include "mapping.h"

#include <stdio.h>  /* SEEK_SET, SEEK_CUR, SEEK_END */
#include <string.h> /* memchr, memmove */

#define MAPPING(op) ((shx_mapping *)(op))

/* A pending call: in the main thread, as soon as it runs Python code. */
static int
warn_of_tears(void *Py_UNUSED(context))
{
    char name[SHX_GUARD_NAME];
    int status = 0;
    while (status == 0 && shx_guard_tell(name)) {
        status = PyErr_WarnFormat(
            PyExc_RuntimeWarning, 1,
            "shared memory '%s' was cut short by another process, or %s is "
            "full: bytes that are lost read as 0 here, and what is written "
            "to them reaches nobody",
            name, shx_os_directory);
    }
    return status;
}

/* In the signal handler: only what is safe there. */
static void
notify(void)
{
    (void)Py_AddPendingCall(warn_of_tears, NULL);
}

int
shx_mapping_watch(void)
{
    shx_err err = shx_guard_install(notify);
    if (err != 0) {
        shx_raise(err, NULL);
    }
    return err == 0 ? 0 : -1;
}

shx_mapping *
shx_mapping_new(shx_state *state)
{
    shx_mapping *self = PyObject_New(shx_mapping, state->mapping_type);
    if (self != NULL) {
        self->segment = (shx_segment){.address = NULL};
        self->guard = (shx_guard){.self = NULL};
        self->position = 0;
        self->closed = false;
    }
    return self;
}

void
shx_mapping_guard(shx_mapping *self, const char *name)
{
    shx_guard_add(&self->guard, name, self->segment.address,
                  self->segment.size);
}

/* Unmapping a large segment takes its page tables apart: others may run. A
 * small one is unmapped faster than the GIL changes hands. */
static void
detach(const shx_segment *segment)
{
    if (segment->size < (1u << 20)) {
        shx_segment_detach(segment);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    shx_segment_detach(segment);
    Py_END_ALLOW_THREADS
}

static void
mapping_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    shx_segment segment = MAPPING(op)->segment;
    shx_guard_remove(&MAPPING(op)->guard);
    PyObject_Free(op);
    Py_DECREF(type);
    if (segment.address != NULL) {
        detach(&segment);
    }
}

static Py_ssize_t
size_of(PyObject *op)
{
    return (Py_ssize_t)MAPPING(op)->segment.size;
}

static char *
byte_at(PyObject *op, Py_ssize_t position)
{
    return (char *)MAPPING(op)->segment.address + position;
}

static PyObject *
closed_error(void)
{
    PyErr_SetString(PyExc_ValueError, "mmap closed or invalid");
    return NULL;
}

/* Methods: what programs call on SharedMemory._mmap, as mmap.mmap has it. */

PyDoc_STRVAR(mapping_size_doc, "size($self, /)\n--\n\n"
                               "Return the length of the mapping in bytes.");

static PyObject *
mapping_size(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MAPPING(op)->closed;
    Py_END_CRITICAL_SECTION();
    return closed ? closed_error() : PyLong_FromSsize_t(size_of(op));
}

PyDoc_STRVAR(mapping_tell_doc, "tell($self, /)\n--\n\n"
                               "Return the position of the file API.");

static PyObject *
mapping_tell(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Py_ssize_t position;
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MAPPING(op)->closed;
    position = MAPPING(op)->position;
    Py_END_CRITICAL_SECTION();
    return closed ? closed_error() : PyLong_FromSsize_t(position);
}

PyDoc_STRVAR(mapping_seek_doc,
             "seek($self, pos, whence=0, /)\n--\n\n"
             "Move the position of the file API and return it.\n\n"
             "whence is os.SEEK_SET, SEEK_CUR or SEEK_END. ValueError: the\n"
             "position would be outside the mapping.");

static PyObject *
mapping_seek(PyObject *op, PyObject *args)
{
    Py_ssize_t offset, base = 0, target = -1;
    int whence = SEEK_SET;
    if (!PyArg_ParseTuple(args, "n|i:seek", &offset, &whence)) {
        return NULL;
    }
    if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END) {
        PyErr_SetString(PyExc_ValueError, "unknown seek type");
        return NULL;
    }
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MAPPING(op)->closed;
    base = whence == SEEK_CUR   ? MAPPING(op)->position
           : whence == SEEK_END ? size_of(op)
                                : 0;
    if (!closed && offset >= -base && offset <= size_of(op) - base) {
        MAPPING(op)->position = target = base + offset;
    }
    Py_END_CRITICAL_SECTION();
    if (closed) {
        return closed_error();
    }
    if (target < 0) {
        PyErr_SetString(PyExc_ValueError, "seek out of range");
        return NULL;
    }
    return PyLong_FromSsize_t(target);
}

/* Hands out the next `wanted` bytes (all that are left if negative), or those
 * up to and with the next newline. */
static PyObject *
read_bytes(PyObject *op, Py_ssize_t wanted, bool to_newline)
{
    PyObject *result = NULL;
    Py_BEGIN_CRITICAL_SECTION(op);
    shx_mapping *self = MAPPING(op);
    Py_ssize_t left = size_of(op) - self->position;
    const char *start = byte_at(op, self->position);
    Py_ssize_t length = wanted < 0 || wanted > left ? left : wanted;
    if (to_newline) {
        const char *newline = memchr(start, '\n', (size_t)left);
        length = newline == NULL ? left : newline - start + 1;
    }
    if (self->closed) {
        closed_error();
    }
    else {
        result = PyBytes_FromStringAndSize(start, length);
    }
    if (result != NULL) {
        self->position += length;
    }
    Py_END_CRITICAL_SECTION();
    return result;
}

PyDoc_STRVAR(mapping_read_doc,
             "read($self, n=None, /)\n--\n\n"
             "Return a copy of the next n bytes, or of all that are left.");

static PyObject *
mapping_read(PyObject *op, PyObject *args)
{
    PyObject *n = Py_None;
    if (!PyArg_ParseTuple(args, "|O:read", &n)) {
        return NULL;
    }
    Py_ssize_t wanted = -1;
    if (n != Py_None) {
        wanted = PyNumber_AsSsize_t(n, PyExc_OverflowError);
        if (wanted == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    return read_bytes(op, wanted, false);
}

PyDoc_STRVAR(mapping_readline_doc,
             "readline($self, /)\n--\n\n"
             "Return a copy of the bytes up to and with the next newline.");

static PyObject *
mapping_readline(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return read_bytes(op, -1, true);
}

PyDoc_STRVAR(mapping_write_doc,
             "write($self, data, /)\n--\n\n"
             "Copy data in at the position and return how many bytes it was.\n"
             "\nValueError: it does not fit; nothing is written.");

static PyObject *
mapping_write(PyObject *op, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    bool closed, fits;
    Py_BEGIN_CRITICAL_SECTION(op);
    shx_mapping *self = MAPPING(op);
    closed = self->closed;
    fits = view.len <= size_of(op) - self->position;
    if (!closed && fits) {
        memmove(byte_at(op, self->position), view.buf, (size_t)view.len);
        self->position += view.len;
    }
    Py_END_CRITICAL_SECTION();
    Py_ssize_t length = view.len;
    PyBuffer_Release(&view);
    if (closed) {
        return closed_error();
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "data out of range");
        return NULL;
    }
    return PyLong_FromSsize_t(length);
}

PyDoc_STRVAR(
    mapping_flush_doc,
    "flush($self, offset=0, size=None, /)\n--\n\n"
    "msync(2) the bytes. Memory has no disk: this does nothing more.\n"
    "\nValueError: outside the mapping. OSError EINVAL: offset is no\n"
    "multiple of mmap.PAGESIZE.");

static PyObject *
mapping_flush(PyObject *op, PyObject *args)
{
    Py_ssize_t offset = 0, size = -1;
    if (!PyArg_ParseTuple(args, "|nn:flush", &offset, &size)) {
        return NULL;
    }
    bool inside = offset >= 0 && offset <= size_of(op);
    if (inside && PyTuple_GET_SIZE(args) < 2) {
        size = size_of(op) - offset;
    }
    if (!inside || size < 0 || size > size_of(op) - offset) {
        PyErr_SetString(PyExc_ValueError, "flush values out of range");
        return NULL;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_os_flush(byte_at(op, offset), (size_t)size);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        return shx_raise(err, NULL);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    mapping_madvise_doc,
    "madvise($self, option, start=0, length=None, /)\n--\n\n"
    "madvise(2) with one of mmap.MADV_*.\n\n"
    "MADV_REMOVE gives reserved pages back: touching them again on a\n"
    "full /dev/shm is fatal. ValueError: outside the mapping.");

static PyObject *
mapping_madvise(PyObject *op, PyObject *args)
{
    int option;
    Py_ssize_t start = 0, length = size_of(op);
    if (!PyArg_ParseTuple(args, "i|nn:madvise", &option, &start, &length)) {
        return NULL;
    }
    if (start < 0 || start >= size_of(op)) {
        PyErr_SetString(PyExc_ValueError, "madvise start out of bounds");
        return NULL;
    }
    if (length < 0) {
        PyErr_SetString(PyExc_ValueError, "madvise length invalid");
        return NULL;
    }
    if (length > size_of(op) - start) {
        length = size_of(op) - start;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_os_advise(byte_at(op, start), (size_t)length, option);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        return shx_raise(err, NULL);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    mapping_close_doc,
    "close($self, /)\n--\n\n"
    "End the file API. The memory stays while anything refers to it.");

static PyObject *
mapping_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Py_BEGIN_CRITICAL_SECTION(op);
    MAPPING(op)->closed = true;
    Py_END_CRITICAL_SECTION();
    Py_RETURN_NONE;
}

static PyMethodDef mapping_methods[] = {
    {"size", mapping_size, METH_NOARGS, mapping_size_doc},
    {"tell", mapping_tell, METH_NOARGS, mapping_tell_doc},
    {"seek", mapping_seek, METH_VARARGS, mapping_seek_doc},
    {"read", mapping_read, METH_VARARGS, mapping_read_doc},
    {"readline", mapping_readline, METH_NOARGS, mapping_readline_doc},
    {"write", mapping_write, METH_O, mapping_write_doc},
    {"flush", mapping_flush, METH_VARARGS, mapping_flush_doc},
    {"madvise", mapping_madvise, METH_VARARGS, mapping_madvise_doc},
    {"close", mapping_close, METH_NOARGS, mapping_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
mapping_get_closed(PyObject *op, void *Py_UNUSED(closure))
{
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MAPPING(op)->closed;
    Py_END_CRITICAL_SECTION();
    return PyBool_FromLong(closed);
}

static PyGetSetDef mapping_getset[] = {
    {"closed", mapping_get_closed, NULL, "True after close().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static int
mapping_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    return PyBuffer_FillInfo(view, op, byte_at(op, 0), size_of(op), 0, flags);
}

PyDoc_STRVAR(mapping_doc,
             "The memory of one segment, unmapped when nothing refers to it\n"
             "any more. Made by SharedMemory only.");

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, (void *)mapping_doc},
    {Py_tp_dealloc, mapping_dealloc},
    {Py_tp_methods, mapping_methods},
    {Py_tp_getset, mapping_getset},
    {Py_sq_length, size_of},
    {Py_bf_getbuffer, mapping_getbuffer},
    {0, NULL},
};

/* Not collected: it refers to nothing but its type. */
PyType_Spec shx_mapping_spec = {
    .name = "shmemext.Mapping",
    .basicsize = sizeof(shx_mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = mapping_slots,
};
