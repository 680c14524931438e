/* SPDX-License-Identifier: MIT */
/* The one translator: shx_err in, Python exception out. */
#include "py/errors.h"

#include <errno.h>

int
shx_errno(shx_err err)
{
    switch (err) {
    case SHX_GONE:
    case SHX_REPLACED:
    case SHX_NO_PROC:
        return ENOENT;
    case SHX_CROWDED:
        return ENOMEM;
    case SHX_SQUATTED:
        return EACCES;
    case SHX_NO_LOCKS:
    case SHX_NO_RANDOM:
    case SHX_NO_MEMFD:
    case SHX_NO_SEALS:
    case SHX_NO_REMAP:
    case SHX_NO_RESERVE:
    case SHX_NO_LEASES:
        return ENOSYS;
    case SHX_NO_READERS:
    case SHX_NO_POPULATE:
    case SHX_NOT_LOCAL:
    case SHX_NO_DONTFORK:
        return EOPNOTSUPP;
    case SHX_DAMAGED:
        return EBADMSG;
    case SHX_SHUT_DOWN:
        return EPIPE;
    case SHX_SECOND_WRITER:
        return EBUSY;
    default:
        return err > 0 ? err : 0;
    }
}

PyObject *
shx_raise(shx_err err, PyObject *filename)
{
    int code = shx_errno(err);
    if (err > 0) {
        errno = err;
        (void)PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, filename);
        if (err == ENOSYS) {
            shx_note("a system call that this takes is missing here, or a "
                     "sandbox forbids it: strace -f -e status=failed shows "
                     "which");
        }
    }
    else if (code != 0) {
        shx_raise_unsupported(code, shx_error_text(err), filename);
    }
    else if (err == SHX_SPENT) {
        PyErr_SetString(PyExc_LookupError, shx_error_text(err));
    }
    /* Whoever asked to stop has raised already. */
    else if (err != SHX_INTERRUPTED && (err == SHX_EMPTY || !filename)) {
        PyErr_SetString(PyExc_ValueError, shx_error_text(err));
    }
    else if (err != SHX_INTERRUPTED) {
        PyErr_Format(PyExc_ValueError, "%s: %R", shx_error_text(err),
                     filename);
    }
    return NULL;
}

PyObject *
shx_raise_text(int code, PyObject *text, PyObject *filename)
{
    if (text == NULL) {
        return NULL;
    }
    PyObject *error =
        PyObject_CallFunction(PyExc_OSError, "iNO", code, text,
                              filename != NULL ? filename : Py_None);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

PyObject *
shx_raise_unsupported(int code, const char *text, PyObject *filename)
{
    return shx_raise_text(code, PyUnicode_FromString(text), filename);
}

/* `begin` is stolen, and may be NULL with an exception. */
static PyObject *
raise_no_room(const shx_words *words, PyObject *label, PyObject *begin,
              uint64_t room)
{
    PyObject *text = NULL;
    if (begin != NULL && room == UINT64_MAX) {
        text = PyUnicode_FromFormat("%U: no room is left%s (%s)", begin,
                                    words->place, words->hint);
    }
    else if (begin != NULL) {
        text = PyUnicode_FromFormat("%U: %llu bytes are free%s (%s)", begin,
                                    (unsigned long long)room, words->place,
                                    words->hint);
    }
    Py_XDECREF(begin);
    return shx_raise_text(ENOSPC, text, label);
}

PyObject *
shx_raise_full(const shx_words *words, PyObject *label, size_t asked,
               uint64_t room)
{
    PyObject *begin = PyUnicode_FromFormat("cannot reserve %zu bytes for %s",
                                           asked, words->what);
    return raise_no_room(words, label, begin, room);
}

PyObject *
shx_raise_cannot_grow(const shx_words *words, PyObject *label, size_t size,
                      uint64_t room)
{
    PyObject *begin =
        PyUnicode_FromFormat("cannot grow %s to %zu bytes", words->what, size);
    return raise_no_room(words, label, begin, room);
}

void
shx_note(const char *format, ...)
{
    PyObject *error = PyErr_GetRaisedException();
    va_list arguments;
    va_start(arguments, format);
    PyObject *text = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    PyObject *done = NULL;
    if (error != NULL && text != NULL) {
        done = PyObject_CallMethod(error, "add_note", "O", text);
    }
    Py_XDECREF(text);
    Py_XDECREF(done);
    PyErr_Clear(); /* without it, then */
    PyErr_SetRaisedException(error);
}
