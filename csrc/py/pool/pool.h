/* SPDX-License-Identifier: MIT */
/* The type _Pool: a pool of blocks, as this interpreter has it.
 *
 *   array, view  --->  Lease  --->  _Pool  --->  control, data   Mappings
 *                                     |
 *                                     +------->  party
 *                                     +------->  memories        its names
 *
 * It never changes but for numbers that are atomic, so it needs no lock: the
 * core has its own. Who has a lease has the pool. shmemext/_pools.py says
 * which there are, and which one is this process's own.
 */
#ifndef SHX_PY_POOL_H
#define SHX_PY_POOL_H

#include "core/pool/pool.h"
#include "py/errors.h"
#include "py/memory/mapping.h"

/* Of a name; of what is known of how often it was written: see fill.h. */
enum { SHX_POOL_NAME = 64, SHX_POOL_GRAIN = 1 << 16 };

typedef struct {
    PyObject_HEAD
    shx_pool pool;
    bool opened;
    bool made; /* here: another interpreter's of this process was not */
    _Atomic bool gone; /* its names are removed */
    _Atomic bool lost; /* by somebody else: who sends by it is not found */
    _Atomic unsigned leases;        /* that hold a block here */
    _Atomic unsigned *shared;       /* of each block: those that share it */
    _Atomic unsigned char *written; /* of one's own: see fill.h */
    shx_party *party;               /* NULL until it has joined */
    shx_mapping *control;
    shx_mapping *data;     /* NULL: there is no address space for it */
    shx_identity identity; /* of the data, as the next two */
    uint64_t size;
    PyObject *memories; /* a tuple: control, data or None */
    uint64_t pair;
    char name[SHX_POOL_NAME]; /* of the data */
} shx_py_pool;

#define POOL(op) ((shx_py_pool *)(op))

/* A descriptor of the data. SHX_GONE: its name is. */
shx_err shx_py_pool_open(shx_py_pool *self, int flags, int *fd);

/* Somebody has cut the memory short: what is there says nothing any more. */
static inline shx_err
shx_py_pool_check(const shx_py_pool *self)
{
    return shx_mapping_tears(self->control) != 0 ||
                   (self->data != NULL && shx_mapping_tears(self->data) != 0)
               ? EFAULT
               : 0;
}

/* Raises what `err` stands for. Returns NULL. */
PyObject *shx_py_pool_raise(const shx_py_pool *self, shx_err err);

/* The last lease of this interpreter has gone: if nobody has anything of the
 * pool any more, and its owner is dead, its names go. Keeps the exception that
 * is set. */
void shx_py_pool_look_after(shx_py_pool *self);

/* What is copied without the GIL: more takes longer than it is let go of in.
 */
enum { SHX_POOL_LONG = 1 << 16 };
void shx_py_pool_copy(void *into, const void *from, size_t length);

int shx_py_pool_add(PyObject *module);

#endif
