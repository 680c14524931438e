/* SPDX-License-Identifier: MIT */
/* The type shmemext.synchronize.Atomic: core/sync/atomic.h as an object. */
#ifndef SHX_PY_ATOMIC_H
#define SHX_PY_ATOMIC_H

#include "py/sync/synchronizer.h"

/* Makes the type; it is state->atomic_type. */
int shx_atomic_add_type(PyObject *module);

#endif
