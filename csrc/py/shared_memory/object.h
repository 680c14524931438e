/* SPDX-License-Identifier: MIT */
/* The object behind shmemext.SharedMemory.
 *
 * All members are guarded by the object's critical section. A NULL member is
 * unset: reading its field gives the class's default.
 */
#ifndef SHX_SHARED_MEMORY_H
#define SHX_SHARED_MEMORY_H

#include "py/memory/memory.h"

typedef struct {
    shx_memory base;
    PyObject *name; /* with its slash, as the stdlib keeps it */
    PyObject *flags;
    PyObject *mode;
    PyObject *prepend;
    PyObject *track;
    shx_record *record; /* our family's, of this segment; or NULL */
    bool created;       /* by this very object */
} shx_shared_memory;

#define SHARED_MEMORY(op) ((shx_shared_memory *)(op))

extern const shx_memory_kind shx_kind_of_shared_memory;

/* arguments.c: what a construction was called with. All borrowed. */
typedef struct {
    PyObject *name;
    PyObject *create;
    PyObject *size;
    PyObject *track;
    PyObject *reserve;
    PyObject *readonly;
    PyObject *mode;
    PyObject *exist_ok;
    PyObject *timeout;
    /* What the checks make of it. */
    int flags;
    bool is_readonly;
    bool may_exist;
    double seconds; /* to wait; 0: none */
} shx_call;

int shx_parse_call(shx_state *state, PyObject *op, PyObject *args,
                   PyObject *kwargs, shx_call *call);

/* The checks that come before any name is looked at. Returns whether to
 * create, or -1. */
int shx_check_call(shx_state *state, PyObject *op, shx_call *call);

/* construct.c: what __init__ does. */
int shx_shared_memory_init(PyObject *op, PyObject *args, PyObject *kwargs);

/* fields.c: the attributes, public and private. */
extern PyGetSetDef shx_shared_memory_getset[];
int shx_shared_memory_add_fields(shx_state *state, PyTypeObject *type);

/* Removes the name, and what the family or the tracker know of it. */
int shx_unlink_name(shx_state *state, PyObject *op, PyObject *name,
                    int missing_ok);

/* `_name` in the system's terms: *bare points into `name`, which must live as
 * long. Raises what shm_open() would. */
int shx_bare_name(PyObject *name, const char *function, const char **bare);

/* The truth of an attribute that subclasses may override: -1 on error. */
int shx_attribute_is_true(PyObject *op, PyObject *attribute);

/* multiprocessing.resource_tracker's function, looked up at each call, so
 * that programs which patch it are honoured. */
int shx_tracker_call(const char *function, PyObject *name);

#endif
