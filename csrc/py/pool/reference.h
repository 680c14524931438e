/* SPDX-License-Identifier: MIT */
/* A reference is what travels in the place of bytes: six numbers, in a tuple.
 *
 *   pair, block, generation, offset, length, flags
 *
 * The pair says which pool, the generation that the block still is what was
 * sent. It comes from wherever pickles come from, so nothing of it is
 * believed: the core compares it with the pool.
 */
#ifndef SHX_REFERENCE_H
#define SHX_REFERENCE_H

#include "py/pool/pool.h"

/* The flags. */
enum { SHX_READONLY = 1, SHX_SHARED = 2, SHX_KEPT = 4 };

/* The tuple of what this process holds, in flight from now on: the generation
 * is filled in. NULL with an exception. */
PyObject *shx_reference_send(shx_py_pool *pool, shx_pool_reference *reference,
                             unsigned flags);

/* A tuple's numbers. -1 with an exception. */
int shx_reference_read(PyObject *tuple, uint64_t *pair,
                       shx_pool_reference *reference, unsigned *flags);

/* Functions of the module that look through several pools. */
int shx_reference_add(PyObject *module);

#endif
