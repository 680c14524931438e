/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/failure.h"

#include <errno.h>

#include "py/memory/memory.h"

int
shx_size_as_number(PyObject *size, const char *bare, PyObject *name,
                   size_t *out)
{
    long number = PyLong_AsLong(size);
    if (number == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            shx_note("size=%R, for %R: at most %zd bytes", size, name,
                     (Py_ssize_t)PTRDIFF_MAX);
        }
        shx_file file;
        if (shx_os_inspect_name(bare, &file) == 0) {
            PyErr_Clear();
            shx_raise(EEXIST, name);
        }
        return -1;
    }
    *out = (size_t)number;
    return 0;
}

int
shx_raise_create(PyObject *op, const shx_create *request, shx_err err,
                 PyObject *name)
{
    if (err == ENOSPC && request->step == SHX_STEP_RESERVE) {
        shx_raise_full(&MEMORY(op)->kind->words, name, request->size,
                       shx_os_room(-1));
    }
    else if (request->step == SHX_STEP_MAP) {
        shx_raise(err, NULL);
    }
    else {
        shx_raise(err, name);
    }
    if (err == ENOMEM) {
        shx_note("%R with %zu bytes is more than this process can map: ask "
                 "for less, or see ulimit -v",
                 name, request->size);
    }
    return -1;
}

/* exist_ok=True, and the name is somebody's who is not we. */
static void
note_whose(const shx_attach *request, PyObject *name)
{
    shx_file file;
    if (shx_os_inspect_name(request->name, &file) != 0) {
        return;
    }
    const char *way_out =
        request->step == SHX_STEP_TRUST
            ? "exist_ok=True takes another user's memory only with a mode= "
              "that shares one's own with others too, mode=0o666; or choose "
              "another name"
            : "choose another name, or have it created with mode=0o666";
    char mode[8]; /* PyUnicode_FromFormat() has no %o before 3.12 */
    (void)PyOS_snprintf(mode, sizeof mode, "0o%03o", file.mode & 07777u);
    shx_note("%R is there, of user %u, with mode %s: %s", name, file.user,
             mode, way_out);
}

int
shx_raise_attach(const shx_call *call, const shx_attach *request, shx_err err,
                 PyObject *name)
{
    bool mapping = request->step == SHX_STEP_MAP;
    int sized = err == ENOENT ? PyObject_IsTrue(call->size) : 0;
    if (sized < 0) {
        PyErr_Clear();
    }
    shx_raise(err, mapping ? NULL : name);
    if (err == ENOENT && sized > 0) {
        shx_note("a size is given, and nothing has that name: create=True "
                 "creates it");
    }
    else if (err == SHX_EMPTY) {
        shx_note("%R has no bytes: timeout= waits until whoever makes it has "
                 "given it a size",
                 name);
    }
    else if (err == EAGAIN && request->step == SHX_STEP_USE) {
        shx_note("somebody who is about to remove %R has been stopped: try "
                 "again when he has gone on, or is gone",
                 name);
    }
    else if (err == EACCES && call->may_exist) {
        note_whose(request, name);
    }
    else if (err == EACCES && !request->readonly) {
        shx_note("readonly=True attaches for reading, if its mode permits "
                 "that");
    }
    else if (mapping && err == ENOMEM) {
        shx_note("%R is more than this process can map: see ulimit -v", name);
    }
    return -1;
}
