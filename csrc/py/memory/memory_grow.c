/* SPDX-License-Identifier: MIT */
/* How a Memory gets another mapping: grow() and refresh(). Views of the one
 * that it had keep that, and see the same bytes. */
#include "py/memory/memory.h"
#include "py/waiting.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_RDONLY */

/* What is taken under the lock, in one moment, to work without it. */
typedef struct {
    shx_mapping *mapping; /* new reference */
    PyObject *label;      /* new reference */
    shx_place place;
    Py_ssize_t least; /* the size that this thread knows of */
    bool reserve;
    bool pinned; /* the mapping stays, used or not */
    int fd;      /* ours to close */
} held;

static void
let_go(held *use)
{
    if (use->fd >= 0) {
        shx_os_close(use->fd);
    }
    shx_place_leave(&use->place);
    Py_CLEAR(use->label);
    Py_CLEAR(use->mapping);
}

/* Another thread, or process, may have made it longer. */
static Py_ssize_t
least_size_locked(const shx_memory *self, const shx_mapping *mapping)
{
    if (self->grower == 0) {
        return (Py_ssize_t)mapping->segment.size;
    }
    return self->grower == PyThread_get_thread_ident() ? self->asked : 1;
}

/* A mapping in use, and where its file is. ValueError: closed. */
static int
hold(PyObject *op, shx_state *state, bool to_open, held *use)
{
    shx_memory *self = MEMORY(op);
    *use = (held){.fd = -1};
    Py_BEGIN_CRITICAL_SECTION(op);
    if (self->mmap != NULL && Py_IS_TYPE(self->mmap, state->mapping_type)) {
        use->mapping = (shx_mapping *)Py_NewRef(self->mmap);
        use->label = self->kind->label(op);
        use->reserve = !self->unreserved;
        use->pinned = self->pin_count > 0;
        use->least = least_size_locked(self, use->mapping);
        if (to_open) {
            shx_place_take_to_open_locked(op, &use->place);
        }
        else {
            shx_place_take_locked(op, &use->place);
        }
    }
    Py_END_CRITICAL_SECTION();
    if (use->mapping == NULL) {
        shx_closed_error(op, "");
        return -1;
    }
    return 0;
}

static int
raise_missing(PyObject *op, shx_err err, const held *use)
{
    /* By another thread, meanwhile? */
    (void)(shx_memory_is_closed(op) ? shx_closed_error(op, "")
                                    : shx_raise(err, use->label));
    return -1;
}

/* A descriptor of the very file that is mapped. */
static int
open_file(PyObject *op, held *use, int flags)
{
    shx_err err = shx_place_open(&use->place, &use->mapping->segment.identity,
                                 flags, &use->fd);
    return err == 0 ? 0 : raise_missing(op, err, use);
}

/* Where zeros lie in place of lost pages, a new mapping has the pages that are
 * there again. */
static shx_growth
how_to_grow(const held *use)
{
    return !use->pinned                           ? SHX_GROW_APART
           : shx_mapping_tears(use->mapping) != 0 ? SHX_GROW_SPARE
                                                  : SHX_GROW_WITHIN;
}

/* Puts the new mapping into the object, unless that was closed meanwhile or
 * got one that is as good. Steals `mapping` and `size`. 1: it is in use. */
static int
replace(PyObject *op, shx_mapping *old, shx_mapping *mapping, PyObject *size,
        Py_ssize_t asked)
{
    shx_mapping_guard_longer(mapping, old);
    PyObject *buf = NULL, *unused = (PyObject *)mapping, *old_size = size;
    shx_memory *self = MEMORY(op);
    int used = 0;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (self->mmap != NULL && Py_IS_TYPE(self->mmap, Py_TYPE(mapping)) &&
        (self->mmap == (PyObject *)old ||
         (shx_same_file(&((shx_mapping *)self->mmap)->segment.identity,
                        &mapping->segment.identity) &&
          ((shx_mapping *)self->mmap)->segment.size <
              mapping->segment.size))) {
        unused = self->mmap;
        buf = self->buf;
        old_size = self->size;
        self->mmap = (PyObject *)mapping;
        self->buf = NULL;
        self->size = size;
        self->grower = PyThread_get_thread_ident();
        self->asked = asked;
        used = 1;
    }
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(buf);
    Py_XDECREF(old_size);
    Py_DECREF(unused);
    return used;
}

/* 1: there is something to do. */
static int
check_size(PyObject *op, PyObject *arg, const held *use, Py_ssize_t *wanted)
{
    Py_ssize_t size = (Py_ssize_t)use->mapping->segment.size;
    *wanted = PyNumber_AsSsize_t(arg, PyExc_OverflowError);
    if (*wanted == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (!use->mapping->segment.writable) {
        PyErr_Format(PyExc_TypeError, "cannot grow: the %s is read-only here",
                     MEMORY(op)->kind->words.what);
        return -1;
    }
    if (*wanted < use->least) {
        PyErr_Format(PyExc_ValueError,
                     "cannot shrink from %zd to %zd bytes: whoever uses the "
                     "rest would fault",
                     size, *wanted);
        return -1;
    }
    return *wanted > size;
}

static int
raise_grow(PyObject *op, shx_err err, const held *use, Py_ssize_t wanted)
{
    if (err == ENOSPC) {
        shx_raise_cannot_grow(&MEMORY(op)->kind->words, use->label,
                              (size_t)wanted, shx_os_room(use->fd));
    }
    else if (err == EPERM) {
        shx_raise_unsupported(
            err, "cannot grow: somebody has sealed the memory against it",
            use->label);
    }
    else {
        shx_raise(err, use->label);
    }
    return -1;
}

static int
grow_to(PyObject *op, shx_state *state, const held *use, Py_ssize_t wanted)
{
    /* Nothing can fail once the file is longer. */
    PyObject *size = PyLong_FromSsize_t(wanted);
    shx_mapping *mapping =
        size == NULL ? NULL : shx_mapping_new_longer(state, use->mapping);
    if (mapping == NULL) {
        Py_XDECREF(size);
        return -1;
    }
    shx_space space = {.reserve = use->reserve,
                       .durable = MEMORY(op)->kind->durable,
                       .poll = shx_poll_signals};
    shx_growth how = how_to_grow(use);
    PyThreadState *saved = PyEval_SaveThread();
    space.context = &saved;
    shx_err err =
        shx_segment_grow(&use->mapping->segment, use->fd, (size_t)wanted, how,
                         &space, &mapping->segment);
    PyEval_RestoreThread(saved);
    if (err == 0 && mapping->segment.size != (size_t)wanted) {
        Py_SETREF(size, PyLong_FromSize_t(mapping->segment.size));
    }
    if (err != 0 || size == NULL) {
        Py_DECREF(mapping);
        Py_XDECREF(size);
        return err != 0 ? raise_grow(op, err, use, wanted) : -1;
    }
    return replace(op, use->mapping, mapping, size, wanted);
}

static int
audit(PyObject *op, PyObject *label, Py_ssize_t size)
{
    if (!MEMORY(op)->kind->slash || !PyUnicode_Check(label)) {
        return PySys_Audit("shmemext.grow", "On", label, size);
    }
    PyObject *name =
        PyUnicode_Substring(label, 1, PyUnicode_GET_LENGTH(label));
    int status =
        name == NULL ? -1 : PySys_Audit("shmemext.grow", "On", name, size);
    Py_XDECREF(name);
    return status;
}

PyDoc_STRVAR(
    memory_grow_doc,
    "grow($self, size, /)\n--\n\n"
    "Make the memory longer, in place, reserved like a new one.\n\n"
    "buf is a new memoryview from then on; older views stay valid, and see\n"
    "the same bytes. Other processes see the new size when they refresh().\n"
    "If somebody else has made it longer still, that is its size.\n\n"
    "size: bytes, not fewer than there are\n\n"
    "ValueError: smaller than this thread knows it to be, or closed.\n"
    "TypeError: it is readonly. OSError ENOSPC: the new pages do not fit, "
    "and\n"
    "nothing has changed. FileNotFoundError: the name is gone, or names\n"
    "another file, and fileno() was not called before. Audit event:\n"
    "shmemext.grow with name and size.");

static PyObject *
memory_grow(PyObject *op, PyObject *arg)
{
    held use;
    Py_ssize_t wanted;
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL || hold(op, state, true, &use) < 0) {
        return NULL;
    }
    int status = check_size(op, arg, &use, &wanted);
    if (status > 0) {
        status = open_file(op, &use, O_RDWR);
        status = status < 0 ? status : audit(op, use.label, wanted);
        status = status < 0 ? status : grow_to(op, state, &use, wanted);
    }
    let_go(&use);
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Is the file still as long as it is mapped here? 0: it is. */
static int
has_changed(PyObject *op, const held *use)
{
    shx_file file;
    const shx_segment *segment = &use->mapping->segment;
    shx_err err = shx_place_inspect(&use->place, &segment->identity, &file);
    return err == 0 ? file.size != segment->size : raise_missing(op, err, use);
}

static int
map_anew(PyObject *op, shx_state *state, held *use)
{
    shx_mapping *mapping = shx_mapping_new_longer(state, use->mapping);
    int flags = use->mapping->segment.writable ? O_RDWR : O_RDONLY;
    if (mapping == NULL || open_file(op, use, flags) < 0) {
        Py_XDECREF(mapping);
        return -1;
    }
    shx_err err;
    shx_growth how = how_to_grow(use);
    Py_BEGIN_ALLOW_THREADS
    err = shx_segment_refresh(&use->mapping->segment, use->fd, how,
                              &mapping->segment);
    Py_END_ALLOW_THREADS
    PyObject *size = PyLong_FromSize_t(mapping->segment.size);
    if (err == 0 && mapping->segment.address != NULL && size != NULL) {
        return replace(op, use->mapping, mapping, size,
                       (Py_ssize_t)mapping->segment.size);
    }
    int status = size == NULL ? -1 : 0;
    Py_XDECREF(size);
    Py_DECREF(mapping);
    if (err != 0) {
        shx_raise(err, use->label);
        status = -1;
    }
    return status;
}

PyDoc_STRVAR(
    memory_refresh_doc,
    "refresh($self, /)\n--\n\n"
    "Take over the size that another process has given the memory.\n\n"
    "True if it has changed: buf is a new memoryview then, and older views\n"
    "stay valid. A system call if it has not.\n\n"
    "ValueError: closed, or cut to nothing. FileNotFoundError: the name is\n"
    "gone, or names another file, and fileno() was not called before.");

static PyObject *
memory_refresh(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    held use;
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL || hold(op, state, false, &use) < 0) {
        return NULL;
    }
    int changed = has_changed(op, &use);
    let_go(&use);
    if (changed > 0) {
        changed = hold(op, state, true, &use);
        if (changed == 0) {
            changed = map_anew(op, state, &use);
            let_go(&use);
        }
    }
    return changed < 0 ? NULL : PyBool_FromLong(changed);
}

PyMethodDef shx_memory_grow_methods[] = {
    {"grow", memory_grow, METH_O, memory_grow_doc},
    {"refresh", memory_refresh, METH_NOARGS, memory_refresh_doc},
    {NULL, NULL, 0, NULL},
};
