/* SPDX-License-Identifier: MIT */
/* The type shmemext.SharedMemory.
 *
 * close() drops references and never unmaps: the Mapping does, when the last
 * view of it is gone. A fork duplicates the object: both sides use the same
 * pages, and each closes its own.
 */
#include "shared_memory.h"

#include <stddef.h> /* offsetof */

static PyObject *
shared_memory_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                  PyObject *Py_UNUSED(kwargs))
{
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL) {
        SHARED_MEMORY(op)->fd = SHX_FD_NONE;
    }
    return op;
}

static int
shared_memory_traverse(PyObject *op, visitproc visit, void *arg)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->name);
    Py_VISIT(self->size);
    Py_VISIT(self->mmap);
    Py_VISIT(self->buf);
    Py_VISIT(self->flags);
    Py_VISIT(self->mode);
    Py_VISIT(self->prepend);
    Py_VISIT(self->track);
    Py_VISIT(self->pinned);
    Py_VISIT(self->dict);
    return 0;
}

static int
shared_memory_clear(PyObject *op)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    Py_CLEAR(self->name);
    Py_CLEAR(self->size);
    Py_CLEAR(self->mmap);
    Py_CLEAR(self->buf);
    Py_CLEAR(self->flags);
    Py_CLEAR(self->mode);
    Py_CLEAR(self->prepend);
    Py_CLEAR(self->track);
    Py_CLEAR(self->pinned);
    Py_CLEAR(self->dict);
    return 0;
}

static void
shared_memory_dealloc(PyObject *op)
{
    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return; /* a subclass's close() brought it back */
    }
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (SHARED_MEMORY(op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    shx_leftovers taken = shx_take(op); /* asks nothing of the type, which */
    shx_drop(&taken);                   /* may be half collected by now */
    (void)shared_memory_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    shared_memory_close_doc,
    "close($self, /)\n--\n\n"
    "End this object's use of the segment, which goes on existing.\n\n"
    "Always completes, any number of times, from any thread. Slices of buf,\n"
    "arrays and other views stay readable and writable: the memory is\n"
    "unmapped when the last of them dies. buf itself is released.");

static PyObject *
shared_memory_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    shx_leftovers taken = shx_take(op);
    if (shx_let_go(state, &taken) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    shared_memory_unlink_doc,
    "unlink($self, /, missing_ok=False)\n--\n\n"
    "Remove the segment's name: nobody can attach from now on.\n\n"
    "The memory itself goes when nobody has it open. To be called once for\n"
    "each segment, by whichever process, before or after close().\n\n"
    "FileNotFoundError: the name is gone already, unless missing_ok.\n"
    "Audit event: shmemext.unlink with name and size. See shm_unlink(3).");

static PyObject *
shared_memory_unlink(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"missing_ok", NULL};
    int missing_ok = 0;
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|p:unlink", keywords,
                                     &missing_ok)) {
        return NULL;
    }
    PyObject *name;
    Py_BEGIN_CRITICAL_SECTION(op);
    name = Py_XNewRef(SHARED_MEMORY(op)->name);
    Py_END_CRITICAL_SECTION();
    int named = name == NULL ? 0 : PyObject_IsTrue(name);
    if (named > 0) {
        named = shx_unlink_name(state, op, name, missing_ok);
    }
    Py_XDECREF(name);
    if (named < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    shared_memory_fileno_doc,
    "fileno($self, /)\n--\n\n"
    "Return a descriptor of the segment, for fcntl.flock, os.sendfile, mmap.\n"
    "\nOpened by name when first asked for and closed by close(): a segment\n"
    "holds none until then.\n\n"
    "ValueError: closed. FileNotFoundError: the name is gone by now.");

static PyObject *
shared_memory_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *fd = PyObject_GetAttrString(op, "_fd");
    if (fd != NULL && PyLong_Check(fd) && PyLong_AsLong(fd) < 0) {
        Py_DECREF(fd);
        PyErr_SetString(PyExc_ValueError,
                        "the shared memory is closed: it has no descriptor");
        return NULL;
    }
    return fd;
}

PyDoc_STRVAR(shared_memory_enter_doc,
             "__enter__($self, /)\n--\n\nReturn self.");

static PyObject *
shared_memory_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(op);
}

PyDoc_STRVAR(shared_memory_exit_doc,
             "__exit__($self, /, *args)\n--\n\nclose(), and do not unlink.");

static PyObject *
shared_memory_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    return state == NULL ? NULL
                         : PyObject_CallMethodNoArgs(op, state->str.close);
}

/* functools.partial(cls, track=track) */
static PyObject *
class_tracked(PyObject *op, PyObject *track)
{
    PyObject *functools = PyImport_ImportModule("functools");
    PyObject *partial = functools == NULL
                            ? NULL
                            : PyObject_GetAttrString(functools, "partial");
    PyObject *args = PyTuple_Pack(1, (PyObject *)Py_TYPE(op));
    PyObject *kwargs = Py_BuildValue("{sO}", "track", track);
    PyObject *result = NULL;
    if (partial != NULL && args != NULL && kwargs != NULL) {
        result = PyObject_Call(partial, args, kwargs);
    }
    Py_XDECREF(functools);
    Py_XDECREF(partial);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return result;
}

PyDoc_STRVAR(shared_memory_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Pickle by name: loading attaches, with the same track.");

static PyObject *
shared_memory_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    PyObject *result = NULL, *maker = NULL, *name = NULL, *size = NULL;
    PyObject *track = PyObject_GetAttr(op, state->str._track);
    if (track == NULL) {
        return NULL;
    }
    maker = track == Py_None ? Py_NewRef((PyObject *)Py_TYPE(op))
                             : class_tracked(op, track);
    name = maker == NULL ? NULL : PyObject_GetAttr(op, state->str.name);
    size = name == NULL ? NULL : PyObject_GetAttr(op, state->str.size);
    if (size != NULL) {
        result = Py_BuildValue("(O(OOO))", maker, name, Py_False, size);
    }
    Py_DECREF(track);
    Py_XDECREF(maker);
    Py_XDECREF(name);
    Py_XDECREF(size);
    return result;
}

static PyMethodDef shared_memory_methods[] = {
    {"close", shared_memory_close, METH_NOARGS, shared_memory_close_doc},
    {"unlink", (PyCFunction)(void (*)(void))shared_memory_unlink,
     METH_VARARGS | METH_KEYWORDS, shared_memory_unlink_doc},
    {"fileno", shared_memory_fileno, METH_NOARGS, shared_memory_fileno_doc},
    {"__enter__", shared_memory_enter, METH_NOARGS, shared_memory_enter_doc},
    {"__exit__", shared_memory_exit, METH_VARARGS, shared_memory_exit_doc},
    {"__reduce__", shared_memory_reduce, METH_NOARGS,
     shared_memory_reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
shared_memory_repr(PyObject *op)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    PyObject *name =
        state == NULL ? NULL : PyObject_GetAttr(op, state->str.name);
    PyObject *size =
        name == NULL ? NULL : PyObject_GetAttr(op, state->str.size);
    PyObject *repr = NULL;
    if (size != NULL) {
        repr = PyUnicode_FromFormat("%s(%R, size=%S)", Py_TYPE(op)->tp_name,
                                    name, size);
    }
    Py_XDECREF(name);
    Py_XDECREF(size);
    return repr;
}

/* Our own buffer is the mapping's. numpy.ndarray(buffer=shm) gives the buffer
 * back at once and then counts on us to keep the memory: so what was asked
 * once stays mapped until this object dies, closed or not. */
static int
pin_locked(shx_shared_memory *self)
{
    PyObject *pinned = NULL;
    if (self->pinned == NULL) {
        pinned = Py_NewRef(self->mmap);
    }
    else if (self->pinned != self->mmap &&
             !(PyTuple_Check(self->pinned) &&
               PyTuple_GET_ITEM(self->pinned, 1) == self->mmap)) {
        pinned = PyTuple_Pack(2, self->pinned, self->mmap);
        if (pinned == NULL) {
            return -1;
        }
    }
    if (pinned != NULL) {
        PyObject *old = self->pinned;
        self->pinned = pinned;
        Py_XDECREF(old); /* lives on in the tuple */
    }
    return 0;
}

static int
shared_memory_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    shx_state *state = shx_state_of(Py_TYPE(op));
    int status = -1;
    view->obj = NULL;
    if (state == NULL) {
        return -1;
    }
    Py_BEGIN_CRITICAL_SECTION(op);
    if (self->mmap == NULL || !Py_IS_TYPE(self->mmap, state->mapping_type)) {
        PyErr_SetString(PyExc_ValueError,
                        "the shared memory is closed: it has no buffer");
    }
    else if (pin_locked(self) == 0) {
        status = PyObject_GetBuffer(self->mmap, view, flags);
    }
    Py_END_CRITICAL_SECTION();
    return status;
}

PyDoc_STRVAR(
    shared_memory_doc,
    "SharedMemory(name=None, create=False, size=0, *, track=None, "
    "reserve=True)\n--\n\n"
    "Creates a shared memory block of size bytes, or attaches to one.\n\n"
    "name is unique on the machine; None with create=True makes one up.\n"
    "size is in bytes and may be longer than asked on some systems; an\n"
    "attacher takes the block as it is. The object is a writable buffer\n"
    "itself: memoryview(shm), numpy.frombuffer(shm), readinto.\n\n"
    "track=True has the stdlib's resource tracker remove the name when this\n"
    "program ends, track=False leaves it until unlink().\n"
    "reserve=False creates without reserving pages: a full /dev/shm is then\n"
    "a SIGBUS at the first touch, instead of OSError here.\n\n"
    "FileExistsError, FileNotFoundError: of the name. ValueError: of the\n"
    "size, or an empty block. OSError ENOSPC: the pages do not fit.\n"
    "Audit events: shmemext.create before, shmemext.attach after, each with\n"
    "name and size. See shm_open(3); CPython gh-82300, gh-114390.");

static PyMemberDef shared_memory_members[] = {
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(shx_shared_memory, dict),
     Py_READONLY, NULL},
    {"__weaklistoffset__", Py_T_PYSSIZET,
     offsetof(shx_shared_memory, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot shared_memory_slots[] = {
    {Py_tp_doc, (void *)shared_memory_doc},
    {Py_tp_new, shared_memory_new},
    {Py_tp_init, shx_shared_memory_init},
    {Py_tp_traverse, shared_memory_traverse},
    {Py_tp_clear, shared_memory_clear},
    {Py_tp_finalize, shx_shared_memory_finalize},
    {Py_tp_dealloc, shared_memory_dealloc},
    {Py_tp_repr, shared_memory_repr},
    {Py_tp_methods, shared_memory_methods},
    {Py_tp_getset, shx_shared_memory_getset},
    {Py_tp_members, shared_memory_members},
    {Py_bf_getbuffer, shared_memory_getbuffer},
    {0, NULL},
};

PyType_Spec shx_shared_memory_spec = {
    .name = "shmemext.shared_memory.SharedMemory",
    .basicsize = sizeof(shx_shared_memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = shared_memory_slots,
};
