/* SPDX-License-Identifier: MIT */
#ifndef SHX_PY_ANONYMOUS_MEMORY_H
#define SHX_PY_ANONYMOUS_MEMORY_H

#include "py/memory/memory.h"

/* Makes the type; it is state->anonymous_memory_type. */
int shx_anonymous_memory_add(PyObject *module);

/* anonymous_memory_seal.c: seal() */
extern PyMethodDef shx_anonymous_memory_seal_methods[];

#endif
