/* SPDX-License-Identifier: MIT */
/* The object behind shmemext.SharedMemory.
 *
 * All members are guarded by the object's critical section. A NULL member is
 * unset: reading its field gives the class's default.
 */
#ifndef SHX_SHARED_MEMORY_H
#define SHX_SHARED_MEMORY_H

#include "mapping.h"

/* Values of `fd` that are no descriptors. */
enum { SHX_FD_NONE = -1, SHX_FD_UNASKED = -2 };

typedef struct {
    PyObject_HEAD
    PyObject *name; /* with its slash, as the stdlib keeps it */
    PyObject *size; /* stays after close */
    PyObject *mmap; /* a Mapping, unless a program put something else */
    PyObject *buf;  /* made from mmap when first asked for */
    PyObject *flags;
    PyObject *mode;
    PyObject *prepend;
    PyObject *track;
    PyObject *pinned; /* what our own buffer was asked from: see getbuffer */
    PyObject *dict;
    PyObject *weakrefs;
    int fd;
    shx_record *record;    /* our family's, of this segment; or NULL */
    shx_identity identity; /* of the segment: it stays after close */
} shx_shared_memory;

#define SHARED_MEMORY(op) ((shx_shared_memory *)(op))

/* The mapping of a SharedMemory (any other object crashes): a new reference,
 * NULL without an exception if it is closed. `type` is the mapping's. */
shx_mapping *shx_shared_memory_mapping(PyObject *op, PyTypeObject *type);

/* arguments.c: what a construction was called with, all borrowed. */
typedef struct {
    PyObject *name;
    PyObject *create;
    PyObject *size;
    PyObject *track;
    PyObject *reserve;
} shx_call;

int shx_parse_call(shx_state *state, PyObject *op, PyObject *args,
                   PyObject *kwargs, shx_call *call);

/* construct.c: what __init__ does. */
int shx_shared_memory_init(PyObject *op, PyObject *args, PyObject *kwargs);

/* fields.c: the attributes, public and private. */
extern PyGetSetDef shx_shared_memory_getset[];
int shx_shared_memory_add_fields(shx_state *state, PyTypeObject *type);

/* close.c: what close() takes out of the object under the lock, to be let go
 * of after it: releasing runs other code. */
typedef struct {
    PyObject *buf;
    PyObject *mmap;
    int fd; /* ours to close, or < 0 */
} shx_leftovers;

shx_leftovers shx_take(PyObject *op);
shx_leftovers shx_take_locked(shx_shared_memory *self);
void shx_drop(shx_leftovers *taken);
int shx_let_go(shx_state *state, shx_leftovers *taken);
void shx_shared_memory_finalize(PyObject *op);

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
