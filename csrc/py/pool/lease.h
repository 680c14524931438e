/* SPDX-License-Identifier: MIT */
/* A Lease holds a block of a pool, and exports bytes of it.
 *
 *   memoryview ----+
 *   numpy array ---+--->  Lease  --->  _Pool        the bytes lie in its data
 *                           +------->  window       or in a private mapping
 *
 * The block is held until the last reference to the lease goes: views and
 * arrays have one. A window is copied on write, and is seen by nobody else.
 */
#ifndef SHX_LEASE_H
#define SHX_LEASE_H

#include "py/pool/pool.h"

typedef struct {
    shx_guard guard;
    void *address;
    size_t size;
} shx_window;

typedef struct {
    PyObject_HEAD
    shx_py_pool *pool;
    bool held;
    bool readonly;
    bool shared;
    shx_hold hold;
    char *bytes;
    size_t length;
    shx_window *window; /* NULL: none */
} shx_lease;

#define LEASE(op) ((shx_lease *)(op))

/* Holds nothing as yet: made first, so that nothing can fail after a block is
 * held. */
shx_lease *shx_lease_new(shx_state *state, shx_py_pool *pool);

/* It holds what its `hold` says, and nobody has seen it before: it exports
 * `length` bytes of the data from `offset` on. */
void shx_lease_begin(shx_lease *self, uint64_t offset, uint64_t length,
                     unsigned flags);

/* The same bytes, in a window of its own. */
shx_err shx_lease_open_window(shx_lease *self);

int shx_lease_add(PyObject *module);

#endif
