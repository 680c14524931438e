/* SPDX-License-Identifier: MIT */
/* The type shmemext.MappedFile: a Memory that is found by path, and that
 * outlives whoever uses it. */
#include "core/memory/mapped_file.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR */
#include <string.h> /* strrchr */

#include "py/memory/mapped_file.h"

typedef struct {
    shx_memory base;
    PyObject *path;    /* absolute: an exact str, or NULL */
    PyObject *encoded; /* the same in the system's terms: bytes */
} mapped_file;

#define MAPPED_FILE(op) ((mapped_file *)(op))

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

/* An absolute path, not normalised: what ".." means depends on links. `path`
 * is stolen. */
static PyObject *
absolute_path(PyObject *path)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(path);
    if (length == 0 || PyUnicode_READ_CHAR(path, 0) == '/') {
        return path;
    }
    PyObject *os = PyImport_ImportModule("os");
    PyObject *here =
        os == NULL ? NULL : PyObject_CallMethod(os, "getcwd", NULL);
    PyObject *whole =
        here == NULL ? NULL : PyUnicode_FromFormat("%U/%U", here, path);
    Py_XDECREF(os);
    Py_XDECREF(here);
    Py_DECREF(path);
    return whole;
}

/* What a construction was called with, and its path twice. */
typedef struct {
    PyObject *path;
    PyObject *encoded;
    PyObject *directory;
    int create;
    shx_file_request request;
} call;

static void
clear_call(call *with)
{
    Py_CLEAR(with->path);
    Py_CLEAR(with->encoded);
    Py_CLEAR(with->directory);
}

static int
value_error(const char *text)
{
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

static int
parse(PyObject *args, PyObject *kwargs, call *with)
{
    static char *keywords[] = {"path", "create",  "size", "readonly",
                               "mode", "reserve", NULL};
    Py_ssize_t size = 0;
    int readonly = 0, mode = 0600, reserve = 1;
    *with = (call){.path = NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|pn$pip:MappedFile",
                                     keywords, PyUnicode_FSDecoder,
                                     &with->path, &with->create, &size,
                                     &readonly, &mode, &reserve)) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            shx_note("'size' is at most %zd bytes", (Py_ssize_t)PTRDIFF_MAX);
        }
        return -1;
    }
    if (size < 0) {
        return value_error("'size' must be a positive integer");
    }
    if (with->create && size == 0) {
        return value_error(
            "'size' must be a positive number different from zero");
    }
    if (with->create && readonly) {
        return value_error("'readonly' is for a file that exists: a new one "
                           "is there to be written");
    }
    if (shx_check_mode(mode) < 0) {
        return -1;
    }
    with->request = (shx_file_request){
        .size = (size_t)size,
        .mode = (unsigned)mode,
        .readonly = readonly,
        .space = {.reserve = reserve, .durable = true},
    };
    with->path = absolute_path(with->path);
    return with->path == NULL ? -1 : 0;
}

static int
encode(call *with)
{
    with->encoded = PyUnicode_EncodeFSDefault(with->path);
    if (with->encoded == NULL) {
        return -1;
    }
    const char *path = PyBytes_AS_STRING(with->encoded);
    const char *slash = strrchr(path, '/');
    Py_ssize_t length = slash == NULL || slash == path ? 1 : slash - path;
    with->directory = slash == NULL ? PyBytes_FromString(".")
                                    : PyBytes_FromStringAndSize(path, length);
    if (with->directory == NULL) {
        return -1;
    }
    with->request.path = path;
    with->request.directory = PyBytes_AS_STRING(with->directory);
    return 0;
}

/* The way out, where there is one. */
static void
note(const call *with, shx_err err)
{
    if (err == ENOENT && with->create) {
        shx_note("its directory is missing");
    }
    else if (err == ENOENT && with->request.size > 0) {
        shx_note("a size is given, and nothing is there: create=True creates "
                 "it");
    }
    else if (err == EACCES && !with->create && !with->request.readonly) {
        shx_note("readonly=True opens it for reading, if its mode permits "
                 "that");
    }
    else if (err == ENOMEM && with->create) {
        shx_note("%R with %zu bytes is more than this process can map: ask "
                 "for less, or see ulimit -v",
                 with->path, with->request.size);
    }
    else if (err == ENOMEM) {
        shx_note("%R is more than this process can map: see ulimit -v",
                 with->path);
    }
}

static PyObject *
raise_attach(const call *with, shx_err err)
{
    const shx_file *found = &with->request.found;
    switch (err) {
    case SHX_NOT_MEMORY:
        if (found->directory) {
            return shx_raise(EISDIR, with->path);
        }
        return PyErr_Format(PyExc_ValueError,
                            "cannot map %R: it is %s, not a regular file",
                            with->path, found->kind);
    case SHX_EMPTY:
        return PyErr_Format(PyExc_ValueError,
                            "cannot map %R: the file is empty", with->path);
    case SHX_TOO_SMALL:
        return PyErr_Format(PyExc_ValueError,
                            "%R has %llu bytes, fewer than the %zu asked "
                            "for: ask for less, or open it and grow() it",
                            with->path, (unsigned long long)found->size,
                            with->request.size);
    default:
        shx_raise(err, with->path);
        note(with, err);
        return NULL;
    }
}

static PyObject *
raise_create(const call *with, shx_err err)
{
    const shx_file_request *request = &with->request;
    if (err == ENOSPC && request->step == SHX_STEP_RESERVE) {
        return shx_raise_full(&kind.words, with->path, request->size,
                              request->room);
    }
    if (err == EOPNOTSUPP && request->step == SHX_STEP_OPEN) {
        return shx_raise_unsupported(
            err,
            "the file system cannot create a file whole (O_TMPFILE, see "
            "open(2)): make one of this size by other means, and map that",
            with->path);
    }
    if (err == EOPNOTSUPP && request->step == SHX_STEP_RESERVE) {
        return shx_raise_unsupported(
            err,
            "the file system cannot reserve space (fallocate(2)): "
            "reserve=False creates without",
            with->path);
    }
    shx_raise(err, with->path);
    note(with, err);
    return NULL;
}

/* Creates or attaches: the mapping is guarded afterwards. */
static int
open_mapping(call *with, shx_mapping *mapping)
{
    const char *event = with->create ? "shmemext.create" : "shmemext.attach";
    if (with->create && PySys_Audit(event, "On", with->path,
                                    (Py_ssize_t)with->request.size) < 0) {
        return -1;
    }
    shx_err err;
    PyThreadState *saved = PyEval_SaveThread();
    with->request.space.poll = shx_poll_signals;
    with->request.space.context = &saved;
    err = with->create
              ? shx_mapped_file_create(&with->request, &mapping->segment)
              : shx_mapped_file_attach(&with->request, &mapping->segment);
    PyEval_RestoreThread(saved);
    if (err != 0) {
        if (with->create) {
            raise_create(with, err);
        }
        else {
            raise_attach(with, err);
        }
        return -1;
    }
    shx_mapping_guard(mapping, with->request.path);
    return with->create ? 0
                        : PySys_Audit(event, "On", with->path,
                                      (Py_ssize_t)mapping->segment.size);
}

static void
adopt(PyObject *op, call *with, shx_mapping *mapping, PyObject *size)
{
    mapped_file *self = MAPPED_FILE(op);
    PyObject *old_path, *old_encoded;
    shx_leftovers taken;
    Py_BEGIN_CRITICAL_SECTION(op);
    taken = shx_take_over_locked(op, mapping, size, SHX_FD_UNASKED);
    old_path = self->path;
    old_encoded = self->encoded;
    self->path = Py_NewRef(with->path);
    self->encoded = Py_NewRef(with->encoded);
    self->base.unreserved = !with->request.space.reserve;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old_path);
    Py_XDECREF(old_encoded);
    shx_drop(&taken);
}

static int
mapped_file_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_mapping *mapping = NULL;
    PyObject *size = NULL;
    call with = {.path = NULL};
    int status = -1;
    if (state == NULL || parse(args, kwargs, &with) < 0 || encode(&with) < 0) {
        goto done;
    }
    mapping = shx_mapping_new(state);
    /* The size of a new file is known: nothing can fail once it is there. */
    if (mapping == NULL ||
        (with.create &&
         (size = PyLong_FromSize_t(with.request.size)) == NULL) ||
        open_mapping(&with, mapping) < 0) {
        goto done;
    }
    if (size == NULL) {
        size = PyLong_FromSize_t(mapping->segment.size);
    }
    if (size != NULL) {
        adopt(op, &with, mapping, size);
        mapping = NULL;
        size = NULL;
        status = 0;
    }
done:
    clear_call(&with);
    Py_XDECREF(mapping);
    Py_XDECREF(size);
    return status;
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
    "reserve=True)\n--\n\n"
    "Shared memory in a file: it outlives every process, and a reboot.\n\n"
    "create=True makes a file of size bytes, which appears whole, on the\n"
    "disk, or not at all. mode is its permission bits, whatever the umask.\n"
    "reserve=False makes it sparse: if the disk is full when a page is first\n"
    "touched, it reads as zeros, and writes are lost; write() tells. "
    "Otherwise\n"
    "the file is mapped as it is, all of it, and size is the least that it\n"
    "must have. readonly=True maps it for reading only.\n"
    "\nWrites are on the disk after flush(), and at some time without it.\n\n"
    "FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError:\n"
    "of the path. ValueError: of the size, an empty file, or no regular\n"
    "file. OSError ENOSPC: the disk is full. OSError EOPNOTSUPP: the file\n"
    "system cannot create a file whole, or reserve.\n"
    "Audit events: shmemext.create before, shmemext.attach after, each with\n"
    "path and size. See mmap(2), open(2): O_TMPFILE.");

static PyType_Slot mapped_file_slots[] = {
    {Py_tp_doc, (void *)mapped_file_doc},
    {Py_tp_new, mapped_file_new},
    {Py_tp_init, mapped_file_init},
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
    .basicsize = sizeof(mapped_file),
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
