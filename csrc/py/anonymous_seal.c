/* SPDX-License-Identifier: MIT */
/* AnonymousMemory.seal(): who still could write, and the mapping that takes
 * the place of ours. */
#include "../core/anonymous_memory.h"

#include <errno.h>

#include "memory.h"

/* `buf`, if nobody else has it. To be dropped without the lock: a weak
 * reference to it may have a callback. */
static PyObject *
take_unused_buf(PyObject *op)
{
    shx_memory *self = MEMORY(op);
    PyObject *buf = NULL;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (!self->readonly && self->buf != NULL && Py_REFCNT(self->buf) == 1) {
        buf = self->buf;
        self->buf = NULL;
    }
    Py_END_CRITICAL_SECTION();
    return buf;
}

static Py_ssize_t
count_pinned(const shx_memory *self)
{
    return self->pinned == NULL ? 0 : PyList_GET_SIZE(self->pinned);
}

/* Who else refers to the mapping, or to one from before grow()? `buf`, its
 * slices, arrays made of it. Not who asked for our own buffer and gave it
 * back: see the docstring. */
static bool
is_viewed_locked(const shx_memory *self)
{
    Py_ssize_t own = 1;
    for (Py_ssize_t i = 0; i < count_pinned(self); i++) {
        PyObject *pinned = PyList_GET_ITEM(self->pinned, i);
        if (pinned == self->mmap) {
            own++;
        }
        else if (Py_REFCNT(pinned) > 1) {
            return true;
        }
    }
    return Py_REFCNT(self->mmap) > own;
}

/* Those from before grow() are in the way of a seal like the one in use. */
static shx_err
remap_older_locked(const shx_memory *self, bool shared)
{
    shx_err err = 0;
    for (Py_ssize_t i = 0; err == 0 && i < count_pinned(self); i++) {
        PyObject *pinned = PyList_GET_ITEM(self->pinned, i);
        const shx_segment *segment = &((shx_mapping *)pinned)->segment;
        if (pinned != self->mmap) {
            err = shx_os_remap(self->fd, segment->address, segment->size,
                               shared);
        }
    }
    return err;
}

static int
seal_locked(PyObject *op, shx_mapping *sealed, PyObject **old, PyObject **buf)
{
    shx_memory *self = MEMORY(op);
    if (self->mmap == NULL) {
        shx_closed_error(op, "");
        return -1;
    }
    shx_mapping *mapping = (shx_mapping *)self->mmap;
    if (!mapping->segment.writable) {
        if (shx_anonymous_memory_is_sealed(self->fd)) {
            return 0;
        }
        PyErr_SetString(PyExc_TypeError,
                        "cannot seal: the anonymous memory is read-only here");
        return -1;
    }
    if (!shx_memory_has_fd(op)) {
        shx_raise(EBADF, NULL);
        return -1;
    }
    if (is_viewed_locked(self)) {
        PyErr_SetString(PyExc_BufferError,
                        "cannot seal while buf, a slice of it or an array "
                        "over it is in use: delete them first");
        return -1;
    }
    shx_err err = remap_older_locked(self, false);
    if (err == 0) {
        err = shx_anonymous_memory_seal(self->fd, &mapping->segment,
                                        &sealed->segment);
    }
    if (err != 0) {
        (void)remap_older_locked(self, true);
    }
    if (sealed->segment.address != NULL) {
        *old = self->mmap;
        *buf = self->buf;
        self->mmap = Py_NewRef((PyObject *)sealed);
        self->buf = NULL;
        self->readonly = true;
    }
    if (err == EBUSY) {
        shx_raise_unsupported(
            err,
            self->readonly
                ? "cannot seal: another object or process has the memory "
                  "mapped writable; here it is read-only from now on, since "
                  "readonly_handle() lets nobody map it writable again"
                : "cannot seal: another process, another object or a view "
                  "from before grow() has the memory mapped writable: delete "
                  "them here, close it there",
            NULL);
    }
    else if (err != 0) {
        shx_raise(err, NULL);
    }
    return err == 0 ? 0 : -1;
}

PyDoc_STRVAR(
    seal_doc,
    "seal($self, /)\n--\n\n"
    "Make the memory immutable, for everybody and for ever.\n\n"
    "It can neither be written nor grown from then on, here or in any\n"
    "process, and buf is read-only. An array made by\n"
    "numpy.ndarray(buffer=memory), which leaves no trace, goes on reading\n"
    "the bytes as they were, and what it writes reaches nobody: make arrays\n"
    "of memory.buf.\n\n"
    "BufferError: buf, a slice of it or an array over it is in use.\n"
    "OSError EBUSY: another process or object has it mapped writable.\n"
    "TypeError: readonly. ValueError: closed. On error nothing has changed,\n"
    "unless readonly_handle() was called before: then EBUSY leaves this\n"
    "object readonly.\n"
    "See F_SEAL_WRITE in fcntl(2).");

static PyObject *
seal(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_mapping *sealed = state == NULL ? NULL : shx_mapping_new(state);
    if (sealed == NULL) {
        return NULL;
    }
    PyObject *old = NULL, *buf = NULL;
    int status;
    Py_XDECREF(take_unused_buf(op));
    Py_BEGIN_CRITICAL_SECTION(op);
    status = seal_locked(op, sealed, &old, &buf);
    Py_END_CRITICAL_SECTION();
    if (sealed->segment.address != NULL) {
        shx_mapping_guard(sealed, "without a name");
    }
    Py_XDECREF(old);
    Py_XDECREF(buf);
    Py_DECREF(sealed);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef shx_anonymous_seal_methods[] = {
    {"seal", seal, METH_NOARGS, seal_doc},
    {NULL, NULL, 0, NULL},
};
