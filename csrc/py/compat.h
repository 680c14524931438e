/* SPDX-License-Identifier: MIT */
/* The only #ifs on Python's version, 3.11 to 3.15. */
#ifndef SHX_COMPAT_H
#define SHX_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h> /* what is in Python.h since 3.12 */
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY

static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static inline void
PyErr_SetRaisedException(PyObject *error)
{
    if (error == NULL) {
        PyErr_Clear();
        return;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}
#endif

/* Objects' locks. Before 3.13 there is no free-threaded build to lock for. */
#if PY_VERSION_HEX < 0x030D0000
#define Py_BEGIN_CRITICAL_SECTION(op)                                         \
    {                                                                         \
        (void)(op);
#define Py_END_CRITICAL_SECTION() }
#define PyLong_AsInt(op) _PyLong_AsInt(op)
#endif

/* The value of an int that is small enough to lie in the object itself: lists
 * are long, and a call for each item is most of what it would take. */
#if PY_VERSION_HEX < 0x030C0000
static inline bool
shx_long_is_compact(PyObject *op)
{
    return Py_SIZE(op) >= -1 && Py_SIZE(op) <= 1;
}

static inline int64_t
shx_long_compact_value(PyObject *op)
{
    Py_ssize_t sign = Py_SIZE(op);
    return sign == 0 ? 0 : sign * (int64_t)((PyLongObject *)op)->ob_digit[0];
}
#else
static inline bool
shx_long_is_compact(PyObject *op)
{
    return PyUnstable_Long_IsCompact((PyLongObject *)op);
}

static inline int64_t
shx_long_compact_value(PyObject *op)
{
    return PyUnstable_Long_CompactValue((PyLongObject *)op);
}
#endif

/* An own GIL for each interpreter since 3.12, none at all since 3.13. */
#if PY_VERSION_HEX >= 0x030D0000
#define SHX_MODULE_SLOTS                                                      \
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},     \
        {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#elif PY_VERSION_HEX >= 0x030C0000
#define SHX_MODULE_SLOTS                                                      \
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#else
#define SHX_MODULE_SLOTS
#endif

/* What ShareableList.index() says of a value, which PyErr_Format gets. */
#if PY_VERSION_HEX >= 0x030E0000
#define SHX_NOT_IN_LIST "ShareableList.index(x): x not in list"
#else
#define SHX_NOT_IN_LIST "%R not in this container"
#endif

/* close() invalidates `.buf` itself, as the stdlib's does. Without a GIL
 * another thread can be between memoryview's check and its access, and the
 * release would pull the memory from under it: there `.buf` lives on like
 * any other view. */
#ifdef Py_GIL_DISABLED
enum { SHX_CLOSE_RELEASES_BUF = 0 };
#else
enum { SHX_CLOSE_RELEASES_BUF = 1 };
#endif

/* Without a GIL, memoryview loses count of the slices that threads take of it
 * at once, and gives its memory back while some are in use: python/cpython
 * #127716, and a crash. Counted this high it does so when the last of them
 * dies; references are counted right. Debug builds insist on their count. */
static inline void
shx_pin_views(PyObject *memoryview)
{
#if defined(Py_GIL_DISABLED) && !defined(Py_DEBUG)
    ((PyMemoryViewObject *)memoryview)->mbuf->exports += PTRDIFF_MAX / 2;
#else
    (void)memoryview;
#endif
}

#endif
