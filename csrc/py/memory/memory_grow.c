/* SPDX-License-Identifier: MIT */
/* How a Memory gets another mapping: grow() and refresh(). Views of the one
 * that it had keep that, and see the same bytes. */
#include "py/memory/memory.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_RDONLY */

/* What is taken under the lock, to work without it. */
typedef struct {
    shx_mapping *mapping; /* new reference */
    PyObject *label;      /* new reference */
    int fd;               /* ours to close */
    bool reserve;
} held;

static void
let_go(held *use)
{
    if (use->fd >= 0) {
        shx_os_close(use->fd);
    }
    Py_CLEAR(use->label);
    Py_CLEAR(use->mapping);
}

/* A mapping in use, and a descriptor of its file. */
static int
hold(PyObject *op, int flags, held *use)
{
    const shx_memory_kind *kind = MEMORY(op)->kind;
    *use = (held){.mapping = shx_memory_mapping(op), .fd = -1};
    if (use->mapping == NULL) {
        return -1;
    }
    shx_err err;
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    use->label = kind->label(op);
    use->reserve = !MEMORY(op)->unreserved;
    err = kind->open(op, flags, &use->fd);
    closed = MEMORY(op)->mmap == NULL; /* by another thread, meanwhile */
    Py_END_CRITICAL_SECTION();
    if (err != 0) {
        (void)(closed ? shx_closed_error(op, "") : shx_raise(err, use->label));
        let_go(use);
        return -1;
    }
    return 0;
}

/* Puts the new mapping into the object, unless that was closed meanwhile or
 * got one that is as good. Steals `mapping` and `size`. 1: it is in use. */
static int
replace(PyObject *op, shx_mapping *old, shx_mapping *mapping, PyObject *size)
{
    shx_mapping_guard(mapping, old->guard.name);
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
check_size(PyObject *op, PyObject *arg, const shx_mapping *mapping,
           Py_ssize_t *wanted)
{
    Py_ssize_t size = (Py_ssize_t)mapping->segment.size;
    *wanted = PyNumber_AsSsize_t(arg, PyExc_OverflowError);
    if (*wanted == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (!mapping->segment.writable) {
        PyErr_Format(PyExc_TypeError, "cannot grow: the %s is read-only here",
                     MEMORY(op)->kind->words.what);
        return -1;
    }
    if (*wanted < size) {
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
    else if (err == EOPNOTSUPP) {
        shx_raise_unsupported(
            err,
            "the file system cannot reserve space (fallocate(2)): an object "
            "made with reserve=False grows without",
            use->label);
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
    shx_mapping *mapping = size == NULL ? NULL : shx_mapping_new(state);
    if (mapping == NULL) {
        Py_XDECREF(size);
        return -1;
    }
    shx_space space = {.reserve = use->reserve,
                       .durable = MEMORY(op)->kind->durable,
                       .poll = shx_poll_signals};
    PyThreadState *saved = PyEval_SaveThread();
    space.context = &saved;
    shx_err err = shx_segment_grow(&use->mapping->segment, use->fd,
                                   (size_t)wanted, &space, &mapping->segment);
    PyEval_RestoreThread(saved);
    if (err == 0 && mapping->segment.size != (size_t)wanted) {
        Py_SETREF(size, PyLong_FromSize_t(mapping->segment.size));
    }
    if (err != 0 || size == NULL) {
        Py_DECREF(mapping);
        Py_XDECREF(size);
        return err != 0 ? raise_grow(op, err, use, wanted) : -1;
    }
    return replace(op, use->mapping, mapping, size);
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
    "Make the memory size bytes long, in place, reserved like a new one.\n\n"
    "buf is a new memoryview from then on; older views stay valid, and see\n"
    "the same bytes. Other processes see the new size when they refresh().\n"
    "If somebody else has made it longer still, that is its size.\n\n"
    "ValueError: smaller than now, or closed. TypeError: it is readonly.\n"
    "OSError ENOSPC: the new pages do not fit, and nothing has changed.\n"
    "FileNotFoundError: the name is gone, or names another file, and\n"
    "fileno() was not called before. Audit event: shmemext.grow with name\n"
    "and size.");

static PyObject *
memory_grow(PyObject *op, PyObject *arg)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_mapping *mapping = state == NULL ? NULL : shx_memory_mapping(op);
    if (mapping == NULL) {
        return NULL;
    }
    Py_ssize_t wanted;
    int status = check_size(op, arg, mapping, &wanted);
    Py_DECREF(mapping);
    held use;
    if (status > 0) {
        status = hold(op, O_RDWR, &use);
        if (status == 0) {
            status = audit(op, use.label, wanted);
            if (status == 0) {
                status = grow_to(op, state, &use, wanted);
            }
            let_go(&use);
        }
    }
    if (status < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Is the file still as long as it is mapped here? 0: it is. */
static int
has_changed(PyObject *op)
{
    shx_mapping *mapping = shx_memory_mapping(op);
    if (mapping == NULL) {
        return -1;
    }
    shx_file file;
    PyObject *label = NULL;
    Py_BEGIN_CRITICAL_SECTION(op);
    shx_err err = MEMORY(op)->kind->inspect(op, &file);
    if (err == 0 && !shx_same_file(&file.identity, &MEMORY(op)->identity)) {
        err = SHX_GONE;
    }
    if (err != 0) {
        label = MEMORY(op)->kind->label(op);
        (void)(MEMORY(op)->mmap == NULL ? shx_closed_error(op, "")
                                        : shx_raise(err, label));
    }
    Py_END_CRITICAL_SECTION();
    int changed = label != NULL ? -1 : file.size != mapping->segment.size;
    Py_XDECREF(label);
    Py_DECREF(mapping);
    return changed;
}

static int
map_anew(PyObject *op, shx_state *state)
{
    held use;
    shx_mapping *mapping = shx_mapping_new(state);
    int flags = shx_memory_is_readonly(op) ? O_RDONLY : O_RDWR;
    if (mapping == NULL || hold(op, flags, &use) < 0) {
        Py_XDECREF(mapping);
        return -1;
    }
    int status = 0;
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err =
        shx_segment_refresh(&use.mapping->segment, use.fd, &mapping->segment);
    Py_END_ALLOW_THREADS
    PyObject *size = PyLong_FromSize_t(mapping->segment.size);
    if (err == 0 && mapping->segment.address != NULL && size != NULL) {
        status = replace(op, use.mapping, mapping, size);
    }
    else {
        status = size == NULL ? -1 : 0;
        Py_XDECREF(size);
        Py_DECREF(mapping);
    }
    if (err != 0) {
        shx_raise(err, use.label);
        status = -1;
    }
    let_go(&use);
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
    shx_state *state = shx_state_of(Py_TYPE(op));
    int changed = state == NULL ? -1 : has_changed(op);
    if (changed > 0) {
        changed = map_anew(op, state);
    }
    return changed < 0 ? NULL : PyBool_FromLong(changed);
}

PyMethodDef shx_memory_grow_methods[] = {
    {"grow", memory_grow, METH_O, memory_grow_doc},
    {"refresh", memory_refresh, METH_NOARGS, memory_refresh_doc},
    {NULL, NULL, 0, NULL},
};
