/* SPDX-License-Identifier: MIT */
/* MappedFile.__init__: create or attach. */
#include "core/memory/mapped_file.h"

#include <errno.h>
#include <string.h> /* strrchr */

#include "py/memory/mapped_file.h"
#include "py/waiting.h"

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
raise_create(const shx_words *words, const call *with, shx_err err)
{
    const shx_file_request *request = &with->request;
    shx_file there;
    if (err == ENOSPC && request->step == SHX_STEP_RESERVE) {
        return shx_raise_full(words, with->path, request->size, request->room);
    }
    if (err == EOPNOTSUPP && request->step == SHX_STEP_OPEN) {
        return shx_raise_unsupported(
            err,
            "the file system cannot create a file whole (O_TMPFILE, see "
            "open(2)): make one of this size by other means, and map that",
            with->path);
    }
    if (request->step == SHX_STEP_PUBLISH &&
        (err == ENOSYS || err == EOPNOTSUPP || err == EPERM)) {
        return shx_raise_unsupported(
            err,
            "the system, or a sandbox, cannot give an open file a name "
            "(linkat(2)): make one of this size by other means, and map that",
            with->path);
    }
    if (request->step == SHX_STEP_PUBLISH && err == ENOENT &&
        shx_os_inspect_path(request->directory, &there) == 0) {
        return shx_raise(SHX_NO_PROC, with->path);
    }
    shx_raise(err, with->path);
    note(with, err);
    return NULL;
}

/* Creates or attaches: the mapping is guarded afterwards. */
static int
open_mapping(const shx_words *words, call *with, shx_mapping *mapping)
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
            raise_create(words, with, err);
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
    shx_mapped_file *self = MAPPED_FILE(op);
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

int
shx_mapped_file_init(PyObject *op, PyObject *args, PyObject *kwargs)
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
        open_mapping(&MEMORY(op)->kind->words, &with, mapping) < 0) {
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
