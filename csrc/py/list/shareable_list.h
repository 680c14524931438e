/* SPDX-License-Identifier: MIT */
#ifndef SHX_SHAREABLE_LIST_H
#define SHX_SHAREABLE_LIST_H

#include "py/memory/memory.h"

#include "core/list/list.h"

typedef struct {
    PyObject_HEAD
    PyObject *shm;              /* a SharedMemory, or NULL */
    PyTypeObject *mapping_type; /* what its memory is; the state keeps it */
    PyObject *dict;
    PyObject *weakrefs;
    shx_list list;       /* as opened; list.memory is NULL before */
    shx_segment segment; /* in which it was opened: addresses come again */
} shx_shareable_list;

#define LIST(op) ((shx_shareable_list *)(op))

/* The mapping of the list's segment: a new reference, so that a close() in
 * another thread cannot take the memory away while it is used. */
shx_mapping *shx_list_acquire(PyObject *op);

/* The same, to be written to: TypeError if it is read-only. */
shx_mapping *shx_list_acquire_writable(PyObject *op);

/* Finds the sections, unless that is done. The mapping must be the list's,
 * and the list's critical section held. */
int shx_list_open_locked(PyObject *op, shx_mapping *mapping);

/* The item at a position from the front, or from the back if negative. */
PyObject *shx_list_item_at(PyObject *op, Py_ssize_t position);

/* Makes the type; it is state->shareable_list_type. */
int shx_shareable_list_add(PyObject *module);

/* shareable_list_search.c: count() and index(). */
extern PyMethodDef shx_list_search_methods[];

/* shareable_list_layout.c: how a list is made, and its sections one by one. */
extern PyMethodDef shx_list_layout_methods[];
PyObject *shx_list_get_format(PyObject *op, void *closure);

#endif
