/* SPDX-License-Identifier: MIT */
/* A handle is what a Channel and a Broadcast have in common: how they are
 * opened, found, pickled and closed.
 *
 *   Channel, Broadcast  --->  memories   a tuple of SharedMemory, of which the
 *                       |                first one has the name
 *                       +-->  Link       while it is open
 *
 * All members are guarded by its critical section.
 */
#ifndef SHX_HANDLE_H
#define SHX_HANDLE_H

#include "py/channels/link.h"

typedef struct {
    PyObject_HEAD
    const shx_link_kind *kind;
    shx_link *link;     /* NULL: closed */
    PyObject *memories; /* NULL until they are made */
    PyObject *weakrefs;
} shx_handle;

#define HANDLE(op) ((shx_handle *)(op))

/* A new reference. NULL and ValueError if it is closed. */
shx_link *shx_handle_link(PyObject *op);

/* The function of shmemext's module of that kind, for this object. */
PyObject *shx_handle_call(const shx_link_kind *kind, const char *function,
                          PyObject *op);

/* For the slots of the types. */
PyObject *shx_handle_new(PyTypeObject *type, const shx_link_kind *kind);
int shx_handle_init(PyObject *op, PyObject *args, PyObject *kwargs);
int shx_handle_traverse(PyObject *op, visitproc visit, void *arg);
int shx_handle_clear(PyObject *op);
void shx_handle_dealloc(PyObject *op);
PyObject *shx_handle_repr(PyObject *op);

/* Of memories that were unpickled: the rest of _rebuild(). */
PyObject *shx_handle_rebuild(PyObject *type, PyObject *memories,
                             const shx_link_kind *kind);

/* unlink(), close(), with, async with, __reduce__; name, peers; weak
 * references. */
extern PyMethodDef shx_handle_methods[];
extern PyMemberDef shx_handle_members[];
PyObject *shx_handle_get_name(PyObject *op, void *closure);
PyObject *shx_handle_get_peers(PyObject *op, void *closure);

#endif
