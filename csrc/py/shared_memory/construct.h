/* SPDX-License-Identifier: MIT */
#ifndef SHX_CONSTRUCT_H
#define SHX_CONSTRUCT_H

#include "py/compat.h"

/* What __init__ does. */
int shx_shared_memory_init(PyObject *op, PyObject *args, PyObject *kwargs);

#endif
