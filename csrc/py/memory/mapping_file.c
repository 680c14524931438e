/* SPDX-License-Identifier: MIT */
/* The file API of a Mapping: what programs call on SharedMemory._mmap, as
 * mmap.mmap has it. */
#include "py/memory/mapping.h"

#include <stdio.h>  /* SEEK_SET, SEEK_CUR, SEEK_END */
#include <string.h> /* memchr, memmove */

static PyObject *
closed_error(void)
{
    PyErr_SetString(PyExc_ValueError, "mmap closed or invalid");
    return NULL;
}

PyDoc_STRVAR(mapping_size_doc, "size($self, /)\n--\n\n"
                               "Return the length of the mapping in bytes.");

static PyObject *
mapping_size(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MAPPING(op)->closed;
    Py_END_CRITICAL_SECTION();
    return closed ? closed_error() : PyLong_FromSsize_t(shx_mapping_size(op));
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
           : whence == SEEK_END ? shx_mapping_size(op)
                                : 0;
    if (!closed && offset >= -base && offset <= shx_mapping_size(op) - base) {
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
    Py_ssize_t left = shx_mapping_size(op) - self->position;
    const char *start = shx_mapping_byte(op, self->position);
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
    if (!MAPPING(op)->segment.writable) {
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_TypeError,
                        "mmap can't modify a readonly memory map.");
        return NULL;
    }
    bool closed, fits;
    Py_BEGIN_CRITICAL_SECTION(op);
    shx_mapping *self = MAPPING(op);
    closed = self->closed;
    fits = view.len <= shx_mapping_size(op) - self->position;
    if (!closed && fits) {
        memmove(shx_mapping_byte(op, self->position), view.buf,
                (size_t)view.len);
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
    bool inside = offset >= 0 && offset <= shx_mapping_size(op);
    if (inside && PyTuple_GET_SIZE(args) < 2) {
        size = shx_mapping_size(op) - offset;
    }
    if (!inside || size < 0 || size > shx_mapping_size(op) - offset) {
        PyErr_SetString(PyExc_ValueError, "flush values out of range");
        return NULL;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_os_flush(shx_mapping_byte(op, offset), (size_t)size);
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
    Py_ssize_t start = 0, length = shx_mapping_size(op);
    if (!PyArg_ParseTuple(args, "i|nn:madvise", &option, &start, &length)) {
        return NULL;
    }
    if (start < 0 || start >= shx_mapping_size(op)) {
        PyErr_SetString(PyExc_ValueError, "madvise start out of bounds");
        return NULL;
    }
    if (length < 0) {
        PyErr_SetString(PyExc_ValueError, "madvise length invalid");
        return NULL;
    }
    if (length > shx_mapping_size(op) - start) {
        length = shx_mapping_size(op) - start;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_os_advise(shx_mapping_byte(op, start), (size_t)length, option);
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

PyDoc_STRVAR(mapping_dir_doc, "__dir__($self, /)\n--\n\n"
                              "What there is: less than __class__ has.");

static PyObject *
mapping_dir(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyObject_Dir((PyObject *)Py_TYPE(op));
}

PyMethodDef shx_mapping_methods[] = {
    {"__dir__", mapping_dir, METH_NOARGS, mapping_dir_doc},
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
