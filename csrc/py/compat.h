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
    PyObject *type = (PyObject *)Py_TYPE(error);
    PyErr_Restore(Py_NewRef(type), error, PyException_GetTraceback(error));
}
#endif

/* A new reference, since what a dict has may go while one looks at it. */
#if PY_VERSION_HEX < 0x030D0000
static inline int
PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **result)
{
    *result = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *result != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
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

#ifdef Py_GIL_DISABLED
enum { SHX_HAS_GIL = 0 };
#else
enum { SHX_HAS_GIL = 1 };
#endif

/* Without a GIL, what a thread lets go of that another thread made is counted
 * when that one runs again, however long it waits. This has a new object
 * counted at once: close() gives the memory back whoever calls it. */
static inline void
shx_count_at_once(PyObject *op)
{
#ifdef Py_GIL_DISABLED
    Py_ssize_t count = Py_REFCNT(op);
    op->ob_tid = 0; /* nobody's: the next line counts for all threads */
    Py_SET_REFCNT(op, count);
#else
    (void)op;
#endif
}

/* A memoryview and its slices share what they got from the exporter, and give
 * it back when the last of them is released. But C code keeps the memoryview
 * object and reads on: torch, Qt, pygame. Counted this high, they give it back
 * when the last of them dies, released or not. It also has memoryview survive
 * that it loses count of slices without a GIL: python/cpython#127716.
 *
 * Builds with assertions insist on their count. */
#if defined(NDEBUG) && !defined(Py_DEBUG)
enum { SHX_PINS_VIEWS = 1 };
#else
enum { SHX_PINS_VIEWS = 0 };
#endif

static inline void
shx_pin_views(PyObject *memoryview)
{
    _PyManagedBufferObject *shared = ((PyMemoryViewObject *)memoryview)->mbuf;
    shared->exports += SHX_PINS_VIEWS * (PTRDIFF_MAX / 2);
    shx_count_at_once((PyObject *)shared);
    shx_count_at_once(memoryview);
}

/* How many views share it, the memoryview itself included: those that are not
 * released, or, where that count cannot be trusted, those that live. */
static inline Py_ssize_t
shx_count_views(PyObject *memoryview)
{
    _PyManagedBufferObject *shared = ((PyMemoryViewObject *)memoryview)->mbuf;
#ifdef Py_GIL_DISABLED
    return Py_REFCNT(shared);
#else
    return shared->exports - SHX_PINS_VIEWS * (PTRDIFF_MAX / 2);
#endif
}

#endif
