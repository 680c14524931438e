/* SPDX-License-Identifier: MIT */
/* The type shmemext.SharedMemory: a Memory that is found by name. */
#include "py/shared_memory/shared_memory.h"

#include "core/name.h"
#include "py/shared_memory/construct.h"
#include "py/shared_memory/field.h"
#include "py/shared_memory/fields.h"
#include "py/shared_memory/filename.h"
#include "py/shared_memory/hidden.h"
#include "py/shared_memory/object.h"
#include "py/shared_memory/unlink.h"
#include "py/shared_memory/users.h"

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

/* The kind's functions. */

static PyObject *
label_of(PyObject *op)
{
    PyObject *name = SHARED_MEMORY(op)->name;
    return Py_NewRef(name == NULL ? Py_None : name);
}

/* Programs may have put anything into `_name`. */
static shx_err
find_segment(PyObject *op, PyObject **text, const char **path)
{
    PyObject *name = SHARED_MEMORY(op)->name;
    const char *whole = NULL;
    if (name != NULL && PyUnicode_Check(name)) {
        whole = PyUnicode_AsUTF8(name);
    }
    if (whole == NULL) {
        PyErr_Clear();
        return SHX_GONE;
    }
    shx_err err = shx_name_bare(whole, path);
    if (err == 0) {
        *text = Py_NewRef(name);
    }
    return err;
}

static const shx_memory_kind kind = {
    .words = {.what = "shared memory",
              .place = shx_os_place,
              .hint =
                  "containers give it 64 MB unless told otherwise: docker run "
                  "--shm-size; reserve=False, or SHMEMEXT_RESERVE=0 in "
                  "the environment, creates without reserving"},
    .slash = true,
    .clear = shared_memory_clear,
    .label = label_of,
    .find = find_segment,
    .open = shx_segment_open,
    .inspect = shx_os_inspect_name,
    .take_hidden = shx_hidden_take,
};

static PyObject *
shared_memory_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                  PyObject *Py_UNUSED(kwargs))
{
    return shx_memory_new(type, &kind);
}

static void
mark_unlinked(PyObject *op, bool unlinked)
{
    Py_BEGIN_CRITICAL_SECTION(op);
    SHARED_MEMORY(op)->unlinked = SHARED_MEMORY(op)->unlinked || unlinked;
    Py_END_CRITICAL_SECTION();
}

PyDoc_STRVAR(
    shared_memory_unlink_doc,
    "unlink($self, /, missing_ok=False)\n--\n\n"
    "Remove the segment's name: nobody can attach from now on.\n\n"
    "The memory itself goes when nobody has it open. To be called once for\n"
    "each segment, by whichever process, before or after close().\n\n"
    "missing_ok: True: not to find the name is no error\n\n"
    "FileNotFoundError: the name is gone already, or is another segment's by\n"
    "now, which stays.\n"
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
    PyObject *name = PyObject_GetAttr(op, state->str._name);
    int named = name == NULL ? -1 : PyObject_IsTrue(name);
    if (named > 0) {
        named = shx_unlink_name(state, op, name, missing_ok);
        mark_unlinked(op, named == 0);
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
        result = result == NULL ? NULL : shx_users_reduce(op, result);
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

/* What is not to be seen of name and size. NULL with an exception. */
static const char *
ended(shx_state *state, PyObject *op)
{
    PyObject *mapping = PyObject_GetAttr(op, state->str._mmap);
    if (mapping == NULL) {
        return NULL;
    }
    bool closed = mapping == Py_None, unlinked;
    Py_DECREF(mapping);
    Py_BEGIN_CRITICAL_SECTION(op);
    unlinked = SHARED_MEMORY(op)->unlinked;
    Py_END_CRITICAL_SECTION();
    return closed && unlinked ? ", closed, unlinked"
           : closed           ? ", closed"
           : unlinked         ? ", unlinked"
                              : "";
}

static PyObject *
shared_memory_repr(PyObject *op)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    PyObject *name =
        state == NULL ? NULL : PyObject_GetAttr(op, state->str.name);
    PyObject *size =
        name == NULL ? NULL : PyObject_GetAttr(op, state->str.size);
    const char *end = size == NULL ? NULL : ended(state, op);
    PyObject *repr = NULL;
    if (end != NULL) {
        repr = PyUnicode_FromFormat("%s(%R, size=%S%s)", Py_TYPE(op)->tp_name,
                                    name, size, end);
    }
    Py_XDECREF(name);
    Py_XDECREF(size);
    return repr;
}

PyDoc_STRVAR(
    shared_memory_doc,
    "SharedMemory(name=None, create=False, size=0, *, track=None, "
    "reserve=True, readonly=False, mode=None, exist_ok=False, timeout=None, "
    "lifetime='family')\n"
    "--\n\n"
    "Creates a shared memory block of size bytes, or attaches to one.\n\n"
    "The object is a writable buffer itself: memoryview(shm),\n"
    "numpy.frombuffer(shm), readinto.\n\n"
    "name: unique on the machine; None, to create, makes one up\n"
    "create: make the block, and do not attach\n"
    "size: bytes, to create; may be longer than asked on some systems\n"
    "track: True has the stdlib's resource tracker remove the name when this\n"
    "    program ends, False leaves it until unlink(), None to the family\n"
    "reserve: False, to create, reserves no pages: if /dev/shm is full when\n"
    "    they are first touched, they read as zeros, and writes are lost\n"
    "readonly: to attach, for reading only\n"
    "mode: permission bits, to create, whatever the umask; None: 0o600\n"
    "exist_ok: create, or attach if the name is there with size bytes or\n"
    "    more: created says which, of any number of processes exactly one\n"
    "timeout: seconds to wait for the name to appear, to attach\n"
    "lifetime: \"users\", to create: the name goes when no process has it\n"
    "    mapped any more; \"family\": with the family, or by unlink()\n\n"
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
