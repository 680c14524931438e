/* SPDX-License-Identifier: MIT */
/* The type shmemext.synchronize.Semaphore: core/sync/semaphore.h as an object.
 */
#ifndef SHX_PY_SEMAPHORE_H
#define SHX_PY_SEMAPHORE_H

#include "py/sync/synchronizer.h"

/* The arguments of release(n=1), of what counts: -1 with an exception. */
int shx_parse_units(PyObject *const *args, Py_ssize_t count, PyObject *names,
                    uint32_t *units);

/* The number that a semaphore begins with, as multiprocessing has it: OSError
 * and EINVAL below 0. */
int shx_check_value(int value);

/* Makes the type; it is state->semaphore_type. */
int shx_semaphore_add(PyObject *module);

#endif
