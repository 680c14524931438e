/* SPDX-License-Identifier: MIT */
#ifndef SHX_PY_STORE_H
#define SHX_PY_STORE_H

#include "py/compat.h"

/* Functions of the module: shmemext/_cells.py has the rest. */
int shx_store_add(PyObject *module);

#endif
