/* SPDX-License-Identifier: MIT */
/* Bulk work on a Memory's bytes, without the GIL: populate(), write(),
 * readinto(). Other threads may close the object meanwhile: the mapping is
 * kept. */
#include "py/memory/memory.h"
#include "py/waiting.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_RDONLY */

/* Where the core finds us again, to ask for a descriptor or for signals. */
typedef struct {
    PyThreadState *saved; /* first: shx_poll_signals() wants its address */
    PyObject *op;
    const shx_segment *segment; /* that is copied: the object's may change */
    int flags;
} caller;

static shx_err
open_descriptor(void *context, int *fd)
{
    caller *from = context;
    PyEval_RestoreThread(from->saved);
    shx_place place;
    Py_BEGIN_CRITICAL_SECTION(from->op);
    shx_place_take_to_open_locked(from->op, &place);
    Py_END_CRITICAL_SECTION();
    shx_err err =
        shx_place_open(&place, &from->segment->identity, from->flags, fd);
    shx_place_leave(&place);
    from->saved = PyEval_SaveThread();
    return err;
}

/* Missing pages are told by name, and how many could be had. */
static PyObject *
raise_copy(PyObject *op, shx_err err, const shx_mapping *mapping)
{
    const shx_memory_kind *kind = MEMORY(op)->kind;
    PyObject *label, *text = NULL;
    Py_BEGIN_CRITICAL_SECTION(op);
    label = kind->label(op);
    Py_END_CRITICAL_SECTION();
    if (err == ENOSPC || err == EFAULT) {
        text = PyUnicode_FromFormat(
            "pages of the %s of %zu bytes are missing and not to be had: it "
            "was cut short by another process, or created with reserve=False "
            "and no room is left%s",
            kind->words.what, mapping->segment.size, kind->words.place);
        shx_raise_text(err, text, label);
    }
    else {
        shx_raise(err, label);
    }
    Py_DECREF(label);
    return NULL;
}

PyDoc_STRVAR(
    memory_populate_doc,
    "populate($self, /)\n--\n\n"
    "Make all pages present in this process, faster than by touching them.\n\n"
    "Without the GIL; Ctrl-C works. The first touch of each page costs\n"
    "nothing after this.\n\n"
    "OSError EFAULT: pages cannot be had. OSError EOPNOTSUPP: the kernel is\n"
    "older than Linux 5.14. ValueError: closed. See MADV_POPULATE_WRITE in\n"
    "madvise(2).");

static PyObject *
memory_populate(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_mapping *mapping = shx_memory_mapping(op);
    if (mapping == NULL) {
        return NULL;
    }
    caller from = {.op = op};
    const shx_copying copy = {&mapping->segment, &mapping->strips, NULL, NULL};
    const shx_space space = {.poll = shx_poll_signals, .context = &from.saved};
    from.saved = PyEval_SaveThread();
    shx_err err = shx_copy_populate(&copy, &space);
    PyEval_RestoreThread(from.saved);
    if (err != 0) {
        raise_copy(op, err, mapping);
    }
    Py_DECREF(mapping);
    if (err != 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
range_error(const shx_mapping *mapping, const char *verb, Py_ssize_t length,
            Py_ssize_t offset)
{
    PyErr_Format(PyExc_ValueError,
                 "cannot %s %zd bytes at offset %zd: the memory has %zu bytes",
                 verb, length, offset, mapping->segment.size);
    return NULL;
}

/* Copies, and looks whether pages were lost on the way. */
static PyObject *
copy_bytes(PyObject *op, shx_mapping *mapping, Py_ssize_t offset,
           Py_buffer *view, Py_ssize_t length, bool in)
{
    caller from = {.op = op,
                   .segment = &mapping->segment,
                   .flags = in ? O_RDWR : O_RDONLY};
    const shx_copying copy = {&mapping->segment, &mapping->strips,
                              open_descriptor, &from};
    shx_guard_look();
    from.saved = PyEval_SaveThread();
    shx_err err =
        in ? shx_copy_in(&copy, (size_t)offset, view->buf, (size_t)length)
           : shx_copy_out(&copy, (size_t)offset, view->buf, (size_t)length);
    PyEval_RestoreThread(from.saved);
    /* Lost now, or before: then the bytes are in pages that nobody else has.
     */
    if (err == 0 && shx_mapping_tears(mapping) != 0) {
        err = EFAULT;
    }
    return err != 0 ? raise_copy(op, err, mapping)
                    : PyLong_FromSsize_t(length);
}

/* write() and readinto(), which differ in what has to fit. */
static PyObject *
copy_call(PyObject *op, PyObject *args, PyObject *kwargs, bool in)
{
    static char *keywords[] = {"", "offset", NULL};
    Py_buffer view;
    Py_ssize_t offset = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs,
                                     in ? "y*|n:write" : "w*|n:readinto",
                                     keywords, &view, &offset)) {
        return NULL;
    }
    PyObject *result = NULL;
    shx_mapping *mapping = shx_memory_mapping(op);
    if (mapping != NULL) {
        Py_ssize_t size = (Py_ssize_t)mapping->segment.size;
        Py_ssize_t left = offset < 0 ? -1 : size - offset;
        if (in && !mapping->segment.writable) {
            PyErr_Format(PyExc_TypeError,
                         "cannot write: the %s is read-only here",
                         MEMORY(op)->kind->words.what);
        }
        else if (left < 0 || (in && view.len > left)) {
            range_error(mapping, in ? "write" : "read", view.len, offset);
        }
        else {
            Py_ssize_t length = view.len < left ? view.len : left;
            result = copy_bytes(op, mapping, offset, &view, length, in);
        }
        Py_DECREF(mapping);
    }
    PyBuffer_Release(&view);
    return result;
}

PyDoc_STRVAR(
    memory_write_doc,
    "write($self, data, /, offset=0)\n--\n\n"
    "Copy data in, and return how many bytes it was.\n\n"
    "Without the GIL, and in the faster way: pages that were never touched\n"
    "here are written through a descriptor.\n\n"
    "data: any C-contiguous buffer\n"
    "offset: bytes, of where it goes\n\n"
    "ValueError: closed, or it does not fit; nothing is written. TypeError:\n"
    "the memory is readonly. OSError: pages cannot be had; some bytes may\n"
    "have been written.");

static PyObject *
memory_write(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return copy_call(op, args, kwargs, true);
}

PyDoc_STRVAR(
    memory_readinto_doc,
    "readinto($self, buffer, /, offset=0)\n--\n\n"
    "Copy bytes out, and return how many it was.\n\n"
    "As many as fit and as there are, without the GIL.\n\n"
    "buffer: any writable C-contiguous buffer\n"
    "offset: bytes, of the first one\n\n"
    "ValueError: closed, or offset is outside the memory. OSError: pages\n"
    "are lost; some bytes may have been read.");

static PyObject *
memory_readinto(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return copy_call(op, args, kwargs, false);
}

PyMethodDef shx_memory_copy_methods[] = {
    {"populate", memory_populate, METH_NOARGS, memory_populate_doc},
    {"write", (PyCFunction)(void (*)(void))memory_write,
     METH_VARARGS | METH_KEYWORDS, memory_write_doc},
    {"readinto", (PyCFunction)(void (*)(void))memory_readinto,
     METH_VARARGS | METH_KEYWORDS, memory_readinto_doc},
    {NULL, NULL, 0, NULL},
};
