/* SPDX-License-Identifier: MIT */
/* AnonymousMemory.seal(): who still could write, and the mapping that takes
 * the place of ours. */
#include "core/memory/anonymous_memory.h"

#include <errno.h>

#include "py/memory/anonymous_memory.h"

/* How many references to the mapping are buf's, and nobody else's? -1: others
 * have buf, a slice of it or an array over it. */
static Py_ssize_t
count_own_views(PyObject *buf)
{
    if (buf == NULL || !PyMemoryView_Check(buf)) {
        return 0;
    }
    Py_ssize_t views = shx_count_views(buf);
    bool only_ours = views == 1 && Py_REFCNT(buf) == 1;
    return views == 0 || only_ours ? 1 : -1;
}

/* How many references to a mapping does the object itself have? */
static Py_ssize_t
count_own_locked(const shx_memory *self, PyObject *mapping)
{
    Py_ssize_t own =
        (self->mmap == mapping) + (MAPPING(self->mmap)->base == mapping);
    for (Py_ssize_t i = 0; i < self->pin_count; i++) {
        PyObject *pin = self->pins[i];
        own += (pin == mapping) +
               (pin != self->mmap && MAPPING(pin)->base == mapping);
    }
    return own;
}

/* Who else refers to the mapping, or to one from before grow()? `buf`, its
 * slices, arrays made of it. Not who asked for our own buffer and gave it
 * back: see the docstring. */
static bool
is_viewed_locked(const shx_memory *self)
{
    Py_ssize_t views = count_own_views(self->buf);
    PyObject *base = MAPPING(self->mmap)->base;
    bool viewed =
        views < 0 ||
        Py_REFCNT(self->mmap) > count_own_locked(self, self->mmap) + views ||
        (base != NULL && Py_REFCNT(base) > count_own_locked(self, base));
    for (Py_ssize_t i = 0; !viewed && i < self->pin_count; i++) {
        PyObject *pin = self->pins[i];
        base = MAPPING(pin)->base;
        if (!shx_same_file(&MAPPING(pin)->segment.identity, &self->identity)) {
            continue;
        }
        viewed =
            (pin != self->mmap &&
             Py_REFCNT(pin) > count_own_locked(self, pin)) ||
            (base != NULL && Py_REFCNT(base) > count_own_locked(self, base));
    }
    return viewed;
}

/* Those from before grow() are in the way of a seal like the one in use. Those
 * from before __init__() was called again are of other memory. */
static shx_err
remap_older_locked(const shx_memory *self, bool shared)
{
    shx_err err = 0;
    for (Py_ssize_t i = 0; err == 0 && i < self->pin_count; i++) {
        PyObject *pinned = self->pins[i];
        const shx_segment *segment = &((shx_mapping *)pinned)->segment;
        if (pinned != self->mmap &&
            shx_same_file(&segment->identity, &self->identity)) {
            err = shx_os_remap(self->fd, segment->address,
                               shx_segment_span(segment), shared);
        }
    }
    return err;
}

static void
raise_seal(const shx_memory *self, shx_err err)
{
    if (err == SHX_HELD && !self->readonly) {
        shx_raise_unsupported(
            EBUSY,
            "cannot seal: a pipe, a device or the system has had pages of "
            "the memory for a second: read the pipe, or try again",
            NULL);
    }
    else if (err == EBUSY || err == SHX_HELD) {
        shx_raise_unsupported(
            EBUSY,
            self->readonly
                ? "cannot seal: another object or process has the memory "
                  "mapped writable, or the system has pages of it; here it is "
                  "read-only from now on, since readonly_handle() lets nobody "
                  "map it writable again"
                : "cannot seal: another process, another object or a view "
                  "from before grow() has the memory mapped writable: delete "
                  "them here, close it there",
            NULL);
    }
    else {
        shx_raise(err, NULL);
    }
}

/* 0: there is nothing to do. 1: the seal may be set. */
static int
check_locked(PyObject *op, PyTypeObject *mapping_type)
{
    shx_memory *self = MEMORY(op);
    /* A class that is a SharedMemory too may have anything in `_mmap`. */
    if (self->mmap == NULL || !Py_IS_TYPE(self->mmap, mapping_type)) {
        shx_closed_error(op, "");
        return -1;
    }
    if (!((shx_mapping *)self->mmap)->segment.writable) {
        if (shx_memory_has_fd(op) &&
            shx_anonymous_memory_is_sealed(self->fd)) {
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
    return 1;
}

/* 1: pages are held, and nothing has changed. */
static int
seal_locked(PyObject *op, shx_mapping *sealed, bool again, PyObject **old,
            PyObject **buf)
{
    shx_memory *self = MEMORY(op);
    int status = check_locked(op, Py_TYPE(sealed));
    if (status <= 0) {
        return status;
    }
    shx_err err = remap_older_locked(self, false);
    if (err == 0) {
        err = shx_anonymous_memory_seal(
            self->fd, &((shx_mapping *)self->mmap)->segment, &sealed->segment);
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
    else if (err == SHX_HELD && again) {
        return 1;
    }
    if (err != 0) {
        raise_seal(self, err);
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
    "of memory.buf. On error nothing has changed, unless readonly_handle()\n"
    "was called before: then EBUSY leaves this object readonly.\n\n"
    "BufferError: buf, a slice of it or an array over it is in use.\n"
    "OSError EBUSY: another process or object has it mapped writable, or a\n"
    "pipe, a device or the system has some of its pages for a second.\n"
    "TypeError: readonly. ValueError: closed. See F_SEAL_WRITE in fcntl(2).");

/* Without a GIL, a view that died in another thread than the one that made it
 * may not be counted yet, because that one waits: a collection counts all. */
static bool
is_worth_a_collection(int status)
{
    if (SHX_HAS_GIL || status >= 0 ||
        !PyErr_ExceptionMatches(PyExc_BufferError)) {
        return false;
    }
    PyErr_Clear();
    (void)PyGC_Collect();
    return true;
}

static PyObject *
seal(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_mapping *sealed = state == NULL ? NULL : shx_mapping_new(state);
    if (sealed == NULL) {
        return NULL;
    }
    PyObject *old = NULL, *buf = NULL;
    int status = 1;
    bool collected = false;
    /* While it looks for memory, the system may hold pages for a while. Other
     * threads get a turn: one may read the pipe. */
    for (int tries = 8; status > 0 && tries > 0; tries--) {
        Py_BEGIN_CRITICAL_SECTION(op);
        status = seal_locked(op, sealed, tries > 1, &old, &buf);
        Py_END_CRITICAL_SECTION();
        if (!collected && is_worth_a_collection(status)) {
            collected = true;
            status = 1;
        }
        if (status > 0) {
            Py_BEGIN_ALLOW_THREADS
            Py_END_ALLOW_THREADS
            status = PyErr_CheckSignals() < 0 ? -1 : 1;
        }
    }
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

PyMethodDef shx_anonymous_memory_seal_methods[] = {
    {"seal", seal, METH_NOARGS, seal_doc},
    {NULL, NULL, 0, NULL},
};
