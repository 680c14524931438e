/* SPDX-License-Identifier: MIT */
/* The type shmemext.SharedMemory: a Memory that is found by name. */
#include "py/shared_memory/shared_memory.h"

#include <errno.h> /* ENOENT */

#include "core/name.h"
#include "py/shared_memory/construct.h"
#include "py/shared_memory/field.h"
#include "py/shared_memory/fields.h"
#include "py/shared_memory/filename.h"
#include "py/shared_memory/object.h"
#include "py/shared_memory/unlink.h"

static int
shared_memory_traverse(PyObject *op, visitproc visit, void *arg)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    Py_VISIT(self->name);
    Py_VISIT(self->own_name);
    Py_VISIT(self->flags);
    Py_VISIT(self->mode);
    Py_VISIT(self->prepend);
    Py_VISIT(self->track);
    return shx_memory_traverse(op, visit, arg);
}

static int
shared_memory_clear(PyObject *op)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    Py_CLEAR(self->name);
    Py_CLEAR(self->own_name);
    Py_CLEAR(self->flags);
    Py_CLEAR(self->mode);
    Py_CLEAR(self->prepend);
    Py_CLEAR(self->track);
    return shx_memory_clear(op);
}

/* The kind's functions: called with the lock. */

static PyObject *
label_of(PyObject *op)
{
    PyObject *name = SHARED_MEMORY(op)->name;
    return Py_NewRef(name == NULL ? Py_None : name);
}

/* Programs may have put anything into `_name`. */
static shx_err
bare_name_of(PyObject *op, const char **bare)
{
    PyObject *name = SHARED_MEMORY(op)->name;
    const char *text = NULL;
    if (name != NULL && PyUnicode_Check(name)) {
        text = PyUnicode_AsUTF8(name);
    }
    if (text == NULL) {
        PyErr_Clear();
        return SHX_GONE;
    }
    return shx_name_bare(text, bare);
}

static shx_err
open_segment(PyObject *op, int flags, int *fd)
{
    const char *bare;
    if (shx_memory_has_fd(op)) {
        return shx_os_reopen(MEMORY(op)->fd, flags, fd);
    }
    shx_err err = bare_name_of(op, &bare);
    return err != 0 ? err
                    : shx_segment_open(bare, &MEMORY(op)->identity, flags, fd);
}

static shx_err
inspect_segment(PyObject *op, shx_file *out)
{
    const char *bare;
    if (shx_memory_has_fd(op)) {
        return shx_os_inspect(MEMORY(op)->fd, out);
    }
    shx_err err = bare_name_of(op, &bare);
    err = err != 0 ? err : shx_os_inspect_name(bare, out);
    return err == ENOENT ? SHX_GONE : err;
}

static const shx_memory_kind kind = {
    .words = {.what = "shared memory",
              .place = shx_os_place,
              .hint =
                  "containers give it 64 MB unless told otherwise: docker run "
                  "--shm-size; reserve=False creates without reserving"},
    .slash = true,
    .clear = shared_memory_clear,
    .label = label_of,
    .open = open_segment,
    .inspect = inspect_segment,
};

static PyObject *
shared_memory_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                  PyObject *Py_UNUSED(kwargs))
{
    return shx_memory_new(type, &kind);
}

PyDoc_STRVAR(
    shared_memory_unlink_doc,
    "unlink($self, /, missing_ok=False)\n--\n\n"
    "Remove the segment's name: nobody can attach from now on.\n\n"
    "The memory itself goes when nobody has it open. To be called once for\n"
    "each segment, by whichever process, before or after close().\n\n"
    "FileNotFoundError, unless missing_ok: the name is gone already, or is\n"
    "another segment's by now, which stays.\n"
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

PyDoc_STRVAR(shared_memory_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Pickle by name: loading attaches, with the same track and\n"
             "readonly.");

static PyObject *
shared_memory_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    PyObject *result = NULL, *maker = NULL, *name = NULL, *size = NULL;
    PyObject *keywords = PyDict_New();
    PyObject *track = PyObject_GetAttr(op, state->str._track);
    if (keywords == NULL || track == NULL ||
        (track != Py_None &&
         PyDict_SetItem(keywords, state->str.track, track) < 0) ||
        (shx_memory_is_readonly(op) &&
         PyDict_SetItem(keywords, state->str.readonly, Py_True) < 0)) {
        goto done;
    }
    maker = shx_memory_maker(op, keywords);
    name = maker == NULL ? NULL : PyObject_GetAttr(op, state->str.name);
    size = name == NULL ? NULL : PyObject_GetAttr(op, state->str.size);
    if (size != NULL) {
        result = Py_BuildValue("(O(OOO))", maker, name, Py_False, size);
    }
done:
    Py_XDECREF(keywords);
    Py_XDECREF(track);
    Py_XDECREF(maker);
    Py_XDECREF(name);
    Py_XDECREF(size);
    return result;
}

static PyMethodDef shared_memory_methods[] = {
    {"unlink", (PyCFunction)(void (*)(void))shared_memory_unlink,
     METH_VARARGS | METH_KEYWORDS, shared_memory_unlink_doc},
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

PyDoc_STRVAR(
    shared_memory_doc,
    "SharedMemory(name=None, create=False, size=0, *, track=None, "
    "reserve=True, readonly=False, mode=None, exist_ok=False, timeout=None)\n"
    "--\n\n"
    "Creates a shared memory block of size bytes, or attaches to one.\n\n"
    "name is unique on the machine; None with create=True makes one up.\n"
    "size is in bytes and may be longer than asked on some systems; an\n"
    "attacher takes the block as it is. The object is a writable buffer\n"
    "itself: memoryview(shm), numpy.frombuffer(shm), readinto.\n\n"
    "track=True has the stdlib's resource tracker remove the name when this\n"
    "program ends, track=False leaves it until unlink().\n\n"
    "To create: reserve=False reserves no pages; if /dev/shm is full when\n"
    "they are first touched, they read as zeros, and writes are lost. mode\n"
    "is the permission bits, whatever the umask; 0o600 if None. "
    "exist_ok=True\n"
    "attaches if the name is there and has at least size bytes; created\n"
    "says which it was, of any number of processes exactly one.\n\n"
    "To attach: readonly=True maps it for reading only. timeout waits up to\n"
    "so many seconds for the name to appear.\n\n"
    "FileExistsError, FileNotFoundError: of the name. ValueError: of the\n"
    "size, an empty block, or arguments that do not go together. OSError\n"
    "ENOSPC: the pages do not fit. PermissionError: not ours to open so.\n"
    "Audit events: shmemext.create before, shmemext.attach after, each with\n"
    "name and size. See shm_open(3); CPython gh-82300, gh-114390.");

static PyType_Slot shared_memory_slots[] = {
    {Py_tp_doc, (void *)shared_memory_doc},
    {Py_tp_new, shared_memory_new},
    {Py_tp_init, shx_shared_memory_init},
    {Py_tp_traverse, shared_memory_traverse},
    {Py_tp_clear, shared_memory_clear},
    {Py_tp_dealloc, shx_memory_dealloc},
    {Py_tp_repr, shared_memory_repr},
    {Py_tp_methods, shared_memory_methods},
    {Py_tp_getset, shx_shared_memory_getset},
    {0, NULL},
};

static PyType_Spec shared_memory_spec = {
    .name = "shmemext.shared_memory.SharedMemory",
    .basicsize = sizeof(shx_shared_memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = shared_memory_slots,
};

int
shx_shared_memory_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    if (shx_field_type_add(module) < 0) {
        return -1;
    }
    PyTypeObject *type = shx_add_type(module, &shared_memory_spec,
                                      state->memory_type, "SharedMemory");
    state->shared_memory_type = type;
    return type == NULL || shx_shared_memory_add_fields(state, type) < 0
               ? -1
               : shx_filename_add(module);
}
