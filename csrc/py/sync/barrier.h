/* SPDX-License-Identifier: MIT */
/* The type Barrier. */
#ifndef SHX_PY_BARRIER_H
#define SHX_PY_BARRIER_H

#include "py/state.h"

/* Makes the type. */
int shx_barrier_add(PyObject *module);

#endif
