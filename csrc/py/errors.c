/* SPDX-License-Identifier: MIT */
/* The one translator: shx_err in, Python exception out. */
#include "module.h"

#include <errno.h>

PyObject *
shx_raise(shx_err err, PyObject *filename)
{
    if (err > 0) {
        errno = err;
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, filename);
    }
    switch (err) {
    case SHX_INTERRUPTED: /* whoever asked to stop has raised already */
        return NULL;
    case SHX_EMPTY:
        PyErr_SetString(PyExc_ValueError, shx_error_text(err));
        return NULL;
    case SHX_GONE:
        errno = ENOENT;
        break;
    case SHX_SQUATTED:
        errno = EACCES;
        break;
    default:
        if (filename == NULL) {
            PyErr_SetString(PyExc_ValueError, shx_error_text(err));
        }
        else {
            PyErr_Format(PyExc_ValueError, "%s: %R", shx_error_text(err),
                         filename);
        }
        return NULL;
    }
    PyObject *error =
        PyObject_CallFunction(PyExc_OSError, "isO", errno, shx_error_text(err),
                              filename != NULL ? filename : Py_None);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

PyObject *
shx_raise_full(PyObject *filename, size_t asked)
{
    uint64_t room = shx_os_room();
    PyObject *text;
    if (room == UINT64_MAX) {
        text = PyUnicode_FromFormat(
            "cannot reserve %zu bytes for shared memory: no memory is left "
            "for %s (reserve=False creates without reserving)",
            asked, shx_os_directory);
    }
    else {
        text = PyUnicode_FromFormat(
            "cannot reserve %zu bytes for shared memory: %llu bytes are free "
            "in %s (containers give it 64 MB unless told otherwise: docker "
            "run --shm-size; reserve=False creates without reserving)",
            asked, (unsigned long long)room, shx_os_directory);
    }
    if (text == NULL) {
        return NULL;
    }
    PyObject *error =
        PyObject_CallFunction(PyExc_OSError, "iNO", ENOSPC, text, filename);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}
