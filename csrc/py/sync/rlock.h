/* SPDX-License-Identifier: MIT */
/* The type RLock. */
#ifndef SHX_PY_RLOCK_H
#define SHX_PY_RLOCK_H

#include "py/sync/lock.h"

/* Makes the type. */
int shx_rlock_add(PyObject *module);

#endif
