/* SPDX-License-Identifier: MIT */
/* How an object lets go of its memory: in close(), and when it dies. */
#include "py/memory/memory.h"

shx_leftovers
shx_take_locked(PyObject *op)
{
    shx_memory *self = MEMORY(op);
    shx_leftovers taken = {self->buf, self->mmap, NULL, self->fd};
    /* Programs that close every descriptor reuse the numbers: close what is
     * still ours. */
    if (self->fd >= 0 && !shx_segment_owns_fd(&self->fd_identity, self->fd)) {
        taken.fd = SHX_FD_NONE;
    }
    self->buf = NULL;
    self->mmap = NULL;
    self->fd = SHX_FD_NONE;
    return taken;
}

shx_leftovers
shx_take(PyObject *op)
{
    shx_leftovers taken;
    Py_BEGIN_CRITICAL_SECTION(op);
    taken = shx_take_locked(op);
    Py_END_CRITICAL_SECTION();
    return taken;
}

shx_leftovers
shx_take_over_locked(PyObject *op, shx_mapping *mapping, PyObject *size,
                     int fd)
{
    shx_memory *self = MEMORY(op);
    shx_leftovers taken = shx_take_locked(op);
    taken.size = self->size;
    self->size = size;
    self->mmap = (PyObject *)mapping;
    self->fd = fd;
    self->readonly = !mapping->segment.writable;
    self->identity = mapping->segment.identity;
    self->fd_identity = self->identity;
    self->grower = 0;
    return taken;
}

void
shx_drop(shx_leftovers *taken)
{
    if (taken->fd >= 0) {
        shx_os_close(taken->fd);
    }
    Py_CLEAR(taken->buf);
    Py_CLEAR(taken->mmap);
    Py_CLEAR(taken->size);
}

/* Calls release() or close() on an attribute. Somebody else's views of it are
 * no reason to fail: they keep what they need alive. */
static int
end_use(PyObject *value, const char *method)
{
    if (value == NULL || value == Py_None) {
        return 0;
    }
    PyObject *result = PyObject_CallMethod(value, method, NULL);
    if (result == NULL && PyErr_ExceptionMatches(PyExc_BufferError)) {
        PyErr_Clear();
        return 0;
    }
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Where views are not pinned, a release would take the memory from under who
 * kept `buf`: there it lives on, like any other view of a Mapping. */
static bool
is_released(shx_state *state, PyObject *buf)
{
    if (SHX_PINS_VIEWS || buf == NULL || !PyMemoryView_Check(buf)) {
        return true;
    }
    PyObject *base = PyMemoryView_GET_BASE(buf);
    return base == NULL || !Py_IS_TYPE(base, state->mapping_type);
}

static int
let_go(shx_state *state, shx_leftovers *taken)
{
    int status = 0;
    if (is_released(state, taken->buf)) {
        status = end_use(taken->buf, "release");
    }
    if (taken->mmap != NULL && !Py_IS_TYPE(taken->mmap, state->mapping_type) &&
        status == 0) {
        status = end_use(taken->mmap, "close");
    }
    shx_drop(taken);
    return status;
}

/* What a subclass has in attributes of its own ends likewise. */
static int
close_hidden(shx_state *state, PyObject *op)
{
    const shx_memory_kind *kind = MEMORY(op)->kind;
    if (kind->take_hidden == NULL || shx_memory_is_plain(Py_TYPE(op))) {
        return 0;
    }
    shx_leftovers hidden;
    if (kind->take_hidden(op, &hidden) < 0) {
        shx_drop(&hidden);
        return -1;
    }
    return let_go(state, &hidden);
}

int
shx_memory_close(shx_state *state, PyObject *op)
{
    shx_leftovers taken = shx_take(op);
    int status = let_go(state, &taken);
    return status < 0 ? status : close_hidden(state, op);
}

/* Does a subclass have a close() of its own? */
static int
overrides_close(shx_state *state, PyTypeObject *type)
{
    if (shx_memory_is_plain(type)) {
        return 0;
    }
    PyObject *ours =
        PyObject_GetAttr((PyObject *)state->memory_type, state->str.close);
    PyObject *theirs = PyObject_GetAttr((PyObject *)type, state->str.close);
    int differ = ours == NULL || theirs == NULL ? -1 : ours != theirs;
    Py_XDECREF(ours);
    Py_XDECREF(theirs);
    return differ;
}

/* Views that were handed out live on, `.buf` among them: only an explicit
 * close() takes that back. A subclass's own close() is called, as __del__
 * does in the stdlib. */
void
shx_memory_finalize(PyObject *op)
{
    PyObject *pending = PyErr_GetRaisedException();
    shx_state *state = shx_state_of(Py_TYPE(op));
    int status = state == NULL ? -1 : overrides_close(state, Py_TYPE(op));
    if (status > 0) {
        PyObject *result = PyObject_CallMethodNoArgs(op, state->str.close);
        status = result == NULL ? -1 : 0;
        Py_XDECREF(result);
    }
    else if (status == 0) {
        status = close_hidden(state, op);
    }
    if (status < 0 && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
    }
    else if (status < 0) {
        PyErr_WriteUnraisable(op);
    }
    PyErr_SetRaisedException(pending);
}
