/* SPDX-License-Identifier: MIT */
/* The type shmemext.MappedFile: a Memory that is found by path, and that
 * outlives whoever uses it. */
#include "core/memory/mapped_file.h"

#include "py/memory/mapped_file.h"

static int
mapped_file_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(MAPPED_FILE(op)->path);
    Py_VISIT(MAPPED_FILE(op)->encoded);
    return shx_memory_traverse(op, visit, arg);
}

static int
mapped_file_clear(PyObject *op)
{
    Py_CLEAR(MAPPED_FILE(op)->path);
    Py_CLEAR(MAPPED_FILE(op)->encoded);
    return shx_memory_clear(op);
}

/* The kind's functions. */

static PyObject *
label_of(PyObject *op)
{
    PyObject *path = MAPPED_FILE(op)->path;
    return Py_NewRef(path == NULL ? Py_None : path);
}

static shx_err
find_file(PyObject *op, PyObject **text, const char **path)
{
    PyObject *encoded = MAPPED_FILE(op)->encoded;
    if (encoded == NULL) {
        return SHX_GONE;
    }
    *text = Py_NewRef(encoded);
    *path = PyBytes_AS_STRING(encoded);
    return 0;
}

static const shx_memory_kind kind = {
    .words = {.what = "mapped file",
              .place = " on its file system",
              .hint = "reserve=False creates without reserving"},
    .durable = true,
    .clear = mapped_file_clear,
    .label = label_of,
    .find = find_file,
    .open = shx_mapped_file_open,
    .inspect = shx_os_inspect_path,
};

static PyObject *
mapped_file_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                PyObject *Py_UNUSED(kwargs))
{
    return shx_memory_new(type, &kind);
}

PyDoc_STRVAR(mapped_file_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Pickle by absolute path: loading attaches, with the same\n"
             "readonly.");

static PyObject *
mapped_file_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    PyObject *keywords = state == NULL ? NULL : PyDict_New();
    PyObject *maker = NULL, *path = NULL, *size = NULL, *result = NULL;
    if (keywords != NULL &&
        (!shx_memory_is_readonly(op) ||
         PyDict_SetItem(keywords, state->str.readonly, Py_True) == 0)) {
        maker = shx_memory_maker(op, keywords);
        path = maker == NULL ? NULL : PyObject_GetAttr(op, state->str.path);
        size = path == NULL ? NULL : PyObject_GetAttr(op, state->str.size);
    }
    if (size != NULL) {
        result = Py_BuildValue("(O(OOO))", maker, path, Py_False, size);
    }
    Py_XDECREF(keywords);
    Py_XDECREF(maker);
    Py_XDECREF(path);
    Py_XDECREF(size);
    return result;
}

static PyMethodDef mapped_file_methods[] = {
    {"__reduce__", mapped_file_reduce, METH_NOARGS, mapped_file_reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_path(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *path;
    Py_BEGIN_CRITICAL_SECTION(op);
    path = Py_XNewRef(MAPPED_FILE(op)->path);
    Py_END_CRITICAL_SECTION();
    if (path == NULL) {
        PyErr_Format(PyExc_AttributeError, "'%.100s' object has no path yet",
                     Py_TYPE(op)->tp_name);
    }
    return path;
}

static PyGetSetDef mapped_file_getset[] = {
    {"path", get_path, shx_memory_refuse,
     PyDoc_STR("The file's absolute path. Stays after close()."), "path"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *
mapped_file_repr(PyObject *op)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    PyObject *path =
        state == NULL ? NULL : PyObject_GetAttr(op, state->str.path);
    PyObject *size =
        path == NULL ? NULL : PyObject_GetAttr(op, state->str.size);
    PyObject *repr = NULL;
    if (size != NULL) {
        repr = PyUnicode_FromFormat(
            "%s(%R, size=%S%s)", Py_TYPE(op)->tp_name, path, size,
            shx_memory_is_closed(op) ? ", closed" : "");
    }
    Py_XDECREF(path);
    Py_XDECREF(size);
    return repr;
}

PyDoc_STRVAR(
    mapped_file_doc,
    "MappedFile(path, create=False, size=0, *, readonly=False, mode=0o600, "
    "reserve=True)\n"
    "--\n\n"
    "Shared memory in a file: it outlives every process, and a reboot.\n\n"
    "Writes are on the disk after flush(), and at some time without it.\n\n"
    "path: of the file, which is mapped as it is, all of it\n"
    "create: make a new one, which appears whole, on the disk, or not at all\n"
    "size: its bytes, to create; else the least that it must have\n"
    "readonly: map it for reading only\n"
    "mode: permission bits, to create, whatever the umask\n"
    "reserve: False makes it sparse: if the disk is full when a page is "
    "first\n"
    "    touched, it reads as zeros, and writes are lost; write() tells\n\n"
    "FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError:\n"
    "of the path. ValueError: of the size, an empty file, or no regular\n"
    "file. OSError ENOSPC: the disk is full. OSError EOPNOTSUPP: the file\n"
    "system cannot create a file whole.\n"
    "Audit events: shmemext.create before, shmemext.attach after, each with\n"
    "path and size. See mmap(2), open(2): O_TMPFILE.");

static PyType_Slot mapped_file_slots[] = {
    {Py_tp_doc, (void *)mapped_file_doc},
    {Py_tp_new, mapped_file_new},
    {Py_tp_init, shx_mapped_file_init},
    {Py_tp_traverse, mapped_file_traverse},
    {Py_tp_clear, mapped_file_clear},
    {Py_tp_dealloc, shx_memory_dealloc},
    {Py_tp_repr, mapped_file_repr},
    {Py_tp_methods, mapped_file_methods},
    {Py_tp_getset, mapped_file_getset},
    {0, NULL},
};

static PyType_Spec mapped_file_spec = {
    .name = "shmemext.MappedFile",
    .basicsize = sizeof(shx_mapped_file),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = mapped_file_slots,
};

int
shx_mapped_file_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyTypeObject *type = shx_add_type(module, &mapped_file_spec,
                                      state->memory_type, "MappedFile");
    state->mapped_file_type = type;
    return type == NULL ? -1 : 0;
}
