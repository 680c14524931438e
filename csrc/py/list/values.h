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

/* The object as exactly an int, float, bool, None, str or bytes: itself, or,
 * of a subclass or another number, one that is equal to it. TypeError that
 * names the type where there is none. New reference. */
PyObject *shx_plain_item(PyObject *item);

/* Of a plain item; a text is the item's own, as long as that lives. Raises
 * struct.error for an int beyond 64 bits, UnicodeEncodeError for a surrogate,
 * AssertionError for a text that no format has room for. */
int shx_value_from_python(PyObject *plain, shx_value *out);

#endif
