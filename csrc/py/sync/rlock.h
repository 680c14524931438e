/* SPDX-License-Identifier: MIT */
/* The type RLock. */
#ifndef SHX_PY_RLOCK_H
#define SHX_PY_RLOCK_H

#include "py/sync/lock.h"

/* One that is part of another synchronizer. */
PyObject *shx_rlock_part(PyObject *whole, Py_ssize_t skip, uint32_t parameter);

/* Makes the type. */
int shx_rlock_add(PyObject *module);

#endif
