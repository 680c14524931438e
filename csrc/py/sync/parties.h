/* SPDX-License-Identifier: MIT */
#ifndef SHX_PY_PARTIES_H
#define SHX_PY_PARTIES_H

#include "py/compat.h"

/* Functions of the module. */
int shx_parties_add(PyObject *module);

#endif
