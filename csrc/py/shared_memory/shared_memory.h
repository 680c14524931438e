/* SPDX-License-Identifier: MIT */
#ifndef SHX_PY_SHARED_MEMORY_H
#define SHX_PY_SHARED_MEMORY_H

#include "py/state.h"

/* Makes the type; it is state->shared_memory_type. */
int shx_shared_memory_add(PyObject *module);

#endif
