/* SPDX-License-Identifier: MIT */
/* The type shmemext.synchronize.Semaphore: core/sync/semaphore.h as an object.
 */
#ifndef SHX_PY_SEMAPHORE_H
#define SHX_PY_SEMAPHORE_H

#include "py/sync/synchronizer.h"

/* Makes the type; it is state->semaphore_type. */
int shx_semaphore_add(PyObject *module);

#endif
