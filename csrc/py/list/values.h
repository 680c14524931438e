/* SPDX-License-Identifier: MIT */
/* Python objects to a list's values, and back. */
#ifndef SHX_VALUES_H
#define SHX_VALUES_H

#include "py/errors.h"
#include "py/state.h"

#include "core/list/list.h"

/* A value out of a segment, its text copied: what a peer does to the memory
 * while it is decoded changes nothing. */
typedef struct {
    shx_value value;
    char *text; /* value.text, if it is ours to free */
    char small[128];
} shx_copy;

/* Raises ValueError for an item that is corrupt. */
int shx_copy_item(const shx_list *list, size_t index, shx_copy *out);

/* Frees the copy in any case. */
PyObject *shx_value_to_python(shx_copy *copy);

/* Is it one of what most long lists are of? Then it is plain, has a slot of 8
 * bytes, and is converted without a call. */
static inline bool
shx_is_short_number(PyObject *item)
{
    return (PyLong_CheckExact(item) && shx_long_is_compact(item)) ||
           PyFloat_CheckExact(item);
}

/* Is it exactly an int, float, bool, None, str or bytes? */
static inline bool
shx_is_plain(PyObject *item)
{
    return PyLong_CheckExact(item) || PyFloat_CheckExact(item) ||
           PyBool_Check(item) || PyUnicode_CheckExact(item) ||
           PyBytes_CheckExact(item) || item == Py_None;
}

/* The object as exactly an int, float, bool, None, str or bytes: itself, or,
 * of a subclass or another number, one that is equal to it. TypeError that
 * names the type where there is none. New reference. */
PyObject *shx_plain_item(PyObject *item);

/* Of a plain item; a text is the item's own, as long as that lives. Raises
 * struct.error for an int beyond 64 bits, UnicodeEncodeError for a surrogate,
 * AssertionError for a text that no format has room for. */
int shx_value_from_other(PyObject *plain, shx_value *out);

static inline int
shx_value_from_python(PyObject *plain, shx_value *out)
{
    if (PyLong_CheckExact(plain) && shx_long_is_compact(plain)) {
        *out = (shx_value){.kind = SHX_INT,
                           .integer = shx_long_compact_value(plain)};
        return 0;
    }
    if (PyFloat_CheckExact(plain)) {
        *out =
            (shx_value){.kind = SHX_FLOAT, .number = PyFloat_AS_DOUBLE(plain)};
        return 0;
    }
    return shx_value_from_other(plain, out);
}

#endif
