/* SPDX-License-Identifier: MIT */
/* The type RWLock, and its two sides, each of them a lock:
 *
 *   RWLock  --->  ReadLock   what this object remembers (core/sync/rwlock.h)
 *      |             ^
 *      +------->  WriteLock
 */
#ifndef SHX_PY_RWLOCK_H
#define SHX_PY_RWLOCK_H

#include "core/sync/rwlock.h"
#include "py/sync/lock.h"

/* Of the kind, which is one for all three. */
size_t shx_rwlock_size(uint32_t parameter);
PyObject *shx_rwlock_describe_parameter(uint32_t parameter);

/* rwlock_sides.c: new references. */
PyObject *shx_read_lock_make(PyObject *rwlock);
PyObject *shx_write_lock_make(PyObject *rwlock, PyObject *read);

/* What unpickles one of them: the lock, and then that side. */
PyObject *shx_rwlock_rebuild(shx_state *state, PyObject *args);

/* Who reads and who writes. New reference. */
PyObject *shx_rwlock_describe(const shx_site *at);

/* Makes the types. */
int shx_rwlock_sides_add(PyObject *module);
int shx_rwlock_add(PyObject *module);

#endif
