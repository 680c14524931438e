/* SPDX-License-Identifier: MIT */
/* The type shmemext.AnonymousMemory: a Memory without a name, which crosses
 * to other processes by its descriptor. */
#include "core/memory/anonymous_memory.h"

#include <errno.h>

#include "py/memory/anonymous_memory.h"
#include "py/waiting.h"

/* The kind's functions. */

static PyObject *
label_of(PyObject *Py_UNUSED(op))
{
    return Py_NewRef(Py_None);
}

/* By its descriptor, or not at all. */
static shx_err
find_memory(PyObject *Py_UNUSED(op), PyObject **Py_UNUSED(text),
            const char **Py_UNUSED(path))
{
    return EBADF;
}

static const shx_memory_kind kind = {
    .words = {.what = "anonymous memory",
              .place = " in memory and swap",
              .hint = "reserve=False creates without reserving"},
    .clear = shx_memory_clear,
    .label = label_of,
    .find = find_memory,
};

static PyObject *
anonymous_memory_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                     PyObject *Py_UNUSED(kwargs))
{
    return shx_memory_new(type, &kind);
}

/* Steals the mapping and, on success, the descriptor. */
static int
adopt(PyObject *op, shx_mapping *mapping, int fd, bool unreserved)
{
    PyObject *size = PyLong_FromSize_t(mapping->segment.size);
    if (size == NULL) {
        Py_DECREF(mapping);
        return -1;
    }
    shx_mapping_guard(mapping, "without a name");
    shx_leftovers taken;
    Py_BEGIN_CRITICAL_SECTION(op);
    taken = shx_take_over_locked(op, mapping, size, fd);
    MEMORY(op)->unreserved = unreserved;
    Py_END_CRITICAL_SECTION();
    shx_drop(&taken);
    return 0;
}

static int
create_memory(PyObject *op, shx_state *state, size_t size, bool reserve)
{
    shx_mapping *mapping = shx_mapping_new(state);
    if (mapping == NULL ||
        PySys_Audit("shmemext.create", "On", Py_None, (Py_ssize_t)size) < 0) {
        Py_XDECREF(mapping);
        return -1;
    }
    int fd = SHX_FD_NONE;
    shx_space space = {.reserve = reserve, .poll = shx_poll_signals};
    PyThreadState *saved = PyEval_SaveThread();
    space.context = &saved;
    shx_err err =
        shx_anonymous_memory_create(size, &space, &mapping->segment, &fd);
    PyEval_RestoreThread(saved);
    if (err == 0) {
        int status = adopt(op, mapping, fd, !reserve);
        if (status < 0) {
            shx_os_close(fd);
        }
        return status;
    }
    Py_DECREF(mapping);
    if (err == ENOSPC) {
        shx_raise_full(&kind.words, NULL, size, shx_os_free_memory());
    }
    else if (err == EMFILE) {
        shx_raise_unsupported(
            err,
            "too many open files: an AnonymousMemory holds a descriptor, and "
            "one more until it is received where it was sent. close() some, "
            "or raise the limit (ulimit -n)",
            NULL);
    }
    else {
        shx_raise(err, NULL);
    }
    return -1;
}

static int
anonymous_memory_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"size", "reserve", NULL};
    Py_ssize_t size;
    int reserve = 1;
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "n|$p:AnonymousMemory",
                                     keywords, &size, &reserve)) {
        return -1;
    }
    if (size <= 0) {
        PyErr_SetString(PyExc_ValueError,
                        "'size' must be a positive number different from "
                        "zero");
        return -1;
    }
    return create_memory(op, state, (size_t)size, reserve);
}

/* Methods */

static int
attach_memory(PyObject *op, shx_state *state, int fd)
{
    shx_mapping *mapping = shx_mapping_new(state);
    if (mapping == NULL) {
        return -1;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_anonymous_memory_attach(fd, &mapping->segment);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        Py_DECREF(mapping);
        shx_raise(err, NULL);
        return -1;
    }
    if (PySys_Audit("shmemext.attach", "On", Py_None,
                    (Py_ssize_t)mapping->segment.size) < 0) {
        Py_DECREF(mapping);
        return -1;
    }
    return adopt(op, mapping, fd, false);
}

PyDoc_STRVAR(
    from_fd_doc,
    "from_fd($type, fd, /)\n--\n\n"
    "Attach to the memory of a descriptor. It is readonly where descriptor "
    "or\n"
    "memory are.\n\n"
    "fd: as socket.recv_fds() gives it; it is the object's from then on, and\n"
    "    closed by close(); on error it stays yours\n\n"
    "ValueError: not of a memfd_create(2) that can be sealed against\n"
    "shrinking. OSError: not open. Audit event: shmemext.attach with None\n"
    "and size.");

static PyObject *
from_fd(PyObject *cls, PyObject *arg)
{
    PyTypeObject *type = (PyTypeObject *)cls;
    shx_state *state = shx_state_of(type);
    int fd = PyLong_AsInt(arg);
    if (state == NULL || (fd == -1 && PyErr_Occurred())) {
        return NULL;
    }
    PyObject *op = anonymous_memory_new(type, NULL, NULL);
    if (op != NULL && attach_memory(op, state, fd) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

PyDoc_STRVAR(
    readonly_handle_doc,
    "readonly_handle($self, /)\n--\n\n"
    "Return another object of the same memory, to be passed to those who\n"
    "shall only read.\n\n"
    "Whoever has the memory mapped writable by now, this object for one,\n"
    "goes on writing, and may grow() it. From now on nobody can map it\n"
    "writable: other processes that get this very object get it readonly.\n\n"
    "ValueError: closed. OSError EOPNOTSUPP: a kernel before Linux 5.1.\n"
    "See F_SEAL_FUTURE_WRITE in fcntl(2).");

static PyObject *
readonly_handle(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int fd = SHX_FD_NONE;
    bool closed;
    shx_err err = 0;
    shx_identity identity;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MEMORY(op)->mmap == NULL;
    identity = MEMORY(op)->identity;
    if (!closed) {
        err = shx_memory_has_fd(op)
                  ? shx_anonymous_memory_share_readonly(MEMORY(op)->fd, &fd)
                  : EBADF;
    }
    Py_END_CRITICAL_SECTION();
    if (closed) {
        return shx_closed_error(op, "");
    }
    if (err != 0) {
        return shx_raise(err, NULL);
    }
    PyObject *handle =
        PyObject_CallMethod((PyObject *)Py_TYPE(op), "from_fd", "i", fd);
    /* A subclass may fail when an object has had it already, and closed it. */
    if (handle == NULL && shx_segment_owns_fd(&identity, fd)) {
        shx_os_close(fd);
    }
    return handle;
}

PyDoc_STRVAR(
    anonymous_memory_reduce_doc,
    "__reduce__($self, /)\n--\n\n"
    "Pickle by descriptor, for multiprocessing: an argument of a Process,\n"
    "or what is sent over a Pipe or a Queue. A pickle is loaded once, while\n"
    "the process that made it lives.");

static PyObject *
anonymous_memory_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *module = PyImport_ImportModule("shmemext._descriptors");
    PyObject *result =
        module == NULL ? NULL : PyObject_CallMethod(module, "reduce", "O", op);
    Py_XDECREF(module);
    return result;
}

static PyMethodDef anonymous_memory_methods[] = {
    {"from_fd", from_fd, METH_O | METH_CLASS, from_fd_doc},
    {"readonly_handle", readonly_handle, METH_NOARGS, readonly_handle_doc},
    {"__reduce__", anonymous_memory_reduce, METH_NOARGS,
     anonymous_memory_reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_sealed(PyObject *op, void *Py_UNUSED(closure))
{
    bool sealed;
    Py_BEGIN_CRITICAL_SECTION(op);
    sealed = shx_memory_has_fd(op) &&
             shx_anonymous_memory_is_sealed(MEMORY(op)->fd);
    Py_END_CRITICAL_SECTION();
    return PyBool_FromLong(sealed);
}

static PyGetSetDef anonymous_memory_getset[] = {
    {"sealed", get_sealed, shx_memory_refuse,
     PyDoc_STR("Is it immutable? False after close(): nobody can tell."),
     "sealed"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *
anonymous_memory_repr(PyObject *op)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    PyObject *size =
        state == NULL ? NULL : PyObject_GetAttr(op, state->str.size);
    PyObject *repr = NULL;
    if (size != NULL) {
        repr = PyUnicode_FromFormat("%s(size=%S)", Py_TYPE(op)->tp_name, size);
    }
    Py_XDECREF(size);
    return repr;
}

PyDoc_STRVAR(
    anonymous_memory_doc,
    "AnonymousMemory(size, *, reserve=True)\n--\n\n"
    "Shared memory without a name: nothing to leak, and nobody can open it\n"
    "who was not given it.\n\n"
    "Pass it to a multiprocessing.Process, or over a Pipe or a Queue, or its\n"
    "fileno() over a socket. It cannot be made smaller, so no peer can take\n"
    "pages away. It holds one descriptor.\n\n"
    "size: bytes, 1 or more\n"
    "reserve: False: no pages until they are touched, see SharedMemory\n\n"
    "ValueError: of the size. OSError ENOSPC: there is not so much memory.\n"
    "OSError EMFILE: few descriptors are left (ulimit -n). OSError ENOSYS: a\n"
    "system without memfd_create(2) or seals.\n"
    "Audit event: shmemext.create with None and size, before.");

static PyType_Slot anonymous_memory_slots[] = {
    {Py_tp_doc, (void *)anonymous_memory_doc},
    {Py_tp_new, anonymous_memory_new},
    {Py_tp_init, anonymous_memory_init},
    {Py_tp_traverse, shx_memory_traverse},
    {Py_tp_clear, shx_memory_clear},
    {Py_tp_dealloc, shx_memory_dealloc},
    {Py_tp_repr, anonymous_memory_repr},
    {Py_tp_methods, anonymous_memory_methods},
    {Py_tp_getset, anonymous_memory_getset},
    {0, NULL},
};

static PyType_Spec anonymous_memory_spec = {
    .name = "shmemext.AnonymousMemory",
    .basicsize = sizeof(shx_memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = anonymous_memory_slots,
};

int
shx_anonymous_memory_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyTypeObject *type = shx_add_type(module, &anonymous_memory_spec,
                                      state->memory_type, "AnonymousMemory");
    state->anonymous_memory_type = type;
    return type == NULL ||
                   shx_add_methods(type, shx_anonymous_memory_seal_methods) < 0
               ? -1
               : 0;
}
