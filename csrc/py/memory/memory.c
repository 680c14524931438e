/* SPDX-License-Identifier: MIT */
/* The type shmemext.Memory, the base of all kinds.
 *
 * close() drops references and never unmaps: the Mapping does, when the last
 * view of it is gone. A fork duplicates the object: both sides use the same
 * pages, and each closes its own.
 */
#include "py/memory/memory.h"

#include <stddef.h> /* offsetof */

PyObject *
shx_memory_new(PyTypeObject *type, const shx_memory_kind *kind)
{
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL) {
        MEMORY(op)->kind = kind;
        MEMORY(op)->fd = SHX_FD_NONE;
    }
    return op;
}

int
shx_memory_traverse(PyObject *op, visitproc visit, void *arg)
{
    shx_memory *self = MEMORY(op);
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->size);
    Py_VISIT(self->mmap);
    Py_VISIT(self->buf);
    for (Py_ssize_t i = 0; i < self->pin_count; i++) {
        Py_VISIT(self->pins[i]);
    }
    Py_VISIT(self->dict);
    return 0;
}

int
shx_memory_clear(PyObject *op)
{
    shx_memory *self = MEMORY(op);
    Py_CLEAR(self->size);
    Py_CLEAR(self->mmap);
    Py_CLEAR(self->buf);
    Py_CLEAR(self->dict);
    Py_ssize_t count = self->pin_count;
    PyObject **pins = self->pins;
    self->pin_count = 0;
    self->pins = NULL;
    while (count > 0) {
        Py_DECREF(pins[--count]);
    }
    PyMem_Free(pins);
    return 0;
}

void
shx_memory_dealloc(PyObject *op)
{
    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return; /* a subclass's close() brought it back */
    }
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    /* Objects may hang on each other by their fields, as long as a chain. */
    Py_TRASHCAN_BEGIN(op, shx_memory_dealloc) if (MEMORY(op)->weakrefs != NULL)
    {
        PyObject_ClearWeakRefs(op);
    }
    shx_leftovers taken = shx_take(op); /* asks nothing of the type, which */
    shx_drop(&taken);                   /* may be half collected by now */
    (void)MEMORY(op)->kind->clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* Methods */

PyDoc_STRVAR(
    memory_close_doc,
    "close($self, /)\n--\n\n"
    "End this object's use of the memory, which goes on existing.\n\n"
    "Always completes, any number of times, from any thread. Slices of buf,\n"
    "arrays and other views stay readable and writable: the memory is\n"
    "unmapped when the last of them dies. buf itself is released.");

static PyObject *
memory_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    if (shx_memory_close(state, op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    memory_fileno_doc,
    "fileno($self, /)\n--\n\n"
    "Return a descriptor of the memory, for fcntl.flock, os.sendfile, mmap.\n"
    "\nA segment or file is opened by its name when it is first asked for:\n"
    "it holds no descriptor until then. close() closes it.\n\n"
    "ValueError: closed. FileNotFoundError: the name is gone by now.");

static PyObject *
memory_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int fd = shx_memory_fd(op);
    if (fd >= 0) {
        return PyLong_FromLong(fd);
    }
    return PyErr_Occurred() ? NULL
                            : shx_closed_error(op, ": it has no descriptor");
}

PyDoc_STRVAR(
    memory_flush_doc,
    "flush($self, /, offset=0, size=None)\n--\n\n"
    "Return when these bytes are on the disk.\n\n"
    "What begins within a page is flushed with all of it. Shared and\n"
    "anonymous memory have no disk: nothing happens.\n\n"
    "offset: bytes, of the first one\n"
    "size: bytes; None: all that follow\n\n"
    "ValueError: closed, or outside the memory. OSError: the disk is full\n"
    "or broken. See msync(2).");

static PyObject *
memory_flush(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"offset", "size", NULL};
    Py_ssize_t offset = 0, size = -1;
    PyObject *given = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|nO:flush", keywords,
                                     &offset, &given)) {
        return NULL;
    }
    if (given != Py_None) {
        size = PyNumber_AsSsize_t(given, PyExc_OverflowError);
        if (size == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    shx_mapping *mapping = shx_memory_mapping(op);
    if (mapping == NULL) {
        return NULL;
    }
    Py_ssize_t whole = (Py_ssize_t)mapping->segment.size;
    bool inside = offset >= 0 && offset <= whole;
    if (inside && given == Py_None) {
        size = whole - offset;
    }
    if (!inside || size < 0 || size > whole - offset) {
        PyErr_Format(PyExc_ValueError,
                     "cannot flush outside the memory, which has %zd bytes",
                     whole);
        Py_DECREF(mapping);
        return NULL;
    }
    size_t before = (size_t)offset % shx_os_page_size();
    char *start = (char *)mapping->segment.address + offset - before;
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_os_flush(start, (size_t)size + before);
    Py_END_ALLOW_THREADS
    Py_DECREF(mapping);
    if (err != 0) {
        shx_memory_raise(op, err);
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(memory_enter_doc, "__enter__($self, /)\n--\n\nReturn self.");

static PyObject *
memory_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(op);
}

PyDoc_STRVAR(memory_exit_doc,
             "__exit__($self, /, *args)\n--\n\n"
             "close(), and no more: what was raised goes on.");

static PyObject *
memory_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    PyObject *result =
        state == NULL ? NULL : PyObject_CallMethodNoArgs(op, state->str.close);
    if (result == NULL) {
        return NULL;
    }
    Py_DECREF(result); /* a true one would swallow what was raised */
    Py_RETURN_NONE;
}

static PyMethodDef memory_methods[] = {
    {"close", memory_close, METH_NOARGS, memory_close_doc},
    {"fileno", memory_fileno, METH_NOARGS, memory_fileno_doc},
    {"flush", (PyCFunction)(void (*)(void))memory_flush,
     METH_VARARGS | METH_KEYWORDS, memory_flush_doc},
    {"__enter__", memory_enter, METH_NOARGS, memory_enter_doc},
    {"__exit__", memory_exit, METH_VARARGS, memory_exit_doc},
    {NULL, NULL, 0, NULL},
};

/* Attributes */

static PyObject *
get_buf(PyObject *op, void *Py_UNUSED(closure))
{
    return shx_memory_buf(op);
}

static PyObject *
get_size(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *size;
    Py_BEGIN_CRITICAL_SECTION(op);
    size = Py_XNewRef(MEMORY(op)->size);
    Py_END_CRITICAL_SECTION();
    if (size == NULL) {
        PyErr_Format(PyExc_AttributeError, "'%.100s' object has no size yet",
                     Py_TYPE(op)->tp_name);
    }
    return size;
}

static PyObject *
get_readonly(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(shx_memory_is_readonly(op));
}

static PyGetSetDef memory_getset[] = {
    {"buf", get_buf, shx_memory_refuse,
     PyDoc_STR("The memory: a memoryview of size bytes, format 'B', the same\n"
               "object until grow() or refresh(). Writable unless readonly.\n"
               "None after close()."),
     "buf"},
    {"size", get_size, shx_memory_refuse,
     PyDoc_STR("Size in bytes. Stays after close()."), "size"},
    {"readonly", get_readonly, shx_memory_refuse,
     PyDoc_STR("Can the memory only be read here? Writing is a TypeError."),
     "readonly"},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Our own buffer is the mapping's. numpy.ndarray(buffer=shm) gives the buffer
 * back at once and then counts on us to keep the memory: so what was asked
 * once stays mapped until this object dies, closed or not. The collector knows
 * nothing of this memory, so nothing else runs meanwhile. */
static int
pin_locked(shx_memory *self, PyObject *mapping)
{
    Py_ssize_t count = self->pin_count;
    PyObject *last = count == 0 ? NULL : self->pins[count - 1];
    if (last == mapping) {
        return 0;
    }
    if (last != NULL && shx_mapping_root(MAPPING(last)) ==
                            shx_mapping_root(MAPPING(mapping))) {
        self->pins[count - 1] = Py_NewRef(mapping);
        Py_DECREF(last); /* unmaps nothing: the new one has its memory */
        return 0;
    }
    size_t size = (size_t)(count + 1) * sizeof(PyObject *);
    PyObject **pins = PyMem_Realloc(self->pins, size);
    if (pins == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    pins[count] = Py_NewRef(mapping);
    self->pins = pins;
    self->pin_count = count + 1;
    return 0;
}

static int
memory_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    shx_memory *self = MEMORY(op);
    shx_state *state = shx_state_of(Py_TYPE(op));
    view->obj = NULL;
    if (state == NULL) {
        return -1;
    }
    PyObject *mapping =
        (PyObject *)shx_memory_mapping_if_any(op, state->mapping_type);
    if (mapping == NULL) {
        shx_closed_error(op, ": it has no buffer");
        return -1;
    }
    int status = PyObject_GetBuffer(mapping, view, flags);
    if (status == 0) { /* else nobody has got it */
        Py_BEGIN_CRITICAL_SECTION(op);
        status = pin_locked(self, mapping);
        Py_END_CRITICAL_SECTION();
        if (status < 0) {
            PyBuffer_Release(view);
        }
    }
    Py_DECREF(mapping);
    return status;
}

PyDoc_STRVAR(memory_doc,
             "What SharedMemory, MappedFile and AnonymousMemory share.\n\n"
             "The object is a buffer itself: memoryview(memory),\n"
             "numpy.frombuffer(memory), readinto. It cannot be made.");

static PyMemberDef memory_members[] = {
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(shx_memory, dict), Py_READONLY,
     NULL},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(shx_memory, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot memory_slots[] = {
    {Py_tp_doc, (void *)memory_doc},     {Py_tp_traverse, shx_memory_traverse},
    {Py_tp_clear, shx_memory_clear},     {Py_tp_finalize, shx_memory_finalize},
    {Py_tp_dealloc, shx_memory_dealloc}, {Py_tp_methods, memory_methods},
    {Py_tp_getset, memory_getset},       {Py_tp_members, memory_members},
    {Py_bf_getbuffer, memory_getbuffer}, {0, NULL},
};

static PyType_Spec memory_spec = {
    .name = "shmemext.Memory",
    .basicsize = sizeof(shx_memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = memory_slots,
};

int
shx_memory_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyTypeObject *type = shx_add_type(module, &memory_spec, NULL, "Memory");
    state->memory_type = type;
    return type == NULL ||
                   shx_add_methods(type, shx_memory_grow_methods) < 0 ||
                   shx_add_methods(type, shx_memory_copy_methods) < 0 ||
                   shx_add_methods(type, shx_memory_array_methods) < 0
               ? -1
               : 0;
}
