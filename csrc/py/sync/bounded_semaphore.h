/* SPDX-License-Identifier: MIT */
/* The type shmemext.synchronize.BoundedSemaphore:
 * core/sync/bounded_semaphore.h as an object. */
#ifndef SHX_PY_BOUNDED_SEMAPHORE_H
#define SHX_PY_BOUNDED_SEMAPHORE_H

#include "py/sync/synchronizer.h"

/* Makes the type; it is state->bounded_semaphore_type. */
int shx_bounded_semaphore_add(PyObject *module);

#endif
