/* SPDX-License-Identifier: MIT */
/* A Mapping owns the memory of one segment and exports it as a buffer.
 *
 *   SharedMemory ---+
 *   memoryview -----+--->  Mapping  --->  pages
 *   numpy array ----+
 *
 * It is unmapped when the last reference goes, and nowhere else: numpy's
 * ndarray(buffer=...) keeps a reference but no exported buffer, so counting
 * exports would unmap under it. close() only stops the file API.
 */
#ifndef SHX_MAPPING_H
#define SHX_MAPPING_H

#include "core/memory/copy.h"
#include "core/memory/guard.h"
#include "py/errors.h"
#include "py/state.h"

/* Who unmaps the memory in the Mapping's place, and does what has to be done
 * then: of what a name is nothing is known here. Made before the memory is. */
typedef struct shx_farewell shx_farewell;
struct shx_farewell {
    /* Another one, for a longer mapping of the same. NULL: no memory. */
    shx_farewell *(*another)(const shx_farewell *self);
    /* It is mapped from now on. */
    void (*begin)(shx_farewell *self, const shx_segment *segment);
    /* Unmaps it, if it ever was mapped, and frees itself. Without the GIL. */
    void (*end)(shx_farewell *self, const shx_segment *segment);
};

typedef struct {
    PyObject_HEAD
    shx_segment segment;    /* never changes once the object is handed out */
    shx_guard guard;        /* against SIGBUS */
    shx_farewell *farewell; /* NULL: it is only unmapped */
    PyObject *base;         /* the Mapping whose address space it shares */
    shx_strips strips;      /* what bulk copies know of the pages */
    Py_ssize_t position;    /* of the file API */
    bool closed;
} shx_mapping;

#define MAPPING(op) ((shx_mapping *)(op))

static inline Py_ssize_t
shx_mapping_size(PyObject *op)
{
    return (Py_ssize_t)MAPPING(op)->segment.size;
}

static inline char *
shx_mapping_byte(PyObject *op, Py_ssize_t position)
{
    return (char *)MAPPING(op)->segment.address + position;
}

/* mapping_file.c */
extern PyMethodDef shx_mapping_methods[];

/* Makes the type; it is state->mapping_type. Has the interpreter warn of
 * segments that were cut short. */
int shx_mapping_add(PyObject *module);

/* Without a segment as yet: made first, so that nothing can fail between the
 * moment a segment has a name and the moment it has an owner. */
shx_mapping *shx_mapping_new(shx_state *state);

/* The same for one that is to be made of another by growing. */
shx_mapping *shx_mapping_new_longer(shx_state *state, shx_mapping *old);

/* The Mapping that unmaps the memory. */
static inline shx_mapping *
shx_mapping_root(shx_mapping *self)
{
    return self->base == NULL ? self : MAPPING(self->base);
}

/* The segment is there: guards it. `name` is for the warning. */
void shx_mapping_guard(shx_mapping *self, const char *name);

/* The same for one that was made longer; its farewell begins. */
void shx_mapping_guard_longer(shx_mapping *self, shx_mapping *old);

/* How often was a lost page touched? */
static inline unsigned
shx_mapping_tears(shx_mapping *self)
{
    return shx_guard_tears(&shx_mapping_root(self)->guard);
}

#endif
